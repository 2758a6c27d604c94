"""Templates from JSON: checked like a folder's, published where nobody has in the meantime, rendered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Connection

from domain.locale_choice import EVERYBODY, choose_locale
from domain.person import InvalidValue, normalise_locale
from domain.send import Channel
from domain.template_errors import TemplateError, TemplateRefused
from domain.template_folder import manifest_of, missing_names
from domain.template_render import Rendered, TemplateSource, compile_template
from models.template import (
    NewVersion,
    UnknownTemplate,
    Version,
    find_version,
    page_of_versions,
    publish_version,
)
from starter.templates import SAMPLE, absolute_links

ANY_VERSION = "*"
TOLD_CHANNELS = (Channel.EMAIL, Channel.SMS, Channel.IN_APP)
"""Those that have a text of their own; a webhook carries the variables alone."""


class NotNewest(Exception):
    """Somebody has published since; the message is one sentence."""


class UnconditionalPublish(Exception):
    """It is not said which version is to be replaced; the message is one sentence."""


class TemplateNotFound(UnknownTemplate):
    """The template or version that a path names is not there."""


class ContentRefused(TemplateRefused):
    """A part of the content is not acceptable; `pointer` says which, as a JSON pointer."""

    def __init__(self, pointer: str, sentence: str) -> None:
        super().__init__(sentence)
        self.pointer = pointer


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateGiven:
    """A template as a service writes it."""

    manifest: Mapping[str, object]
    """As template.toml has it: key, name, from, reply_to, message_class, variables."""
    content: Mapping[Channel, Mapping[str, TemplateSource]]
    """By channel and locale; "" is what everybody else is told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderedVersion:
    """What somebody would get."""

    version: Version
    channel: Channel
    locale: str
    rendered: Rendered


def etag_of(version: Version) -> str:
    """What changes with each version, as HTTP writes it."""
    return f'"{version.number}"'


def checked(given: TemplateGiven) -> NewVersion:
    """The version to be. Raises TemplateRefused, ContentRefused."""
    manifest = manifest_of(given.manifest)
    if not given.content:
        raise ContentRefused("/content", "Say what is told on at least one channel.")
    content: dict[str, dict[str, Any]] = {}
    links: list[str] = []
    for channel, by_locale in sorted(given.content.items()):
        content[channel.value] = {}
        for locale, source in by_locale.items():
            pointer = f"/content/{channel.value}"
            if locale != EVERYBODY:
                pointer += f"/locales/{locale}"
            name = _locale(locale, pointer)
            if name in content[channel.value]:
                raise ContentRefused(pointer, f"The locale {name} is there twice.")
            _check(source, by_locale.get(EVERYBODY, source), channel, pointer)
            content[channel.value][name] = asdict(source)
            links += [
                link for link in absolute_links(source.html) if name == "" or link not in links
            ]
    return NewVersion(
        key=manifest.key,
        name=manifest.name,
        message_class=manifest.message_class,
        sender={"from": manifest.from_, "reply_to": manifest.reply_to},
        content=content,
        variables=dict(manifest.variables),
        links=links,
    )


def _locale(given: str, pointer: str) -> str:
    try:
        return normalise_locale(given) if given != EVERYBODY else EVERYBODY
    except InvalidValue as error:
        raise ContentRefused(pointer, str(error)) from error


def _check(source: TemplateSource, default: TemplateSource, channel: Channel, pointer: str) -> None:
    """Raises ContentRefused unless it compiles and has the parts that everybody's has."""
    try:
        compile_template(source, has_subject=channel is Channel.EMAIL)
    except TemplateRefused as error:
        raise ContentRefused(pointer, str(error)) from error
    for part, said in asdict(default).items():
        if bool(said) != bool(getattr(source, part)):
            raise ContentRefused(
                f"{pointer}/{part}", "A locale has the parts that are told to everybody else."
            )


def publish_if(
    connection: Connection, team_id: int, new: NewVersion, replaces: str | None
) -> Version:
    """The template's newest version, which has this content.

    `replaces`: the etag of the version that the publisher has seen, ANY_VERSION to replace whatever
    there is, None for a new template. Raises NotNewest, UnconditionalPublish.
    """

    def agree(newest: Version | None) -> None:
        if newest is None:
            if replaces is not None:
                raise NotNewest(f"There is no template '{new.key}' yet: publish without If-Match.")
        elif replaces is None:
            raise UnconditionalPublish(
                f"Template '{new.key}' is there: say in If-Match which version you replace, such as"
                f" {etag_of(newest)}, or * for whichever there is."
            )
        elif replaces not in (ANY_VERSION, etag_of(newest)):
            raise NotNewest(
                f"{newest.label} has been published since, at {newest.published_at:%Y-%m-%d %H:%M} UTC:"
                " look at it first."
            )

    return publish_version(connection, team_id, new, agree=agree)


def version_named(
    connection: Connection, team_id: int, key: str, number: str | None = None
) -> Version:
    """The version, or the newest. Raises TemplateNotFound."""
    try:
        return find_version(connection, team_id, key if number is None else f"{key}@{number}")
    except UnknownTemplate as error:
        raise TemplateNotFound(str(error)) from error


def versions_of(
    connection: Connection, team_id: int, key: str, *, before: int | None, limit: int
) -> list[Version]:
    """Versions of the template, newest first. Raises TemplateNotFound."""
    try:
        return page_of_versions(connection, team_id, key, before=before, limit=limit)
    except UnknownTemplate as error:
        raise TemplateNotFound(str(error)) from error


def render_version(
    version: Version, channel: Channel | None, locale: str | None, data: Mapping[str, Any]
) -> RenderedVersion:
    """What the sample recipient would get, `data` over their values; by default the first channel.

    Raises ContentRefused, and TemplateError for what happens while it is rendered.
    """
    told = [each for each in TOLD_CHANNELS if each.value in version.content]
    chosen = channel or (told[0] if told else Channel.EMAIL)
    by_locale = version.content.get(chosen.value)
    if by_locale is None:
        raise ContentRefused("/channel", f"{version.label} has nothing for the channel {chosen}.")
    name = choose_locale(by_locale, None if locale is None else _locale(locale, "/locale"))
    template = compile_template(
        TemplateSource(**by_locale[name]), has_subject=chosen is Channel.EMAIL
    )
    own = {"locale": name} if name else {}
    context = {**version.variables, **SAMPLE, **own, **data}
    if missing := missing_names(template, context):
        raise ContentRefused("/data", f"The template needs: {', '.join(missing)}.")
    try:
        rendered = template.render(context)
    except TemplateError as error:
        raise ContentRefused("/data", str(error)) from error
    return RenderedVersion(version=version, channel=chosen, locale=name, rendered=rendered)

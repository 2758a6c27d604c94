"""Templates from a folder: checked, published as an immutable version, previewed."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy import Engine

from domain.locale_choice import EVERYBODY, choose_locale
from domain.person import InvalidValue, normalise_locale
from domain.send import Channel
from domain.template_errors import TemplateRefused
from domain.template_folder import MANIFEST_FILE, Manifest, missing_names, parse_manifest
from domain.template_language import Part
from domain.template_render import CompiledTemplate, TemplateSource, compile_template
from models.team import default_team_id
from models.template import NewVersion, publish_version

MAX_FILE_BYTES = 256_000
OTHER_CHANNELS: Mapping[Channel, tuple[str, str]] = {
    Channel.SMS: ("", "sms.txt"),
    Channel.IN_APP: ("in_app_title.txt", "in_app.txt"),
}
"""Files of subject (empty: it has none) and text, by channel. A webhook carries the variables alone."""

# body.de.html: what is told to those of the locale.
_OF_LOCALE = re.compile(r"(subject|body|sms|in_app|in_app_title)\.([^.]+)\.(txt|html)")

SAMPLE: Mapping[str, str] = {
    "email": "ada@example.org",
    "first_name": "Ada",
    "last_name": "Lovelace",
    "locale": "en",
    "time_zone": "Europe/London",
    "external_id": "sample-1",
    "phone": "+442079460000",
    "unsubscribe_url": "https://example.org/u/sample",
}
"""The recipient of previews; has a value for each built-in name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateFolder:
    """A folder's content: within the language, and ready to render."""

    manifest: Manifest
    sources: Mapping[Channel, Mapping[str, TemplateSource]]
    """By channel, at least one, and locale, at least EVERYBODY's."""
    templates: Mapping[Channel, Mapping[str, CompiledTemplate]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """What the sample recipient would get; a part the template lacks is empty."""

    subject: str
    html: str
    text: str


def read_folder(folder: Path) -> TemplateFolder:
    """The template in `folder`, compiled. Raises TemplateRefused with a sentence for its author."""
    if not folder.is_dir():
        raise TemplateRefused(f"{folder} is not a folder")
    manifest = parse_manifest(_required(folder / MANIFEST_FILE))
    sources = _sources(folder)
    return TemplateFolder(
        manifest=manifest,
        sources=sources,
        templates={
            channel: {
                locale: compile_template(source, has_subject=channel is Channel.EMAIL)
                for locale, source in by_locale.items()
            }
            for channel, by_locale in sources.items()
        },
    )


def _sources(folder: Path) -> dict[Channel, dict[str, TemplateSource]]:
    """What the folder says on each channel and in each locale. Raises TemplateRefused."""
    found = {channel: {EVERYBODY: source} for channel, source in _for_everybody(folder).items()}
    nothing = {EVERYBODY: TemplateSource(subject="", html="", text="")}
    for locale, spelling in _spellings(folder).items():
        for channel in (Channel.EMAIL, *OTHER_CHANNELS):
            source = _in_locale(folder, channel, spelling)
            if source.subject or source.html or source.text:
                by_locale = found.get(channel, nothing)
                _refuse_other_parts(by_locale[EVERYBODY], source, f"{channel} in {locale}")
                by_locale[locale] = source
    return found


def _spellings(folder: Path) -> dict[str, str]:
    """By locale, as Babel writes it, how the folder's files spell it: de_AT may be de-at there."""
    found: dict[str, str] = {}
    for file in sorted(folder.iterdir()):
        named = _OF_LOCALE.fullmatch(file.name)
        if named is None:
            continue
        try:
            locale = normalise_locale(named[2])
        except InvalidValue as error:
            raise TemplateRefused(f"{file.name}: {error}") from error
        if found.setdefault(locale, named[2]) != named[2]:
            raise TemplateRefused(f"{locale} is spelt both {found[locale]} and {named[2]} here")
    return found


def _in_locale(folder: Path, channel: Channel, spelling: str) -> TemplateSource:
    """What the files of the locale say; a part without a file is empty."""

    def said(name: str) -> str:
        stem, _, kind = name.partition(".")
        return _read(folder / f"{stem}.{spelling}.{kind}") if name else ""

    if channel is Channel.EMAIL:
        return TemplateSource(
            subject=said(Part.SUBJECT), html=said(Part.HTML), text=said(Part.TEXT)
        )
    subject, body = OTHER_CHANNELS[channel]
    return TemplateSource(subject=said(subject), text=said(body))


def _refuse_other_parts(default: TemplateSource, source: TemplateSource, what: str) -> None:
    """A locale has the parts that everybody's has: nobody gets a message in two languages."""
    wanted, given = asdict(default), asdict(source)
    lacking = [part for part, said in wanted.items() if said and not given[part]]
    beyond = [part for part, said in given.items() if said and not wanted[part]]
    if lacking:
        raise TemplateRefused(
            f"{what} lacks the {lacking[0]}, which the template has without locale"
        )
    if beyond:
        raise TemplateRefused(f"{what} has a {beyond[0]}, which the template lacks without locale")


def _for_everybody(folder: Path) -> dict[Channel, TemplateSource]:
    """What the folder says on each channel. Without other channels it must be an e-mail."""
    found = {
        channel: TemplateSource(subject=_read(folder / subject) if subject else "", text=text)
        for channel, (subject, body) in OTHER_CHANNELS.items()
        if (text := _read(folder / body))
    }
    is_email = (folder / Part.SUBJECT).exists() or not found
    if is_email:
        found[Channel.EMAIL] = TemplateSource(
            subject=_required(folder / Part.SUBJECT),
            html=_read(folder / Part.HTML),
            text=_read(folder / Part.TEXT),
        )
    return found


def publish(engine: Engine, folder: Path) -> str:
    """KEY@N of the version that the folder is now; equal content is the version there was.

    Raises TemplateRefused.
    """
    new = version_of(folder)
    with engine.begin() as connection:
        return publish_version(connection, default_team_id(connection), new).label


def version_of(folder: Path) -> NewVersion:
    """What the folder would be published as. Raises TemplateRefused."""
    read = read_folder(folder)
    manifest = read.manifest
    return NewVersion(
        key=manifest.key,
        name=manifest.name,
        message_class=manifest.message_class,
        sender={"from": manifest.from_, "reply_to": manifest.reply_to},
        content={
            channel.value: {locale: asdict(source) for locale, source in by_locale.items()}
            for channel, by_locale in sorted(read.sources.items())
        },
        variables=dict(manifest.variables),
        links=_links(read),
    )


def _links(read: TemplateFolder) -> list[str]:
    """The absolute links of all that is said, each once."""
    sources = [source for by_locale in read.sources.values() for source in by_locale.values()]
    found = [absolute_links(source.html) for source in sources]
    first = found[0] if found else []
    return first + [link for links in found[1:] for link in links if link not in first]


def preview(folder: Path, data: Mapping[str, Any], locale: str | None = None) -> Preview:
    """What the sample recipient would get, `data` over its values; `locale` is theirs.

    Raises TemplateError, and InvalidValue for a locale that there is not.
    """
    read = read_folder(folder)
    own = {"locale": normalise_locale(locale)} if locale else {}
    context = {**read.manifest.variables, **SAMPLE, **own, **data}
    channel = Channel.EMAIL if Channel.EMAIL in read.templates else next(iter(read.templates))
    by_locale = read.templates[channel]
    template = by_locale[choose_locale(by_locale, own.get("locale"))]
    if missing := missing_names(template, context):
        raise TemplateRefused(
            f"the sample recipient lacks what the template needs: {', '.join(missing)}."
            f" Give it with --data FILE.json, or a default in {MANIFEST_FILE}"
        )
    rendered = template.render(context)
    return Preview(subject=rendered.subject, html=rendered.html, text=rendered.text)


def read_data(file: Path) -> dict[str, Any]:
    """The JSON object in a file. Raises TemplateRefused."""
    try:
        data = json.loads(_required(file))
    except ValueError as error:
        raise TemplateRefused(f"{file} is not JSON: {error}") from error
    if not isinstance(data, dict):
        raise TemplateRefused(f"{file} must hold a JSON object: names with their values")
    return data


def write_page(made: Preview) -> Path:
    """A file with the HTML, for a browser."""
    with tempfile.NamedTemporaryFile(
        "w", prefix="carillon-preview-", suffix=".html", delete=False, encoding="utf-8"
    ) as page:
        page.write(made.html)
    return Path(page.name)


def absolute_links(html: str) -> list[str]:
    """http(s) addresses that the HTML's links point to, in order; those with variables are left out."""
    reader = _LinkReader()
    reader.feed(html)
    reader.close()
    return reader.links


class _LinkReader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs if tag in ("a", "area") else ():
            url = (value or "").strip()
            if name == "href" and _is_absolute(url):
                self.links.append(url)


def _is_absolute(url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:  # what no browser follows either
        return False
    is_web = parts.scheme in ("http", "https") and bool(parts.netloc)
    return is_web and "{{" not in url and "{%" not in url


def _required(file: Path) -> str:
    if not file.is_file():
        raise TemplateRefused(f"{file} is missing")
    return _read(file)


def _read(file: Path) -> str:
    """The file's text; empty when there is no such file."""
    try:
        if not file.exists():
            return ""
        if file.stat().st_size > MAX_FILE_BYTES:
            raise TemplateRefused(f"{file} is larger than {MAX_FILE_BYTES // 1000} kB")
        return file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise TemplateRefused(f"{file} is not UTF-8 (byte {error.start})") from error
    except OSError as error:
        raise TemplateRefused(f"{file} cannot be read: {error.strerror}") from error

"""From a person's facts to the mail a provider session takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

import orjson

from domain.identifier import encode_reference
from domain.locale_choice import EVERYBODY, choose_locale
from domain.outcome import Reason
from domain.send import Channel, MessageClass
from domain.template_errors import HeaderRefused, MissingVariable, RenderFailed
from domain.template_render import CompiledTemplate, TemplateSource, compile_template
from domain.unsubscribe_token import make_token
from models.facts import Person, VersionContent
from providers.headers import HeaderRefused as NameRefused
from providers.headers import refuse_control_characters
from providers.protocol import Capabilities, Mail, Sender, Skeleton


@dataclass(frozen=True, slots=True, kw_only=True)
class Links:
    """How links to our public pages are made."""

    public_url: str
    secret: bytes

    def unsubscribe(self, send_id: int, ordinal: int) -> str:
        """The page on which this message's recipient leaves its topic."""
        return f"{self.public_url}/u/{make_token(self.secret, send_id, ordinal)}"


class MailedSend(Protocol):
    """What a mailer asks of a send."""

    @property
    def id(self) -> int: ...
    @property
    def sender(self) -> Mapping[str, str]: ...
    @property
    def variables(self) -> Mapping[str, Any]: ...
    @property
    def message_class(self) -> MessageClass: ...


# A worker sends few versions at once; compiling one takes milliseconds.
@lru_cache(maxsize=256)
def compiled(source: TemplateSource, *, has_subject: bool = True) -> CompiledTemplate:
    """The template, compiled or as it was kept."""
    return compile_template(source, has_subject=has_subject)


@dataclass(frozen=True, slots=True)
class _Wording:
    """A template in one locale; who is told in it shares the skeleton."""

    template: CompiledTemplate
    skeleton: Skeleton | None


class Mailer:
    """Builds the mails of one send for one account's way of sending."""

    def __init__(
        self,
        send: MailedSend,
        version: VersionContent,
        capabilities: Capabilities,
        links: Links,
        step: int = 1,
    ) -> None:
        """Compiles the version, or takes it from the cache."""
        self._send = send
        self._step = step
        self._links = links
        self._shared: Mapping[str, Any] = {**version.variables, **send.variables}
        self._capabilities = capabilities
        said = {EVERYBODY: version, **version.others}
        self._wordings = {locale: self._wording(content) for locale, content in said.items()}
        self._chosen: dict[str | None, str] = {None: EVERYBODY}
        self._max_slot_bytes = capabilities.max_slot_bytes
        self._is_marketing = send.message_class == "marketing"
        # Empty but for e-mail: a text message comes from the account's own number.
        self.sender = Sender(
            address=send.sender.get("address", ""),
            name=send.sender.get("name", ""),
            reply_to=send.sender.get("reply_to", ""),
        )

    def _wording(self, content: VersionContent) -> _Wording:
        template = compiled(
            TemplateSource(subject=content.subject, html=content.html, text=content.text),
            has_subject=self._capabilities.channel == Channel.EMAIL,
        )
        if not self._capabilities.merges:
            return _Wording(template, None)
        parts = template.skeleton()
        return _Wording(
            template,
            Skeleton(subject=parts.subject, html=parts.html, text=parts.text, keys=parts.keys),
        )

    def locale_of(self, person: Person) -> str:
        """In which of the template's locales the person is told: theirs, their language, everybody's."""
        wanted = person.locale
        if wanted not in self._chosen:
            self._chosen[wanted] = choose_locale(self._wordings, wanted)
        return self._chosen[wanted]

    def skeleton_in(self, locale: str) -> Skeleton | None:
        """What all requests of the locale share; None: the provider does not merge."""
        return self._wordings[locale].skeleton

    @property
    def skeletons(self) -> Sequence[Skeleton]:
        """The skeletons of all locales; none where the provider does not merge."""
        return [each.skeleton for each in self._wordings.values() if each.skeleton is not None]

    def mail(self, person: Person) -> Mail | Reason:
        """The person's mail, or why there can be none. A bad recipient is a row, not an exception."""
        url = self._links.unsubscribe(self._send.id, person.ordinal) if self._is_marketing else ""
        name = f"{person.first_name} {person.last_name}".strip()
        try:
            refuse_control_characters(name)
            return self._render(person, name, url, context_of(person, url, self._shared))
        except MissingVariable:
            return Reason.MISSING_VARIABLE
        except (HeaderRefused, NameRefused):
            return Reason.HEADER_REFUSED
        except RenderFailed:
            return Reason.RENDER_FAILED

    def _render(
        self, person: Person, name: str, url: str, context: dict[str, Any]
    ) -> Mail | Reason:
        reference = encode_reference(self._send.id, person.ordinal, self._step)
        wording = self._wordings[self.locale_of(person)]
        if wording.skeleton is None:
            made = wording.template.render(context)
            return Mail(
                person.ordinal,
                reference,
                person.address,
                name,
                url,
                (),
                made.subject,
                made.html,
                made.text,
            )
        slots = wording.template.slots(context)
        if self._max_slot_bytes and _size_bytes(slots) > self._max_slot_bytes:
            return Reason.TOO_LARGE
        return Mail(person.ordinal, reference, person.address, name, url, slots, "", "", "")


def context_of(person: Person, unsubscribe_url: str, shared: Mapping[str, Any]) -> dict[str, Any]:
    """What the template may name: built-in names win over attributes, these over variables."""
    context = {**shared, **orjson.loads(person.attributes)}
    if person.variables:
        context.update(orjson.loads(person.variables))
    context["email"] = person.address
    context["first_name"] = person.first_name
    context["last_name"] = person.last_name
    context["locale"] = person.locale or ""
    context["time_zone"] = person.time_zone or ""
    context["external_id"] = person.external_id or ""
    context["unsubscribe_url"] = unsubscribe_url
    return context


def _size_bytes(slots: tuple[str, ...]) -> int:
    """Upper bound of the slots' UTF-8 size; exact only when the cheap bound is over 10 kB."""
    letters = sum(map(len, slots))
    return letters * 4 if letters <= 10_000 else sum(len(slot.encode()) for slot in slots)

"""From a single message to what a provider session takes, on each channel."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import orjson
from sqlalchemy import Engine

from activities.mailer import Links, Mailer, compiled, context_of
from domain.identifier import encode_reference
from domain.outcome import Reason
from domain.send import Channel, MessageClass
from domain.template_errors import HeaderRefused, MissingVariable, RenderFailed
from domain.template_render import TemplateSource
from models.facts import VersionContent, version_content
from models.group_members import Member
from providers.protocol import Capabilities, Mail, Sender


@dataclass(frozen=True, slots=True, kw_only=True)
class SingleSend:
    """What a mailer asks of a single message's send."""

    id: int
    sender: Mapping[str, str]
    variables: Mapping[str, Any]
    message_class: MessageClass


@dataclass(frozen=True, slots=True, kw_only=True)
class Addressed:
    """A rendered message and who it comes from."""

    mail: Mail
    sender: Sender


Maker = Callable[[Member, Capabilities], Addressed | Reason]


class SingleMailer:
    """Renders single messages; versions are immutable and kept."""

    def __init__(self, engine: Engine, links: Links) -> None:
        """Made once in `composition.py`, shared by its threads."""
        self._links = links

        @lru_cache(maxsize=256)
        def content(version_id: int, channel: str) -> VersionContent:
            with engine.connect() as connection:
                return version_content(connection, version_id, channel)

        self._content = content
        self._makers: Mapping[Channel, Maker] = {
            Channel.EMAIL: self._email,
            Channel.SMS: self._text,
            Channel.IN_APP: self._text,
            Channel.WEBHOOK: self._event,
        }

    def make(self, member: Member, capabilities: Capabilities) -> Addressed | Reason:
        """The member's message on the channel of its step, or why there can be none."""
        try:
            return self._makers[member.channel](member, capabilities)
        except MissingVariable:
            return Reason.MISSING_VARIABLE
        except HeaderRefused:
            return Reason.HEADER_REFUSED
        except RenderFailed:
            return Reason.RENDER_FAILED

    def _email(self, member: Member, capabilities: Capabilities) -> Addressed | Reason:
        version = self._content(member.template_version_id, member.channel)
        version = replace(version.in_locale(member.person.locale), others={})
        send = SingleSend(
            id=member.send_id,
            sender=member.sender,
            variables=member.variables,
            message_class=member.message_class,
        )
        mailer = Mailer(send, version, capabilities, self._links, member.step)
        mail = mailer.mail(member.person)
        return mail if isinstance(mail, Reason) else Addressed(mail=mail, sender=mailer.sender)

    def _text(self, member: Member, capabilities: Capabilities) -> Addressed:
        """SMS and in-app: a title, which SMS has none of, and a text."""
        version = self._content(member.template_version_id, member.channel)
        version = version.in_locale(member.person.locale)
        source = TemplateSource(subject=version.subject, html="", text=version.text)
        made = compiled(source, has_subject=False).render(self._context(member, version))
        return self._addressed(member, subject=made.subject, text=made.text)

    def _event(self, member: Member, capabilities: Capabilities) -> Addressed:
        """A webhook carries the message's variables, under the template's key."""
        own = orjson.loads(member.person.variables) if member.person.variables else {}
        data = orjson.dumps({**member.variables, **own}).decode()
        return self._addressed(member, data=data, kind=member.template_key)

    def _context(self, member: Member, version: VersionContent) -> dict[str, Any]:
        is_marketing = member.message_class is MessageClass.MARKETING
        url = self._links.unsubscribe(member.send_id, member.ordinal) if is_marketing else ""
        return context_of(member.person, url, {**version.variables, **member.variables})

    def _addressed(
        self, member: Member, *, subject: str = "", text: str = "", data: str = "", kind: str = ""
    ) -> Addressed:
        mail = Mail(
            ordinal=member.ordinal,
            reference=encode_reference(member.send_id, member.ordinal, member.step),
            address=member.person.address,
            name="",
            unsubscribe_url="",
            slots=(),
            subject=subject,
            html="",
            text=text,
            data=data,
            kind=kind,
        )
        return Addressed(mail=mail, sender=Sender(address=""))

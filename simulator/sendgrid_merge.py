"""What SendGrid's substitutions make of a request: a journal line a person now, the text on demand."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from simulator.faults import Provider
from simulator.mailbox import Line, Rendered
from simulator.sendgrid_rules import RECIPIENT_FIELDS

Payload = dict[str, Any]
"""A mail/send body that passed validation; vendor JSON, so its values are Any."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Acceptance:
    """What all messages of one request have in common."""

    at: str
    account: str
    request_id: str


class Text:
    """A text cut at its keys: pieces 0, 2, 4… are literal, 1, 3, 5… are keys.

    One pass: a value that happens to hold a key is not replaced again.
    """

    def __init__(self, text: str, keys: Sequence[str]) -> None:
        longest_first = sorted(filter(None, keys), key=len, reverse=True)
        if longest_first:
            self._pieces = re.split(f"({'|'.join(map(re.escape, longest_first))})", text)
        else:
            self._pieces = [text]
        self.keys = self._pieces[1::2]
        self.literal_bytes = sum(map(byte_length, self._pieces[::2]))

    def filled(self, values: dict[str, str]) -> str:
        """The text with every key replaced by its value."""
        if not self.keys:
            return self._pieces[0]
        pieces = self._pieces.copy()
        pieces[1::2] = [values[key] for key in self.keys]
        return "".join(pieces)


class Cut:
    """Subject and contents of a request cut for one set of keys; made once for all who share it."""

    def __init__(self, subject: str, contents: Sequence[str], keys: Sequence[str]) -> None:
        self.subject = Text(subject, keys)
        texts = [Text(content, keys) for content in contents]
        self._literal_bytes = sum(text.literal_bytes for text in texts)
        counts: dict[str, int] = {}
        for key in (key for text in texts for key in text.keys):
            counts[key] = counts.get(key, 0) + 1
        self._counts = list(counts.items())

    def content_bytes(self, values: dict[str, str]) -> int:
        """UTF-8 bytes of the filled contents, without filling them."""
        size = self._literal_bytes
        for key, count in self._counts:
            value = values[key]
            size += count * (len(value) if value.isascii() else len(value.encode()))
        return size


def byte_length(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())


class MergedRequest:
    """A request that was accepted: its journal lines, and its messages when somebody looks."""

    def __init__(self, payload: Payload, acceptance: Acceptance) -> None:
        self._payload = payload
        self._people: list[int] = []
        """The personalization of each line."""
        payload["attachments"] = [
            {"filename": _text(attachment, "filename")}
            for attachment in _objects(payload.get("attachments"))
        ]
        self.lines = self._make_lines(acceptance)

    def _make_lines(self, acceptance: Acceptance) -> list[Line]:
        payload = self._payload
        shared_mid = (payload.get("custom_args") or {}).get("mid", "")
        shared_subject = payload.get("subject") or ""
        contents = [part["value"] for part in payload.get("content") or ()]
        at, account, request_id = acceptance.at, acceptance.account, acceptance.request_id
        cuts: dict[tuple[str, ...], Cut] = {}
        lines: list[Line] = []
        for index, person in enumerate(payload["personalizations"]):
            values = person.get("substitutions") or {}
            own_subject = person.get("subject") or shared_subject
            recipe = (own_subject, *values)
            cut = cuts.get(recipe)
            if cut is None:
                cut = cuts[recipe] = Cut(own_subject, contents, list(values))
            mid = (person.get("custom_args") or {}).get("mid", shared_mid)
            subject, size = cut.subject.filled(values), cut.content_bytes(values)
            for address in _addresses(person):
                self._people.append(index)
                lines.append(
                    {
                        "at": at,
                        "provider": Provider.SENDGRID.value,
                        "account": account,
                        "message_id": mid,
                        "to": address,
                        "request_id": request_id,
                        "subject": subject,
                        "size": size,
                    }
                )
        return lines

    def rendered(self, index: int) -> Rendered:
        payload = self._payload
        person = payload["personalizations"][self._people[index]]
        values = person.get("substitutions") or {}

        def fill(text: str) -> str:
            return Text(text, list(values)).filled(values)

        contents = {part["type"]: fill(part["value"]) for part in payload.get("content") or ()}
        headers = [
            ("From", _mailbox(payload["from"])),
            *(
                (field.capitalize(), ", ".join(map(_mailbox, person[field])))
                for field in RECIPIENT_FIELDS
                if person.get(field)
            ),
            ("Subject", fill(person.get("subject") or payload.get("subject") or "")),
        ]
        if payload.get("reply_to"):
            headers.append(("Reply-To", _mailbox(payload["reply_to"])))
        own = {**(payload.get("headers") or {}), **(person.get("headers") or {})}
        headers += [(name, fill(value)) for name, value in own.items()]
        custom_args = {**(payload.get("custom_args") or {}), **(person.get("custom_args") or {})}
        headers += [(f"custom_args.{name}", value) for name, value in custom_args.items()]
        return Rendered(
            headers=headers,
            text=contents.get("text/plain", ""),
            html=contents.get("text/html", ""),
            attachments=[attachment["filename"] for attachment in payload["attachments"]],
        )


def _addresses(person: Payload) -> list[str]:
    if "cc" not in person and "bcc" not in person:
        return [entry["email"] for entry in person["to"]]
    return [entry["email"] for field in RECIPIENT_FIELDS for entry in person.get(field) or ()]


def _mailbox(entry: Payload) -> str:
    name = entry.get("name")
    return f"{name} <{entry['email']}>" if name else str(entry["email"])


def _objects(value: object) -> list[Payload]:
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []


def _text(entry: Payload, name: str) -> str:
    value = entry.get(name)
    return value if isinstance(value, str) else ""

"""The JSON that SendGrid's v3 mail/send documents, built from plain dicts and kept pieces.

https://www.twilio.com/docs/sendgrid/api-reference/mail-send/mail-send
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from providers.headers import HeaderRefused, ascii_domain, refuse_control_characters
from providers.protocol import Mail, Request, Sender, Skeleton
from providers.unsendable import content_refused, recipient_refused

MAX_REQUEST_BYTES = 29_000_000
"""SendGrid says less than 30 MB; what that counts besides the body it does not say."""

# SendGrid: names must not hold these two, not even quoted.
_NAME = str.maketrans({";": " ", ",": " "})


class PayloadBuilder:
    """Builds request bodies; keeps the JSON that the requests of one send have in common."""

    def __init__(self) -> None:
        self._sender: Sender | None = None
        self._skeleton: Skeleton | None = None
        self._tail = b""

    def body(self, request: Request) -> bytes:
        """The bytes to post.

        Raises Unsendable for content that no request can carry, ValueError for a request of
        several rendered mails: SendGrid has one content a request.
        """
        skeleton = request.skeleton
        if skeleton is None and len(request.mails) != 1:
            raise ValueError("without a skeleton a request carries one mail")
        try:
            return self._merging(request, skeleton) if skeleton else self._single(request)
        except HeaderRefused as error:
            raise content_refused("header", f"A header value {error}.") from error
        except orjson.JSONEncodeError as error:  # half a surrogate pair is not UTF-8
            raise content_refused("encoding", "The text is not valid Unicode.") from error

    def _merging(self, request: Request, skeleton: Skeleton) -> bytes:
        if skeleton is not self._skeleton or request.sender is not self._sender:
            refuse_control_characters(skeleton.subject)
            shared = _shared(request.sender)
            shared["subject"] = skeleton.subject
            shared["content"] = _content(skeleton.text, skeleton.html)
            self._remember(request.sender, skeleton, shared)
        return _joined(_personalizations(request.mails, skeleton.keys), self._tail)

    def _single(self, request: Request) -> bytes:
        if self._skeleton is not None or request.sender is not self._sender:
            self._remember(request.sender, None, _shared(request.sender))
        mail = request.mails[0]
        refuse_control_characters(mail.subject)
        own = {
            "personalizations": _personalizations(request.mails, ()),
            "subject": mail.subject,
            "content": _content(mail.text, mail.html),
        }
        return orjson.dumps(own)[:-1] + b"," + self._tail

    def _remember(self, sender: Sender, skeleton: Skeleton | None, shared: dict[str, Any]) -> None:
        self._tail = orjson.dumps(shared)[1:]
        self._sender, self._skeleton = sender, skeleton


def _joined(personalizations: list[dict[str, Any]], tail: bytes) -> bytes:
    body = b"".join((b'{"personalizations":', orjson.dumps(personalizations), b",", tail))
    if len(body) > MAX_REQUEST_BYTES:
        raise content_refused("413", "The request is larger than SendGrid takes.")
    return body


def _personalizations(mails: Sequence[Mail], keys: tuple[str, ...]) -> list[dict[str, Any]]:
    """One a mail. A thousand a request, so whatever usually needs nothing is asked for in line."""
    made = []
    for _, reference, address, name, url, slots, _, _, _, _, _, _ in mails:
        if not (address.isascii() and address.isprintable()):
            address = _recipient(address)
        to = {"email": address}
        if name:
            to["name"] = _name(name)
        personalization: dict[str, Any] = {"to": [to], "custom_args": {"mid": reference}}
        if keys:
            personalization["substitutions"] = dict(zip(keys, slots, strict=True))
        if url:
            if not url.isprintable():
                refuse_control_characters(url)
            personalization["headers"] = {
                "List-Unsubscribe": f"<{url}>",
                "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
            }
        made.append(personalization)
    return made


def _recipient(address: str) -> str:
    try:
        return _address(address)
    except ValueError as error:  # HeaderRefused is one
        raise recipient_refused("address", "The address cannot be written.") from error


def _name(name: str) -> str:
    if not name.isprintable():
        refuse_control_characters(name)
    return name.translate(_NAME) if "," in name or ";" in name else name


def _shared(sender: Sender) -> dict[str, Any]:
    made: dict[str, Any] = {"from": {"email": _address(sender.address)}}
    if sender.name:
        made["from"]["name"] = _name(sender.name)
    if sender.reply_to:
        made["reply_to"] = {"email": _address(sender.reply_to)}
    return made


def _content(text: str, html: str) -> list[dict[str, str]]:
    """SendGrid wants text/plain first and refuses an empty value."""
    parts = (("text/plain", text), ("text/html", html))
    return [{"type": kind, "value": value} for kind, value in parts if value]


def _address(address: str) -> str:
    """The address with its domain as A-label: SendGrid takes no Unicode in addresses."""
    refuse_control_characters(address)
    if address.isascii():
        return address
    local, _, domain = address.rpartition("@")
    return f"{local}@{ascii_domain(domain)}"

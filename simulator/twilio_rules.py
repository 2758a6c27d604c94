"""What Twilio refuses of a message, with its codes and words.

https://www.twilio.com/docs/messaging/api/message-resource and /docs/api/errors. The numbers with a
meaning of their own are those of Twilio's test credentials (/docs/iam/test-credentials).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple
from urllib.parse import urlsplit

import orjson

MAX_BODY_CHARACTERS = 1600
MAX_MEDIA = 10
_NUMBER = re.compile(r"\+[1-9][0-9]{7,14}")
_SENDER = re.compile(r"\+[1-9][0-9]{7,14}|[0-9]{3,8}|(?=[^ ]*[A-Za-z])[A-Za-z0-9 ]{1,11}")
_SERVICE = re.compile(r"MG[0-9a-fA-F]{32}")


class Problem(NamedTuple):
    """A refusal as Twilio says it."""

    status: int
    code: int
    message: str

    def body(self) -> bytes:
        """The JSON that Twilio answers with."""
        return orjson.dumps(
            {
                "code": self.code,
                "message": self.message,
                "more_info": f"https://www.twilio.com/docs/errors/{self.code}",
                "status": self.status,
            }
        )


WRONG_CREDENTIALS = Problem(401, 20003, "Authenticate")
NOT_FOUND = Problem(404, 20404, "The requested resource was not found")
NO_METHOD = Problem(405, 20004, "Method not allowed")
TOO_MANY = Problem(429, 20429, "Too Many Requests")
FAILED = Problem(500, 20500, "An internal server error has occurred")
TOO_LARGE = Problem(413, 20413, "Request Entity Too Large")

_MAGIC_TO = {
    "+15005550001": (21211, "Invalid 'To' Phone Number: {}"),
    "+15005550002": (21612, "The 'To' phone number: {}, is not currently reachable via SMS"),
    "+15005550003": (21408, "Permission to send an SMS has not been enabled for the region: {}"),
    "+15005550004": (21610, "Attempt to send to unsubscribed recipient: {}"),
    "+15005550009": (21614, "'To' number: {}, is not a valid mobile number"),
}
_MAGIC_FROM = {
    "+15005550001": (21212, "Invalid From Number (caller ID): {}"),
    "+15005550007": (21606, "The 'From' phone number {} is not a valid, SMS-capable number"),
    "+15005550008": (21611, "This 'From' number {} has exceeded the maximum queued messages"),
}


def refused_number(to: str) -> Problem:
    """For a number that a fault rule refuses."""
    return Problem(400, 21614, f"'To' number: {to}, is not a valid mobile number")


def problem_of(form: Mapping[str, Sequence[str]]) -> Problem | None:
    """The first thing that is wrong with a message's form, in Twilio's order."""
    return _problem_of_to(form) or _problem_of_sender(form) or _problem_of_content(form)


def _problem_of_to(form: Mapping[str, Sequence[str]]) -> Problem | None:
    to = first(form, "To")
    if not to:
        return Problem(400, 21604, "A 'To' phone number is required.")
    if to in _MAGIC_TO:
        code, words = _MAGIC_TO[to]
        return Problem(400, code, words.format(to))
    if not _NUMBER.fullmatch(to):
        return Problem(400, 21211, f"The 'To' number {to} is not a valid phone number.")
    return None


def _problem_of_sender(form: Mapping[str, Sequence[str]]) -> Problem | None:
    service, sender = first(form, "MessagingServiceSid"), first(form, "From")
    if service:
        if _SERVICE.fullmatch(service):
            return None
        return Problem(400, 21705, "The Messaging Service Sid is invalid.")
    if not sender:
        return Problem(400, 21603, "A 'From' phone number is required.")
    if sender in _MAGIC_FROM:
        code, words = _MAGIC_FROM[sender]
        return Problem(429 if code == 21611 else 400, code, words.format(sender))
    if not _SENDER.fullmatch(sender):
        return Problem(400, 21212, f"The 'From' number {sender} is not a valid phone number.")
    return None


def _problem_of_content(form: Mapping[str, Sequence[str]]) -> Problem | None:
    body, media = first(form, "Body"), form.get("MediaUrl", ())
    if not body and not media:
        return Problem(400, 21602, "Message body is required.")
    if len(body) > MAX_BODY_CHARACTERS:
        return Problem(
            400, 21617, "The concatenated message body exceeds the 1600 character limit."
        )
    if len(media) > MAX_MEDIA:
        return Problem(400, 21623, "Number of media files exceeds allowed limit.")
    if not all(_is_url(url) for url in media):
        return Problem(400, 21620, "Invalid media URL(s)")
    callback = first(form, "StatusCallback")
    if callback and not _is_url(callback):
        return Problem(400, 21609, f"The StatusCallback URL {callback} is not a valid URL.")
    return None


def first(form: Mapping[str, Sequence[str]], name: str) -> str:
    """The first value of a field; empty if it is not there."""
    return (form.get(name) or ("",))[0]


def _is_url(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme in ("http", "https") and bool(parts.hostname)

"""What an SMTP reply means, by where in the dialogue it came: RFC 5321, 3463 and large relays' habits.

A 4yz or 5yz reply, to the final dot too, says for certain that the message was not accepted.
"""

from __future__ import annotations

import re
from datetime import timedelta
from enum import StrEnum
from typing import NamedTuple

from domain.answer import Answer, AnswerClass
from providers.redaction import without_addresses

GREYLISTED = timedelta(minutes=5)

_ENHANCED = re.compile(r"\s*([245]\.\d{1,3}\.\d{1,3})\b")
_GREYLIST_WORDS = re.compile(r"gr[ea]ylist", re.IGNORECASE)
_RATE_WORDS = re.compile(r"\brate\b|too (?:many|much|fast)", re.IGNORECASE)
_RELAY_WORDS = re.compile(r"relay", re.IGNORECASE)


class Stage(StrEnum):
    """What a reply answers."""

    CONNECT = "connect"
    """The greeting, EHLO, STARTTLS."""
    AUTH = "auth"
    MAIL = "mail"
    RCPT = "rcpt"
    DATA = "data"
    FINAL = "final"


class ServerReply(NamedTuple):
    """A whole reply, its lines without their codes."""

    code: int
    lines: list[str]

    @property
    def enhanced(self) -> str:
        """RFC 3463 code of the first line ("5.1.1"), or empty."""
        found = _ENHANCED.match(self.lines[0])
        return found.group(1) if found else ""

    @property
    def text(self) -> str:
        """All lines as one, without the enhanced codes."""
        return " ".join(_ENHANCED.sub("", line, count=1).strip() for line in self.lines)


# By enhanced code, at every stage; exact before its first two parts.
_KIND_BY_ENHANCED = {
    "4.2.1": AnswerClass.UNAVAILABLE,  # mailbox disabled; with "rate" in its text: see below
    "4.2.2": AnswerClass.UNAVAILABLE,  # mailbox full: one recipient's 452
    "4.7": AnswerClass.THROTTLED,
    "5.1.7": AnswerClass.ACCOUNT_REFUSED,  # bad sender address
    "5.1.8": AnswerClass.ACCOUNT_REFUSED,  # bad sender domain
    "5.4.5": AnswerClass.ACCOUNT_REFUSED,  # Gmail: daily sending quota exceeded
    "5.7.8": AnswerClass.ACCOUNT_REFUSED,  # credentials
    "5.7.9": AnswerClass.ACCOUNT_REFUSED,
    "5.7.26": AnswerClass.ACCOUNT_REFUSED,  # Gmail: neither SPF nor DKIM
    "5.7.60": AnswerClass.ACCOUNT_REFUSED,  # Exchange: may not send as this sender
    "5.7.515": AnswerClass.ACCOUNT_REFUSED,  # Outlook: not authenticated
}

# By code, at every stage.
_KIND_BY_CODE = {
    452: AnswerClass.THROTTLED,
    454: AnswerClass.UNAVAILABLE,  # temporary authentication failure
    530: AnswerClass.ACCOUNT_REFUSED,
    534: AnswerClass.ACCOUNT_REFUSED,
    535: AnswerClass.ACCOUNT_REFUSED,
    538: AnswerClass.ACCOUNT_REFUSED,
    552: AnswerClass.CONTENT_REFUSED,  # too big; a full mailbox is caught before (5.2.2)
}

# What any other 5yz means.
_KIND_BY_STAGE = {
    Stage.CONNECT: AnswerClass.ACCOUNT_REFUSED,
    Stage.AUTH: AnswerClass.ACCOUNT_REFUSED,
    Stage.MAIL: AnswerClass.ACCOUNT_REFUSED,  # of the message only the sender is known by then
    Stage.RCPT: AnswerClass.RECIPIENT_REFUSED,
    Stage.DATA: AnswerClass.CONTENT_REFUSED,
    Stage.FINAL: AnswerClass.CONTENT_REFUSED,
}


def answer_to_refusal(reply: ServerReply, stage: Stage, *hidden: str) -> Answer:
    """The answer that a reply of 400 to 599 is; a reply out of place counts as temporary.

    `hidden` strings (address parts, names) are left out of its detail.
    """
    enhanced = reply.enhanced
    is_permanent = reply.code >= 500
    kind = _permanent(reply, enhanced, stage) if is_permanent else _temporary(reply, enhanced)
    retry_after = None
    if not is_permanent and _is_greylisting(reply, enhanced, stage):
        # One recipient's, not the account's: others may go on.
        kind, retry_after = AnswerClass.UNAVAILABLE, GREYLISTED
    return Answer(
        kind=kind,
        code=enhanced or str(reply.code),
        detail=without_addresses(f"{stage}: {reply.code} {enhanced} {reply.text}", *hidden),
        retry_after=retry_after,
    )


def _temporary(reply: ServerReply, enhanced: str) -> AnswerClass:
    if not 400 <= reply.code < 500:
        return AnswerClass.UNAVAILABLE
    if enhanced == "4.2.1" and _RATE_WORDS.search(reply.text):
        return AnswerClass.THROTTLED
    kind = _by_enhanced(enhanced) or _KIND_BY_CODE.get(reply.code)
    return kind or AnswerClass.UNAVAILABLE


def _permanent(reply: ServerReply, enhanced: str, stage: Stage) -> AnswerClass:
    kind = _by_enhanced(enhanced)
    if kind:
        return kind
    if enhanced.startswith("5.1.") and stage in (Stage.RCPT, Stage.DATA, Stage.FINAL):
        return AnswerClass.RECIPIENT_REFUSED  # some relays look the recipient up after DATA only
    if stage is Stage.RCPT and _RELAY_WORDS.search(reply.text):
        return AnswerClass.ACCOUNT_REFUSED  # "Relay access denied": we are not let in
    if stage is Stage.RCPT and enhanced.startswith("5.7."):
        return AnswerClass.CONTENT_REFUSED  # policy about this message: the person keeps well
    if enhanced.startswith("5.2.") and stage is Stage.RCPT:
        return AnswerClass.RECIPIENT_REFUSED
    return _KIND_BY_CODE.get(reply.code) or _KIND_BY_STAGE[stage]


def _by_enhanced(enhanced: str) -> AnswerClass | None:
    return _KIND_BY_ENHANCED.get(enhanced) or _KIND_BY_ENHANCED.get(enhanced.rpartition(".")[0])


def _is_greylisting(reply: ServerReply, enhanced: str, stage: Stage) -> bool:
    if _GREYLIST_WORDS.search(reply.text):
        return True
    is_policy = reply.code in (450, 451) and enhanced == "4.7.1"
    return is_policy and stage is Stage.RCPT and not _RATE_WORDS.search(reply.text)

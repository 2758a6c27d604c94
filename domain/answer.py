"""What a provider's answer means for us: seven classes, decided once, in the adapter (DESIGN §5)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum


class AnswerClass(StrEnum):
    """What the caller must do about an answer."""

    ACCEPTED = "accepted"
    """The provider has it and will try to deliver."""
    RECIPIENT_REFUSED = "recipient_refused"
    """This address is refused; others are not touched."""
    CONTENT_REFUSED = "content_refused"
    """This message is refused as it is."""
    ACCOUNT_REFUSED = "account_refused"
    """Bad key, quota, suspended: stop the account, alarm, burn nobody."""
    THROTTLED = "throttled"
    """Certainly not accepted; slow the account down."""
    UNAVAILABLE = "unavailable"
    """Certainly not accepted; try again later."""
    UNKNOWN = "unknown"
    """May have been accepted: the answer was lost."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One provider answer, about every message of the request it belongs to."""

    kind: AnswerClass
    provider_message_id: str = ""
    code: str = ""
    """The vendor's own code or field ("429", "5.1.1", "personalizations.0.to"); no address."""
    detail: str = ""
    """One sentence for operators; no address, no content."""
    retry_after: timedelta | None = None


CALL_BY_MISSED = Answer(
    kind=AnswerClass.UNAVAILABLE, code="call_by", detail="not written in time after its claim"
)
"""The request was certainly not written: its members are released and nothing else changes."""

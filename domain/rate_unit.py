"""What a vendor counts when it limits an account."""

from __future__ import annotations

from enum import StrEnum

from domain.sms import segments


class RateUnit(StrEnum):
    """The thing of which an account may have so many a second."""

    RECIPIENTS = "recipients"
    """SendGrid and most mail servers: each person of a request of many."""
    REQUESTS = "requests"
    SEGMENTS = "segments"
    """Twilio: a long text message is several."""


def units_of_message(unit: RateUnit, text: str) -> int:
    """Units of one message that is a request of its own; an empty text message counts as one."""
    return max(1, segments(text)) if unit is RateUnit.SEGMENTS else 1


def units_of_requests(unit: RateUnit, people: int, per_request: int) -> int:
    """Units of a merging send to so many people, `per_request` of them in each request."""
    return -(-people // per_request) if unit is RateUnit.REQUESTS else people

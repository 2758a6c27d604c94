"""What teams are told about by webhook: kinds of events, their bodies, when one is tried again.

Rows hold numbers; outside go ids and words. An event never holds an address, a name or a text: who
is told asks the API for more.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

import orjson

from domain.identifier import (
    RECIPIENT_PREFIX,
    SEND_PREFIX,
    SUPPRESSION_PREFIX,
    message_id,
    public_id,
)
from domain.outcome import Outcome, Reason

TEST_EVENT = "webhook.test"
"""Goes to an endpoint when its team asks for it, whatever the endpoint wants."""
LONGEST_WAIT = timedelta(hours=1)
"""Between two tries, unless the endpoint asks for a longer one."""
GONE = "410"
"""The code of the answer by which an endpoint asks to be told nothing more."""


class WebhookEvent(StrEnum):
    """A fact that endpoints are told."""

    MESSAGE_ACCEPTED = "message.accepted"
    MESSAGE_REJECTED = "message.rejected"
    MESSAGE_SKIPPED = "message.skipped"
    MESSAGE_UNCONFIRMED = "message.unconfirmed"
    MESSAGE_EXPIRED = "message.expired"
    MESSAGE_CANCELLED = "message.cancelled"
    CAMPAIGN_STARTED = "campaign.started"
    CAMPAIGN_PAUSED = "campaign.paused"
    CAMPAIGN_RESUMED = "campaign.resumed"
    CAMPAIGN_CANCELLED = "campaign.cancelled"
    CAMPAIGN_FINISHED = "campaign.finished"
    SUBSCRIPTION_JOINED = "subscription.joined"
    SUBSCRIPTION_LEFT = "subscription.left"
    SUPPRESSION_ADDED = "suppression.added"


_PREFIXES = {
    "send": SEND_PREFIX,
    "campaign": SEND_PREFIX,
    "recipient": RECIPIENT_PREFIX,
    "suppression": SUPPRESSION_PREFIX,
}


def event_data(payload: Mapping[str, Any]) -> dict[str, Any]:
    """The `data` of an event: ids of the outside and words in place of a row's numbers."""
    data: dict[str, Any] = {}
    for name, value in payload.items():
        match name:
            case "ordinal":
                data["message"] = message_id(payload["send"], value)
            case "outcome":
                data[name] = Outcome(value).word
            case "reason":
                data[name] = Reason(value).word if value else None
            case _:
                data[name] = public_id(_PREFIXES[name], value) if name in _PREFIXES else value
    return data


def event_body(event: str, payload: Mapping[str, Any], at: datetime) -> bytes:
    """The body of an event's request; equal on every try. `at`: when it happened."""
    moment = at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return orjson.dumps({"type": event, "timestamp": moment, "data": event_data(payload)})


def retry_wait(tries: int, first: timedelta, retry_after: timedelta | None) -> timedelta:
    """How long to wait after so many tries (1 and on) that failed: doubling, an hour at most.

    `retry_after`: what the endpoint asked for; it is never asked sooner.
    """
    doubled = min(first * (1 << min(tries - 1, 20)), LONGEST_WAIT)
    return max(doubled, retry_after or timedelta(0))

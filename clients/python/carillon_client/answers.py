"""What the API answers, as values. Fields that a newer server adds are left out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from carillon_client.errors import ApiError

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """A request that is committed: it will be sent, whatever fails."""

    id: str
    """Of the send, snd_…"""
    messages: tuple[str, ...]
    """Ids of its messages, msg_…, in the order of `to`."""
    idempotency_key: str | None
    """Yours, or the one that was made for you."""
    is_repeat: bool = False
    """The key was known: this is the first answer again, and nothing was sent by it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DryRun:
    """What would be sent. Nothing was written."""

    name: str
    message_class: str
    priority: str
    channels: tuple[str, ...]
    messages: int
    due_at: datetime | None

    @staticmethod
    def of(body: Json) -> DryRun:
        """From the API's JSON."""
        return DryRun(
            name=body["name"],
            message_class=body["message_class"],
            priority=body["priority"],
            channels=tuple(body["channels"]),
            messages=body["messages"],
            due_at=moment(body["due_at"]),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class BulkItem:
    """What became of one message of a bulk: `sent` or `error`."""

    index: int
    sent: Sent | None = None
    error: ApiError | None = None
    """Ready to be raised."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bulk:
    """An answer for each message of a bulk, in their order."""

    accepted: int
    refused: int
    items: tuple[BulkItem, ...]
    idempotency_key: str
    """Of the bulk as a whole."""
    is_repeat: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """A committed event."""

    id: str
    """evt_…"""
    topic: str
    key: str
    messages: int
    """Members who are told at once."""
    digest_items: int
    """Members who find it in their next digest."""
    joined: int
    """Whom the topic's rules made members of other topics."""
    send: str | None
    """The send that tells those who are told at once, snd_…; None: there is nobody."""
    is_repeat: bool = False
    """The same topic and key came before: nobody is told again."""

    @staticmethod
    def of(body: Json, *, is_repeat: bool) -> Event:
        """From the API's JSON."""
        return Event(
            id=body["id"],
            topic=body["topic"],
            key=body["key"],
            messages=body["messages"],
            digest_items=body["digest_items"],
            joined=body["joined"],
            send=body["send"],
            is_repeat=is_repeat,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """What came of a message on one step of its channel plan."""

    step: int
    outcome: str
    reason: str | None
    progress: str
    tries: int
    accepted_at: datetime | None

    @staticmethod
    def of(body: Json) -> Delivery:
        """From the API's JSON."""
        return Delivery(
            step=body["step"],
            outcome=body["outcome"],
            reason=body["reason"],
            progress=body["progress"],
            tries=body["tries"],
            accepted_at=moment(body["accepted_at"]),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceEntry:
    """One thing that happened."""

    at: datetime
    what: str
    text: str
    facts: Json


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A message with what came of it, and why."""

    id: str
    send: str
    created_at: datetime
    template: str
    recipient: str
    address: str
    topic: str | None
    idempotency_key: str | None
    message_class: str
    deliveries: tuple[Delivery, ...]
    trace: tuple[TraceEntry, ...]
    verdict: Json
    """What the rules would say now."""
    now: Json
    """Where it waits, until when, and for what."""

    @staticmethod
    def of(body: Json) -> Message:
        """From the API's JSON."""
        return Message(
            id=body["id"],
            send=body["send"],
            created_at=datetime.fromisoformat(body["created_at"]),
            template=body["template"],
            recipient=body["recipient"],
            address=body["address"],
            topic=body["topic"],
            idempotency_key=body["idempotency_key"],
            message_class=body["message_class"],
            deliveries=tuple(Delivery.of(each) for each in body["deliveries"]),
            trace=tuple(
                TraceEntry(
                    at=datetime.fromisoformat(each["at"]),
                    what=each["what"],
                    text=each["text"],
                    facts=each["facts"],
                )
                for each in body["trace"]
            ),
            verdict=body["verdict"],
            now=body["now"],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancelled:
    """Whoever was not tried yet gets nothing."""

    id: str
    """Of the send, snd_…"""
    state: str

    @staticmethod
    def of(body: Json) -> Cancelled:
        """From the API's JSON."""
        return Cancelled(id=body["id"], state=body["state"])


def moment(given: str | None) -> datetime | None:
    """The time of an RFC 3339 text; None for none."""
    return None if given is None else datetime.fromisoformat(given)

"""The inbox of events: what vendors tell is committed here first, each fact once, and folded then."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any, NamedTuple

import orjson
from sqlalchemy import Column, Connection, Date, Index, Integer, SmallInteger, Text, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

from domain.event import EventKind, ProviderEvent
from domain.identifier import Reference
from models.columns import big, moment, words
from models.database import clock

OLDEST, NEWEST = timedelta(days=100), timedelta(days=7)
"""Events dated outside are taken for dated at the edge: vendors' clocks make no partitions."""
GIVE_UP_AFTER = timedelta(days=3)
"""An event about a message that never gets a row is set aside then."""
MOST_PATIENCE = timedelta(minutes=5)


class EventInbox(SQLModel, table=True):
    """An event as it came; `occurred_on` is the vendor's date, the same on every repeat."""

    __tablename__ = "event_inbox"
    __table_args__ = (
        Index("event_inbox_due", "due_at", postgresql_where=text("folded_at IS NULL")),
        {"postgresql_partition_by": "RANGE (occurred_on)"},
    )

    account_id: int = Field(sa_column=big(primary_key=True))
    provider_event_id: str = Field(sa_column=Column(Text, primary_key=True))
    occurred_on: date = Field(sa_column=Column(Date, primary_key=True))
    at: datetime = Field(sa_column=moment(nullable=False))
    received_at: datetime = Field(sa_column=moment(nullable=False, default_now=True))
    send_id: int = Field(sa_column=big())
    ordinal: int = Field(sa_column=Column(Integer, nullable=False))
    step: int = Field(sa_column=Column(SmallInteger, nullable=False))
    part: int = Field(sa_column=Column(SmallInteger, nullable=False))
    kind: str = Field(sa_column=words())
    provider_message_id: str = Field(sa_column=words(default=""))
    raw: dict[str, Any] = Field(sa_column=Column(JSONB, nullable=False))
    due_at: datetime = Field(sa_column=moment(nullable=False, default_now=True))
    """When it is tried (again)."""
    folded_at: datetime | None = Field(sa_column=moment())


class InboxKey(NamedTuple):
    """Key of an event in the inbox."""

    account_id: int
    provider_event_id: str
    occurred_on: date


class Received(NamedTuple):
    """An event of the inbox that is not folded yet."""

    key: InboxKey
    reference: Reference
    kind: EventKind


def receive(connection: Connection, events: Sequence[ProviderEvent]) -> list[Received]:
    """Those of the events that were not there before; they are kept now."""
    if not events:
        return []
    now = clock(connection)
    possible = [event for event in events if _is_possible(event.reference)]
    rows = {(key := _key(event, now)): _values(event, key) for event in possible}
    _ensure_months(connection, {key.occurred_on for key in rows})
    found = connection.execute(
        text(
            "INSERT INTO event_inbox (account_id, provider_event_id, occurred_on, at, send_id, ordinal,"
            " step, part, kind, provider_message_id, raw)"
            " SELECT account_id, provider_event_id, occurred_on, at, send_id, ordinal, step, part, kind,"
            " provider_message_id, raw FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS x(account_id bigint,"
            " provider_event_id text, occurred_on date, at timestamptz, send_id bigint, ordinal integer,"
            " step smallint, part smallint, kind text, provider_message_id text, raw jsonb)"
            # In one order, so that two that bring the same events never wait for each other.
            " ORDER BY account_id, provider_event_id, occurred_on"
            " ON CONFLICT (account_id, provider_event_id, occurred_on) DO NOTHING"
            " RETURNING account_id, provider_event_id, occurred_on, send_id, ordinal, step, part, kind"
        ),
        {"rows": orjson.dumps([rows[key] for key in sorted(rows)]).decode()},
    )
    return [_received(row) for row in found]


def due_events(connection: Connection, limit: int) -> list[Received]:
    """Events that wait to be folded and whose time has come, the longest waiting first."""
    found = connection.execute(
        text(
            "SELECT account_id, provider_event_id, occurred_on, send_id, ordinal, step, part, kind"
            " FROM event_inbox WHERE folded_at IS NULL AND due_at <= clock_timestamp()"
            " ORDER BY due_at LIMIT :limit"
        ),
        {"limit": limit},
    )
    return [_received(row) for row in found]


_KEYS = (
    "unnest(CAST(:accounts AS bigint[]), CAST(:ids AS text[]), CAST(:days AS date[]))"
    " AS x(account_id, provider_event_id, occurred_on)"
)
_IS_KEY = (
    "i.account_id = x.account_id AND i.provider_event_id = x.provider_event_id"
    " AND i.occurred_on = x.occurred_on AND i.folded_at IS NULL"
)


def append_folded(connection: Connection, keys: Sequence[InboxKey]) -> set[InboxKey]:
    """Move these events into the deliveries' history; those that nobody had moved before.

    Whoever calls this holds the lock on their deliveries' rows.
    """
    moved = connection.execute(
        text(
            f"WITH mine AS (UPDATE event_inbox i SET folded_at = clock_timestamp() FROM {_KEYS}"  # noqa: S608  constants
            f"  WHERE {_IS_KEY} RETURNING i.*),"
            " said AS (INSERT INTO delivery_event (occurred_on, at, send_id, ordinal, step, part, kind,"
            "  account_id, provider_message_id, raw) SELECT occurred_on, at, send_id, ordinal, step, part,"
            "  kind, account_id, nullif(provider_message_id, ''), raw FROM mine)"
            " SELECT account_id, provider_event_id, occurred_on FROM mine"
        ),
        _arrays(keys),
    )
    return {InboxKey(*row) for row in moved}


def postpone(connection: Connection, keys: Sequence[InboxKey]) -> None:
    """These events came before their message's row: try them again later, ever more rarely.

    After three days they are set aside: what they are about never was.
    """
    if not keys:
        return
    connection.execute(
        text(
            "UPDATE event_inbox i SET due_at = clock_timestamp() + least(CAST(:most AS interval),"  # noqa: S608  constants
            " greatest(interval '1 second', (clock_timestamp() - i.received_at) / 2)),"
            " folded_at = CASE WHEN i.received_at < clock_timestamp() - CAST(:give_up AS interval)"
            f" THEN clock_timestamp() END FROM {_KEYS} WHERE {_IS_KEY}"
        ),
        {**_arrays(keys), "most": MOST_PATIENCE, "give_up": GIVE_UP_AFTER},
    )


def _is_possible(reference: Reference) -> bool:
    """Whether a message could have it; 19 letters that nobody of ours made may say anything."""
    return reference.send_id < 1 << 63 and reference.ordinal < 1 << 31


def _key(event: ProviderEvent, now: datetime) -> InboxKey:
    at = min(max(event.at, now - OLDEST), now + NEWEST)
    return InboxKey(event.account_id, event.provider_event_id, at.astimezone(UTC).date())


def _values(event: ProviderEvent, key: InboxKey) -> dict[str, Any]:
    return {
        **key._asdict(),
        **event.reference._asdict(),
        "at": event.at,
        "kind": event.kind,
        "provider_message_id": event.provider_message_id,
        "raw": dict(event.raw),
    }


def _ensure_months(connection: Connection, days: set[date]) -> None:
    """Vendors tell of last year's messages, too; nearly always there is nothing to make."""
    connection.execute(
        text(
            "SELECT ensure_partitions(day, 1) FROM unnest(CAST(:days AS date[])) AS day"
            " WHERE to_regclass('event_inbox' || to_char(day, '_YYYY_MM')) IS NULL"
        ),
        {"days": sorted({day.replace(day=1) for day in days})},
    )


def _received(row: Any) -> Received:
    return Received(
        key=InboxKey(row.account_id, row.provider_event_id, row.occurred_on),
        reference=Reference(row.send_id, row.ordinal, row.step, row.part),
        kind=EventKind(row.kind),
    )


def _arrays(keys: Sequence[InboxKey]) -> dict[str, list[Any]]:
    return {
        "accounts": [key.account_id for key in keys],
        "ids": [key.provider_event_id for key in keys],
        "days": [key.occurred_on for key in keys],
    }

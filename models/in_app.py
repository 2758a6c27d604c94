"""In-app items: the row is the delivery, so each is there exactly once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import (
    Column,
    Connection,
    ForeignKey,
    Index,
    Integer,
    SmallInteger,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import BigInteger, Field, SQLModel

from domain.event import EventKind, ProviderEvent
from domain.identifier import Reference
from models.columns import big, identity, moment, words
from models.event_fold import Folded, fold
from models.event_inbox import receive
from models.group_rows import MemberKey
from models.prepared import Prepared

OURSELVES = 0
"""The account of events that no provider tells."""


class InAppItem(SQLModel, table=True):
    """What a recipient finds inside the application."""

    __tablename__ = "in_app_item"
    __table_args__ = (
        UniqueConstraint("send_id", "ordinal", "step"),
        Index("in_app_item_of_recipient", "recipient_id", "id"),
    )

    id: int = Field(sa_column=identity())
    recipient_id: int = Field(
        sa_column=Column(BigInteger, ForeignKey("recipient.id"), nullable=False)
    )
    send_id: int = Field(sa_column=big())
    ordinal: int = Field(sa_column=Column(Integer, nullable=False))
    step: int = Field(sa_column=Column(SmallInteger, nullable=False))
    title: str = Field(sa_column=words())
    body: str = Field(sa_column=words())
    data: dict[str, Any] = Field(
        sa_column=Column(JSONB, nullable=False, server_default=text("'{}'"))
    )
    created_at: datetime = Field(sa_column=moment(nullable=False, default_now=True))
    seen_at: datetime | None = Field(sa_column=moment())
    read_at: datetime | None = Field(sa_column=moment())


class InAppContent(NamedTuple):
    """What an item shows."""

    title: str
    body: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """An item as its reader's application lists it."""

    id: int
    title: str
    body: str
    created_at: datetime
    seen_at: datetime | None
    read_at: datetime | None


_WRITE_ITEMS = Prepared(
    "in_app_write_items",
    "INSERT INTO in_app_item (recipient_id, send_id, ordinal, step, title, body)"
    " SELECT coalesce(r.merged_into, r.id), x.send_id, x.ordinal, x.step, x.title, x.body"
    " FROM unnest(CAST(:sends AS bigint[]), CAST(:ordinals AS integer[]),"
    " CAST(:steps AS smallint[]), CAST(:titles AS text[]), CAST(:bodies AS text[]))"
    " AS x(send_id, ordinal, step, title, body)"
    " JOIN message m ON m.send_id = x.send_id AND m.ordinal = x.ordinal"
    " JOIN recipient r ON r.id = m.recipient_id"
    " ON CONFLICT (send_id, ordinal, step) DO NOTHING",
)


def write_items(connection: Connection, items: Sequence[tuple[MemberKey, InAppContent]]) -> None:
    """Write the items of accepted messages; one that is there already stays as it is."""
    if not items:
        return
    _WRITE_ITEMS.run(
        connection,
        {
            "sends": [key.send_id for key, _ in items],
            "ordinals": [key.ordinal for key, _ in items],
            "steps": [key.step for key, _ in items],
            "titles": [content.title for _, content in items],
            "bodies": [content.body for _, content in items],
        },
    )


def list_items(connection: Connection, recipient_id: int, limit: int = 50) -> list[Item]:
    """The recipient's newest items, newest first."""
    rows = connection.execute(
        text(
            "SELECT id, title, body, created_at, seen_at, read_at FROM in_app_item"
            " WHERE recipient_id = :recipient ORDER BY id DESC LIMIT :limit"
        ),
        {"recipient": recipient_id, "limit": limit},
    ).mappings()
    return [Item(**row) for row in rows]


_MARK = {
    EventKind.SEEN: "seen_at = coalesce(seen_at, clock_timestamp()) WHERE seen_at IS NULL",
    EventKind.READ: (
        "seen_at = coalesce(seen_at, clock_timestamp()), read_at = clock_timestamp()"
        " WHERE read_at IS NULL"
    ),
}


def mark_seen(connection: Connection, recipient_id: int, item_ids: Sequence[int]) -> Folded:
    """The recipient has seen these items in a list; what that moved. Again changes nothing."""
    return _mark(connection, recipient_id, item_ids, EventKind.SEEN)


def mark_read(connection: Connection, recipient_id: int, item_ids: Sequence[int]) -> Folded:
    """The recipient has read these items: a plan that waited for it is done. Again changes nothing."""
    return _mark(connection, recipient_id, item_ids, EventKind.READ)


def _mark(
    connection: Connection, recipient_id: int, item_ids: Sequence[int], kind: EventKind
) -> Folded:
    """The times are written once; the deliveries move as by any other event."""
    marked = connection.execute(
        text(
            f"UPDATE in_app_item SET {_MARK[kind]} AND recipient_id = :recipient AND id = ANY(:items)"  # noqa: S608  constants
            " RETURNING id, send_id, ordinal, step, clock_timestamp() AS at"
        ),
        {"recipient": recipient_id, "items": list(item_ids)},
    ).all()
    events = [
        ProviderEvent(
            account_id=OURSELVES,
            provider_event_id=f"{kind}:{item.id}",
            reference=Reference(item.send_id, item.ordinal, item.step),
            kind=kind,
            at=item.at,
        )
        for item in marked
    ]
    return fold(connection, receive(connection, events))

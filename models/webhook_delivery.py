"""What is owed to each endpoint, in order: one who delivers at a time, the head of the line first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Column, Connection, Index, Integer, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

from models.columns import big, identity, moment, words
from models.webhook_endpoint import COLUMNS, SECRET_OVERLAP, Endpoint, endpoint_of

MOST_FORGOTTEN = 10_000
"""Rows that one look takes away: the next comes soon."""


class WebhookDelivery(SQLModel, table=True):
    """One event for one endpoint; its id, outside, is the same on every try."""

    __tablename__ = "webhook_delivery"
    __table_args__ = (
        Index(
            "webhook_delivery_owed",
            "endpoint_id",
            "id",
            postgresql_where=text("delivered_at IS NULL"),
        ),
        Index("webhook_delivery_of_endpoint", "endpoint_id", "id"),
        Index(
            "webhook_delivery_done",
            "delivered_at",
            postgresql_where=text("delivered_at IS NOT NULL"),
        ),
    )

    id: int = Field(sa_column=identity())
    endpoint_id: int = Field(sa_column=big())
    event: str = Field(sa_column=words())
    payload: dict[str, Any] = Field(sa_column=Column(JSONB, nullable=False))
    """Numbers of rows and words of ours; never an address, a name or a text."""
    created_at: datetime = Field(sa_column=moment(nullable=False, default_now=True))
    delivered_at: datetime | None = Field(sa_column=moment())
    tries: int = Field(sa_column=Column(Integer, nullable=False, server_default="0"))
    next_at: datetime | None = Field(sa_column=moment())
    """Not before then; null: now."""
    last_error: str = Field(sa_column=words(default=""))


@dataclass(frozen=True, slots=True, kw_only=True)
class DueEndpoint:
    """An endpoint that something is owed to now."""

    id: int
    team: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OwedEvent:
    """The head of an endpoint's line."""

    id: int
    event: str
    payload: dict[str, Any]
    created_at: datetime
    tries: int
    next_at: datetime | None
    """When it may be tried again, where that is later than now."""
    endpoint: Endpoint


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedDelivery:
    """An event as its endpoint's list shows it."""

    id: int
    event: str
    payload: dict[str, Any]
    created_at: datetime
    delivered_at: datetime | None
    tries: int
    next_at: datetime | None
    last_error: str


def due_endpoints(connection: Connection) -> Sequence[DueEndpoint]:
    """Enabled endpoints whose head of the line may be tried now."""
    rows = connection.execute(
        text(
            "SELECT e.id, t.key AS team FROM webhook_endpoint e JOIN team t ON t.id = e.team_id"
            # By the index on what is owed.
            " JOIN LATERAL (SELECT next_at FROM webhook_delivery WHERE endpoint_id = e.id"
            "  AND delivered_at IS NULL ORDER BY id LIMIT 1) d"
            "  ON coalesce(d.next_at <= statement_timestamp(), true)"
            " WHERE e.is_enabled ORDER BY e.id"
        )
    ).mappings()
    return [DueEndpoint(**row) for row in rows]


def begin_delivery(connection: Connection, endpoint_id: int) -> int | None:
    """The epoch of who delivers from now on; None: there is no such endpoint, or it is disabled."""
    epoch: int | None = connection.execute(
        text(
            "UPDATE webhook_endpoint SET epoch = epoch + 1 WHERE id = :id AND is_enabled"
            " RETURNING epoch"
        ),
        {"id": endpoint_id},
    ).scalar()
    return epoch


def next_event(connection: Connection, endpoint_id: int, epoch: int) -> OwedEvent | None:
    """The head of the line; None: nothing is owed, the endpoint is disabled or another delivers."""
    row = (
        connection.execute(
            text(
                "SELECT d.id AS delivery_id, d.event, d.payload, d.created_at AS happened_at, d.tries,"  # noqa: S608  ours
                f" CASE WHEN d.next_at > clock_timestamp() THEN d.next_at END AS next_at, {COLUMNS}"
                " FROM webhook_endpoint e JOIN LATERAL (SELECT * FROM webhook_delivery"
                "  WHERE endpoint_id = e.id AND delivered_at IS NULL ORDER BY id LIMIT 1) d ON true"
                " WHERE e.id = :id AND e.epoch = :epoch AND e.is_enabled"
            ),
            {"id": endpoint_id, "epoch": epoch, "overlap": SECRET_OVERLAP},
        )
        .mappings()
        .one_or_none()
    )
    if row is None:
        return None
    columns = dict(row)
    return OwedEvent(
        id=columns.pop("delivery_id"),
        event=columns.pop("event"),
        payload=columns.pop("payload"),
        created_at=columns.pop("happened_at"),
        tries=columns.pop("tries"),
        next_at=columns.pop("next_at"),
        endpoint=endpoint_of(columns),
    )


def record_delivered(connection: Connection, owed: OwedEvent) -> None:
    """The endpoint has it; whoever delivers now, it is not owed any more."""
    connection.execute(
        text(
            "UPDATE webhook_delivery SET delivered_at = clock_timestamp(), tries = tries + 1,"
            " next_at = NULL, last_error = '' WHERE id = :id AND delivered_at IS NULL"
        ),
        {"id": owed.id},
    )
    if owed.endpoint.failing_since is not None:
        connection.execute(
            text("UPDATE webhook_endpoint SET failing_since = NULL WHERE id = :id"),
            {"id": owed.endpoint.id},
        )


def record_failed(
    connection: Connection, owed: OwedEvent, epoch: int, error: str, wait: timedelta
) -> datetime | None:
    """When it is tried again; None: another delivers now, or it was delivered, and nothing is written."""
    next_at: datetime | None = connection.execute(
        text(
            "WITH mine AS (UPDATE webhook_endpoint"
            "  SET failing_since = coalesce(failing_since, clock_timestamp())"
            "  WHERE id = :endpoint AND epoch = :epoch RETURNING id)"
            " UPDATE webhook_delivery SET tries = tries + 1, last_error = :error,"
            " next_at = clock_timestamp() + :wait FROM mine"
            " WHERE webhook_delivery.id = :id AND delivered_at IS NULL RETURNING next_at"
        ),
        {
            "endpoint": owed.endpoint.id,
            "epoch": epoch,
            "id": owed.id,
            "error": error,
            "wait": wait,
        },
    ).scalar()
    return next_at


def disable(
    connection: Connection, endpoint_id: int, epoch: int, reason: str, *, after: timedelta | None
) -> bool:
    """Whether the endpoint is disabled now: at once, or where it fails for longer than `after`."""
    disabled = connection.execute(
        text(
            "UPDATE webhook_endpoint SET is_enabled = false, disabled_reason = :reason"
            " WHERE id = :id AND epoch = :epoch AND is_enabled AND (CAST(:after AS interval) IS NULL"
            "  OR failing_since <= clock_timestamp() - CAST(:after AS interval))"
        ),
        {"id": endpoint_id, "epoch": epoch, "reason": reason, "after": after},
    )
    return disabled.rowcount == 1


_LISTED = (
    "SELECT id, event, payload, created_at, delivered_at, tries, next_at, last_error"
    " FROM webhook_delivery"
)


def list_deliveries(
    connection: Connection,
    endpoint_id: int,
    *,
    before: int | None = None,
    limit: int = 100,
) -> list[ListedDelivery]:
    """The endpoint's events, newest first, those with ids below `before`."""
    rows = connection.execute(
        text(
            f"{_LISTED} WHERE endpoint_id = :endpoint"
            " AND id < coalesce(:before, 9223372036854775807) ORDER BY id DESC LIMIT :n"
        ),
        {"endpoint": endpoint_id, "before": before, "n": limit},
    ).mappings()
    return [ListedDelivery(**row) for row in rows]


def find_delivery(connection: Connection, delivery_id: int) -> ListedDelivery:
    """The event of this id, which is there."""
    row = connection.execute(text(f"{_LISTED} WHERE id = :id"), {"id": delivery_id}).mappings()
    return ListedDelivery(**row.one())


def forget_deliveries(connection: Connection, kept: timedelta) -> int:
    """Take away what was delivered so long ago, and what nobody is told any more; how many."""
    return connection.execute(
        text(
            "DELETE FROM webhook_delivery WHERE id = ANY(ARRAY("
            " SELECT id FROM webhook_delivery WHERE delivered_at <= statement_timestamp() - :kept"
            " LIMIT :most) || ARRAY("
            " SELECT d.id FROM webhook_delivery d LEFT JOIN webhook_endpoint e ON e.id = d.endpoint_id"
            " WHERE d.delivered_at IS NULL AND NOT coalesce(e.is_enabled, false)"
            " AND d.created_at <= statement_timestamp() - :kept LIMIT :most))"
        ),
        {"kept": kept, "most": MOST_FORGOTTEN},
    ).rowcount

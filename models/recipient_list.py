"""Recipients as the API shows them: one, or a page of them, each with its contact points."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, text

from models.suppression import is_suppressed


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipientLine:
    """A recipient; `contact_points` are plain values, by channel and rank."""

    id: int
    external_id: str | None
    first_name: str
    last_name: str
    locale: str | None
    time_zone: str | None
    preferred_channels: Sequence[str]
    attributes: dict[str, Any]
    created_at: datetime
    updated_at: datetime
    erased_at: datetime | None
    merged: Sequence[int]
    """Ids of those who were merged into this one."""
    contact_points: Sequence[dict[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriptionLine:
    """How a recipient stands to a topic on a channel."""

    topic: str
    topic_name: str
    channel: str
    state: str
    source: str
    changed_at: datetime
    cadence: str


_SUPPRESSED = is_suppressed("c.team_id", "c.channel", "c.address")
_LINES = f"""
    SELECT r.id, r.external_id, r.first_name, r.last_name, r.locale, r.time_zone,
        r.preferred_channels, r.attributes, r.created_at, r.updated_at, r.erased_at,
        ARRAY(SELECT m.id FROM recipient m WHERE m.merged_into = r.id ORDER BY m.id) AS merged,
        coalesce((SELECT jsonb_agg(jsonb_build_object('id', c.id, 'channel', c.channel,
            'address', c.address, 'rank', c.rank, 'state', c.state, 'verified_at', c.verified_at,
            'registered_at', c.registered_at, 'is_suppressed', {_SUPPRESSED})
            ORDER BY c.channel, c.rank)
            FROM contact_point c WHERE c.recipient_id = r.id), '[]') AS contact_points
    FROM recipient r WHERE r.team_id = :team
"""  # noqa: S608  expressions of ours


def read_recipient(connection: Connection, team_id: int, recipient_id: int) -> RecipientLine:
    """The recipient, whom there is."""
    asked = {"team": team_id, "id": recipient_id}
    row = connection.execute(text(_LINES + " AND r.id = :id"), asked).mappings().one()
    return RecipientLine(**row)


def list_recipients(
    connection: Connection,
    team_id: int,
    *,
    external_id: str | None = None,
    addresses: Sequence[str] = (),
    before: int | None = None,
    limit: int = 100,
) -> list[RecipientLine]:
    """The team's recipients, newest first, those with ids below `before`.

    Without those who are erased, and those who were merged into others. `addresses`: who has one of
    these, normalised, on any channel; empty: everybody.
    """
    conditions = " AND r.merged_into IS NULL AND r.erased_at IS NULL"
    if external_id is not None:
        conditions += " AND r.external_id = :external"
    if addresses:
        # By contact_point_address, which begins with the team and the channel.
        conditions += (
            " AND r.id IN (SELECT recipient_id FROM contact_point WHERE team_id = :team AND channel"
            " IN ('email', 'sms', 'push', 'web_push', 'webhook') AND address = ANY(:addresses))"
        )
    if before is not None:
        conditions += " AND r.id < :before"
    rows = connection.execute(
        text(_LINES + conditions + " ORDER BY r.id DESC LIMIT :n"),
        {
            "team": team_id,
            "external": external_id,
            "addresses": list(addresses),
            "before": before,
            "n": limit,
        },
    )
    return [RecipientLine(**row) for row in rows.mappings()]


def subscriptions_of(connection: Connection, recipient_id: int) -> list[SubscriptionLine]:
    """How the recipient stands to each topic that they ever joined, by topic and channel."""
    rows = connection.execute(
        text(
            "SELECT t.key AS topic, t.name AS topic_name, s.channel, s.state, s.source,"
            " s.changed_at, s.cadence FROM subscription s JOIN topic t ON t.id = s.topic_id"
            " WHERE s.recipient_id = :recipient ORDER BY t.key, s.channel"
        ),
        {"recipient": recipient_id},
    ).mappings()
    return [SubscriptionLine(**row) for row in rows]


_BUCKETS = 256


def lock_names(connection: Connection, team_id: int, names: Sequence[str]) -> None:
    """Wait for others who are about to make people of these names, until the transaction ends.

    In buckets, so that a thousand names fill no table of locks, and in one order, so that two who
    wait for each other never stay so; take all names of a transaction at once.
    """
    connection.execute(
        text(
            "SELECT pg_advisory_xact_lock(hashtextextended('people ' || bucket, :team)) FROM"
            " (SELECT DISTINCT abs(hashtext(name) % :buckets) AS bucket"
            "  FROM unnest(CAST(:names AS text[])) AS name ORDER BY bucket) AS wanted"
        ),
        {"team": team_id, "names": list(names), "buckets": _BUCKETS},
    )

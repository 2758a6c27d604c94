"""Lists of a topic's members."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, text

from domain.identifier import RECIPIENT_PREFIX, public_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A membership, as operators see it."""

    recipient: str
    """rcp_…"""
    recipient_id: int
    external_id: str | None
    channel: str
    state: str
    cadence: str
    details: dict[str, Any]
    source: str
    changed_at: datetime


def list_members(connection: Connection, topic: int, *, after: int, most: int) -> Sequence[Member]:
    """The memberships of up to `most` recipients behind the recipient `after`, by recipient."""
    rows = connection.execute(
        text(
            "WITH page AS (SELECT DISTINCT recipient_id FROM subscription"
            "  WHERE topic_id = :topic AND recipient_id > :after ORDER BY recipient_id LIMIT :most)"
            " SELECT s.recipient_id, r.external_id, s.channel, s.state, s.cadence, s.details,"
            " s.source, s.changed_at FROM subscription s JOIN page USING (recipient_id)"
            " JOIN recipient r ON r.id = s.recipient_id WHERE s.topic_id = :topic"
            " ORDER BY s.recipient_id, s.channel"
        ),
        {"topic": topic, "after": after, "most": most},
    ).mappings()
    return [
        Member(recipient=public_id(RECIPIENT_PREFIX, row["recipient_id"]), **row) for row in rows
    ]


def find_member(connection: Connection, topic: int, recipient_id: int) -> Sequence[Member]:
    """The recipient's memberships of the topic, one a channel; none where they never joined."""
    found = list_members(connection, topic, after=recipient_id - 1, most=1)
    return [member for member in found if member.recipient_id == recipient_id]

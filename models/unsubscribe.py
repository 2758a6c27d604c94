"""What an unsubscribe link is about: whose subscription, to which topic, on which channel."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, text

from domain.identifier import Reference
from domain.send import Channel


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkedSubscription:
    """The subscription that a message was sent under; it may have ended since."""

    recipient_id: int
    topic_id: int
    topic_name: str
    channel: Channel


def find_linked(connection: Connection, reference: Reference) -> LinkedSubscription | None:
    """The subscription behind a message; None when there is no such message (any more)."""
    row = (
        connection.execute(
            text(
                # Who was merged since leaves as who they are: the other's subscription has ended.
                "SELECT coalesce(r.merged_into, r.id) AS recipient_id, s.topic_id,"
                " t.name AS topic_name, s.channel"
                " FROM message m JOIN send s ON s.id = m.send_id JOIN topic t ON t.id = s.topic_id"
                " JOIN recipient r ON r.id = m.recipient_id"
                " WHERE m.send_id = :send AND m.ordinal = :ordinal"
            ),
            {"send": reference.send_id, "ordinal": reference.ordinal},
        )
        .mappings()
        .one_or_none()
    )
    if row is None:
        return None
    return LinkedSubscription(**{**row, "channel": Channel(row["channel"])})

"""Push tokens: registered by an app, renewed by its vendor, removed when the vendor says they are gone.

A token is an app on a device: who registers it last has it, for a device changes hands.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, text

from domain.send import Channel
from models.contact import add_contact, promote_next


def register_push_token(
    connection: Connection, recipient_id: int, token: str, *, channel: Channel = Channel.PUSH
) -> int:
    """Id of the recipient's contact point for the token, registered now; anybody else loses it."""
    for row in _holders(connection, recipient_id, channel, token):
        if row.recipient_id != recipient_id:
            _remove(connection, row, channel)
    point = add_contact(connection, recipient_id, channel, token)
    connection.execute(
        text(
            "UPDATE contact_point SET registered_at = clock_timestamp(),"
            " state = CASE WHEN verified_at IS NULL THEN 'unverified' ELSE 'verified' END"
            " WHERE id = :id"
        ),
        {"id": point},
    )
    return point


def replace_push_token(
    connection: Connection,
    recipient_id: int,
    old: str,
    new: str,
    *,
    channel: Channel = Channel.PUSH,
) -> bool:
    """Whether the recipient had the old token, which is the new one now, at the same rank."""
    if old == new:
        register_push_token(connection, recipient_id, new, channel=channel)
        return True
    had = [
        row
        for row in _holders(connection, recipient_id, channel, old)
        if row.recipient_id == recipient_id
    ]
    if not had:
        return False
    for row in _holders(connection, recipient_id, channel, new):
        _remove(connection, row, channel)
    connection.execute(
        text(
            "UPDATE contact_point SET address = :new, registered_at = clock_timestamp()"
            " WHERE id = :id"
        ),
        {"new": new, "id": had[0].id},
    )
    return True


def remove_push_token(
    connection: Connection,
    team_id: int,
    token: str,
    *,
    gone_since: datetime | None = None,
    channel: Channel = Channel.PUSH,
) -> bool:
    """Whether the token was removed because its vendor answered that it is gone.

    APNs' 410 says since when: a token that was registered again after that is good (its app was
    installed again) and stays. FCM's 404 and web push's 404 and 410 say no time: None removes it.
    """
    found = connection.execute(
        text(
            "SELECT recipient_id FROM contact_point"
            " WHERE team_id = :team AND channel = :channel AND address = :token"
        ),
        {"team": team_id, "channel": channel, "token": token},
    ).scalars()
    is_removed = False
    for recipient_id in list(found):
        for row in _holders(connection, recipient_id, channel, token):
            if gone_since is None or row.registered_at <= gone_since:
                _remove(connection, row, channel)
                is_removed = True
    return is_removed


def _holders(
    connection: Connection, recipient_id: int, channel: Channel, token: str
) -> Sequence[Row[Any]]:
    """The contact points with the token in the recipient's team; all their recipients are locked.

    In the order of their ids, the recipient's own row among them. The token is locked first: two
    people who register a new one at once have no row in common.
    """
    values = {"recipient": recipient_id, "channel": channel, "token": token}
    connection.execute(text("SELECT pg_advisory_xact_lock(hashtextextended(:token, 0))"), values)
    theirs = (
        " FROM contact_point c WHERE c.channel = :channel AND c.address = :token"
        " AND c.team_id = (SELECT team_id FROM recipient WHERE id = :recipient)"
    )
    connection.execute(
        text(
            "SELECT 1 FROM recipient WHERE id = :recipient OR id IN (SELECT c.recipient_id"  # noqa: S608  constants
            f"{theirs}) ORDER BY id FOR NO KEY UPDATE"
        ),
        values,
    )
    return connection.execute(
        text(f"SELECT c.id, c.recipient_id, c.registered_at{theirs} ORDER BY c.id"),
        values,
    ).all()


def _remove(connection: Connection, row: Row[Any], channel: Channel) -> None:
    connection.execute(text("DELETE FROM contact_point WHERE id = :id"), {"id": row.id})
    promote_next(connection, row.recipient_id, channel)

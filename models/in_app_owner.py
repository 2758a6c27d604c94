"""In-app items as far as their owner changes: merged, exported, erased.

The table comes with the in-app channel; where it is not there, there is nothing to do.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import Connection, text


def move_items(connection: Connection, recipient_id: int, into: int) -> None:
    """Who is merged takes their items along: an application lists them by the one who is left."""
    if _has_table(connection):
        connection.execute(
            text("UPDATE in_app_item SET recipient_id = :into WHERE recipient_id = :recipient"),
            {"recipient": recipient_id, "into": into},
        )


def blank_items(connection: Connection, recipient_ids: Sequence[int]) -> None:
    """Empty the items; their rows stay, because they are counted as deliveries."""
    if _has_table(connection):
        connection.execute(
            text(
                "UPDATE in_app_item SET title = '', body = '', data = '{}'"
                " WHERE recipient_id = ANY(:recipients)"
            ),
            {"recipients": list(recipient_ids)},
        )


def items_of(connection: Connection, recipient_ids: Sequence[int]) -> Iterator[dict[str, Any]]:
    """What the items say and when they were seen and read, oldest first."""
    if _has_table(connection):
        rows = connection.execute(
            text(
                "SELECT title, body, data, created_at, seen_at, read_at FROM in_app_item"
                " WHERE recipient_id = ANY(:recipients) ORDER BY id"
            ),
            {"recipients": list(recipient_ids)},
        ).mappings()
        yield from (dict(row) for row in rows)


def _has_table(connection: Connection) -> bool:
    found: bool = connection.execute(
        text("SELECT to_regclass('in_app_item') IS NOT NULL")
    ).scalar_one()
    return found

"""Suppressions as operators handle them: found, listed, taken away again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, RowMapping, text

from domain.identifier import SUPPRESSION_PREFIX, public_id
from domain.send import Channel

_HASH = "hash:"


class UnknownSuppression(Exception):
    """The team has no suppression of this id; the message is one sentence."""


class SuppressionStays(Exception):
    """The suppression cannot be taken away like this; the message says how."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedSuppression:
    """A suppression as lists show it."""

    id: int
    channel: str
    address: str | None
    """None: it belongs to a person who was erased, and only a hash is left of it."""
    reason: str
    source: str
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class SuppressionFilter:
    """Which suppressions are wanted; None: all."""

    channel: Channel | None = None
    address: str | None = None
    """Normalised. Those that are left as hashes are found by it, too."""
    reason: str | None = None


_SELECT = (
    "SELECT x.id, x.channel, x.address, x.reason, x.source, x.created_at FROM suppression x"
    " WHERE x.team_id = :team"
)
_OF_ADDRESS = "x.address IN (:address, hashed_address(:address))"


def list_suppressions(
    connection: Connection,
    team_id: int,
    wanted: SuppressionFilter,
    *,
    before: int | None = None,
    limit: int = 50,
) -> list[ListedSuppression]:
    """Suppressions of the team, newest first; `before`: only those with a smaller id."""
    asked = {
        "x.id < :before": before,
        "x.channel = :channel": wanted.channel,
        _OF_ADDRESS: wanted.address,
        "x.reason = :reason": wanted.reason,
    }
    conditions = "".join(f" AND {said}" for said, value in asked.items() if value is not None)
    rows = connection.execute(
        text(f"{_SELECT}{conditions} ORDER BY x.id DESC LIMIT :limit"),
        {
            "team": team_id,
            "before": before,
            "channel": wanted.channel,
            "address": wanted.address,
            "reason": wanted.reason,
            "limit": limit,
        },
    )
    return [_listed(row) for row in rows.mappings()]


def find_suppression(
    connection: Connection, team_id: int, suppression_id: int
) -> ListedSuppression:
    """The suppression. Raises UnknownSuppression."""
    row = (
        connection.execute(
            text(_SELECT + " AND x.id = :id"), {"team": team_id, "id": suppression_id}
        )
        .mappings()
        .one_or_none()
    )
    if row is None:
        shown = public_id(SUPPRESSION_PREFIX, suppression_id)
        raise UnknownSuppression(f"There is no suppression {shown}.")
    return _listed(row)


def remove_suppression(connection: Connection, team_id: int, suppression_id: int) -> None:
    """Take it away: what goes to the address from now on goes. Raises UnknownSuppression.

    One of an erased person needs its address, which nobody knows but who was told it:
    SuppressionStays.
    """
    found = find_suppression(connection, team_id, suppression_id)
    if found.address is None:
        raise SuppressionStays(
            "It belongs to a person who was erased. Remove it by the address, if they want to be"
            " written to again."
        )
    connection.execute(text("DELETE FROM suppression WHERE id = :id"), {"id": suppression_id})


def unsuppress(
    connection: Connection, team_id: int, channel: Channel, address: str
) -> Sequence[int]:
    """Ids of the suppressions of the address (normalised) that were taken away, an erased person's
    too."""
    return (
        connection.execute(
            text(
                "DELETE FROM suppression x WHERE x.team_id = :team AND x.channel = :channel"  # noqa: S608  ours
                f" AND {_OF_ADDRESS} RETURNING x.id"
            ),
            {"team": team_id, "channel": channel, "address": address},
        )
        .scalars()
        .all()
    )


def _listed(row: RowMapping) -> ListedSuppression:
    is_hash = row["address"].startswith(_HASH)
    return ListedSuppression(**{**row, "address": None if is_hash else row["address"]})

"""Holds: stops on a scope, each with reason and author; several may stand at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Column, Connection, ForeignKey, Index, RowMapping, text
from sqlmodel import BigInteger, Field, SQLModel

from domain.identifier import HOLD_PREFIX, public_id
from domain.send import HoldScope
from models.columns import identity, moment, words


class Hold(SQLModel, table=True):
    """A stop that every claim asks for."""

    __table_args__ = (
        Index("hold_open", "scope", "scope_id", postgresql_where=text("released_at IS NULL")),
    )

    id: int = Field(sa_column=identity())
    team_id: int = Field(sa_column=Column(BigInteger, ForeignKey("team.id"), nullable=False))
    scope: str = Field(sa_column=words())
    scope_id: int = Field(sa_column=Column(BigInteger, nullable=False, server_default="0"))
    """Key of the send, topic, template, account or team; 0 for everything."""
    reason: str = Field(sa_column=words())
    author: str = Field(sa_column=words())
    created_at: datetime = Field(sa_column=moment(nullable=False, default_now=True))
    released_at: datetime | None = Field(sa_column=moment())


class UnknownHold(Exception):
    """No hold has this id; the message is one sentence."""


def place_hold(
    connection: Connection,
    team_id: int,
    *,
    scope: HoldScope,
    scope_id: int,
    reason: str,
    author: str,
) -> int:
    """Stop the scope: no claim under it is committed any more. The hold's id comes back."""
    made: int = connection.execute(
        text(
            "INSERT INTO hold (team_id, scope, scope_id, reason, author)"
            " VALUES (:team, :scope, :scope_id, :reason, :author) RETURNING id"
        ),
        {"team": team_id, "scope": scope, "scope_id": scope_id, "reason": reason, "author": author},
    ).scalar_one()
    return made


def release_holds(connection: Connection, *, scope: HoldScope, scope_id: int) -> int:
    """Release every open hold on the scope; how many there were."""
    return connection.execute(
        text(
            "UPDATE hold SET released_at = clock_timestamp()"
            " WHERE scope = :scope AND scope_id = :scope_id AND released_at IS NULL"
        ),
        {"scope": scope, "scope_id": scope_id},
    ).rowcount


@dataclass(frozen=True, slots=True, kw_only=True)
class StandingHold:
    """A hold as lists and use cases see it; one that was released is kept as a record."""

    id: int
    scope: HoldScope
    scope_id: int
    key: str
    """Key of the topic, template, account or team; empty for a send and for everything."""
    reason: str
    author: str
    created_at: datetime
    released_at: datetime | None


_SELECT = """
    SELECT h.id, h.scope, h.scope_id, h.reason, h.author, h.created_at, h.released_at,
           coalesce(CASE h.scope
               WHEN 'topic' THEN (SELECT key FROM topic WHERE id = h.scope_id)
               WHEN 'template' THEN (SELECT key FROM template WHERE id = h.scope_id)
               WHEN 'account' THEN (SELECT key FROM provider_account WHERE id = h.scope_id)
               WHEN 'team' THEN (SELECT key FROM team WHERE id = h.scope_id) END, '') AS key
    FROM hold h WHERE h.team_id = :team
"""


def list_holds(
    connection: Connection,
    team_id: int,
    *,
    with_released: bool = False,
    after: int = 0,
    limit: int | None = None,
) -> list[StandingHold]:
    """The holds that stand, oldest first; with the released ones where they are asked for.

    `after`: only those with a larger id.
    """
    some = "" if with_released else " AND h.released_at IS NULL"
    rows = connection.execute(
        text(_SELECT + some + " AND h.id > :after ORDER BY h.id LIMIT :limit"),
        {"team": team_id, "after": after, "limit": limit},
    )
    return [_hold(row) for row in rows.mappings()]


def find_hold(connection: Connection, team_id: int, hold_id: int) -> StandingHold:
    """The hold. Raises UnknownHold."""
    row = (
        connection.execute(text(_SELECT + " AND h.id = :id"), {"team": team_id, "id": hold_id})
        .mappings()
        .one_or_none()
    )
    if row is None:
        raise UnknownHold(
            f"There is no hold {public_id(HOLD_PREFIX, hold_id)}. See: carillon holds"
        )
    return _hold(row)


def release_hold(connection: Connection, team_id: int, hold_id: int) -> bool:
    """Whether this one hold was released; others on the same scope stand. False: it was before.

    Raises UnknownHold.
    """
    find_hold(connection, team_id, hold_id)
    released = connection.execute(
        text(
            "UPDATE hold SET released_at = clock_timestamp() WHERE id = :id AND released_at IS NULL"
        ),
        {"id": hold_id},
    )
    return released.rowcount > 0


def sends_under(connection: Connection, hold_id: int) -> Sequence[int]:
    """Ids of the sends under the hold that are started and not closed: whom to tell of its release."""
    return (
        connection.execute(
            text(
                "SELECT s.id FROM send s JOIN hold h ON h.id = :hold"  # noqa: S608  constants
                f" WHERE s.closed_at IS NULL AND s.started_at IS NOT NULL AND {HOLD_ON_SEND}"
                " ORDER BY s.id"
            ),
            {"hold": hold_id},
        )
        .scalars()
        .all()
    )


def _hold(row: RowMapping) -> StandingHold:
    return StandingHold(**{**row, "scope": HoldScope(row["scope"])})


def has_send(connection: Connection, team_id: int, send_id: int) -> bool:
    """Whether the team has a send of this id, of whatever kind."""
    found: bool = connection.execute(
        text("SELECT EXISTS (SELECT FROM send WHERE team_id = :team AND id = :send)"),
        {"team": team_id, "send": send_id},
    ).scalar_one()
    return found


HOLD_ON_SEND = """
    (h.scope = 'everything' OR (h.scope = 'team' AND h.scope_id = s.team_id)
     OR (h.scope = 'send' AND h.scope_id = s.id)
     OR (h.scope = 'topic' AND h.scope_id = s.topic_id)
     OR (h.scope = 'account' AND h.scope_id = s.account_id)
     OR (h.scope = 'template' AND h.scope_id = (
         SELECT template_id FROM template_version v WHERE v.id = s.template_version_id)))
"""
"""Whether hold h stops send s, whatever its scope."""


def open_holds(connection: Connection, send_id: int) -> list[str]:
    """What holds the send now: "scope: reason (author)" each."""
    rows = connection.execute(
        text(
            "SELECT h.scope, h.reason, h.author FROM hold h JOIN send s ON s.id = :send"  # noqa: S608  constants
            f" WHERE h.released_at IS NULL AND {HOLD_ON_SEND} ORDER BY h.id"
        ),
        {"send": send_id},
    )
    return [f"{row.scope}: {row.reason} ({row.author})" for row in rows]

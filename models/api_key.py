"""API keys: who may do what for which team. Of a key only a keyed hash is here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Boolean, Column, Connection, Float, ForeignKey, Index, text
from sqlalchemy.dialects.postgresql import ARRAY, TEXT
from sqlmodel import BigInteger, Field, SQLModel

from models.columns import identity, moment, words
from models.prepared import Prepared

USE_WRITTEN_EVERY = timedelta(minutes=1)


class ApiKey(SQLModel, table=True):
    """One key; rotated ones point to the key they take the place of."""

    __tablename__ = "api_key"
    __table_args__ = (Index("api_key_team", "team_id", "id"),)

    id: int = Field(sa_column=identity())
    team_id: int = Field(sa_column=Column(BigInteger, ForeignKey("team.id"), nullable=False))
    name: str = Field(sa_column=words())
    locator: str = Field(sa_column=Column(TEXT, nullable=False, unique=True))
    """The readable part, by which its row is found."""
    digest: str = Field(sa_column=words())
    scopes: list[str] = Field(sa_column=Column(ARRAY(TEXT), nullable=False))
    is_test: bool = Field(sa_column=Column(Boolean, nullable=False))
    rate: float | None = Field(sa_column=Column(Float))
    """Requests a second; null: the setting's."""
    rotated_from: int | None = Field(sa_column=Column(BigInteger, ForeignKey("api_key.id")))
    created_at: datetime = Field(sa_column=moment(nullable=False, default_now=True))
    expires_at: datetime | None = Field(sa_column=moment())
    revoked_at: datetime | None = Field(sa_column=moment())
    last_used_at: datetime | None = Field(sa_column=moment())


class UnknownKey(Exception):
    """No key of the team has this id; the message is one sentence."""


class KeyEnded(Exception):
    """The key is revoked or has expired; the message is one sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewKey:
    """A key to be stored."""

    team_id: int
    name: str
    locator: str
    digest: str
    scopes: Sequence[str]
    is_test: bool
    expires_at: datetime | None = None
    rate: float | None = None
    rotated_from: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyLine:
    """A key as lists show it."""

    id: int
    name: str
    locator: str
    scopes: list[str]
    is_test: bool
    rate: float | None
    rotated_from: int | None
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None
    is_good: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """Who holds a key that is good now."""

    key_id: int
    team_id: int
    digest: str
    scopes: frozenset[str]
    is_test: bool
    rate: float | None
    is_use_written: bool
    """Its last use was written within the last minute."""


_IS_GOOD = "(revoked_at IS NULL AND coalesce(expires_at, 'infinity') > clock_timestamp())"

_FIND = Prepared(
    "api_key_find",
    "SELECT id AS key_id, team_id, digest, scopes, is_test, rate,"
    " coalesce(last_used_at, '-infinity') > clock_timestamp() - CAST(:every AS interval)"
    "  AS is_use_written"
    " FROM api_key WHERE locator = :locator AND revoked_at IS NULL"
    " AND coalesce(expires_at, 'infinity') > clock_timestamp()",
)


def find_holder(connection: Connection, locator: str) -> Holder | None:
    """Whose key this is; None: there is none, or it has ended. Its digest is still to be compared."""
    row = (
        _FIND.run(connection, {"locator": locator, "every": USE_WRITTEN_EVERY})
        .mappings()
        .one_or_none()
    )
    return None if row is None else Holder(**{**row, "scopes": frozenset(row["scopes"])})


def note_use(connection: Connection, key_id: int) -> None:
    """Write that the key is used now, at most once a minute."""
    connection.execute(
        text(
            "UPDATE api_key SET last_used_at = clock_timestamp() WHERE id = :id"
            " AND coalesce(last_used_at, '-infinity') <= clock_timestamp() - CAST(:every AS interval)"
        ),
        {"id": key_id, "every": USE_WRITTEN_EVERY},
    )


def add_key(connection: Connection, new: NewKey) -> KeyLine:
    """Store a key; as lists show it."""
    made: int = connection.execute(
        text(
            "INSERT INTO api_key (team_id, name, locator, digest, scopes, is_test, expires_at, rate,"
            " rotated_from) VALUES (:team, :name, :locator, :digest, :scopes, :is_test, :expires_at,"
            " :rate, :rotated_from) RETURNING id"
        ),
        {
            "team": new.team_id,
            "name": new.name,
            "locator": new.locator,
            "digest": new.digest,
            "scopes": list(new.scopes),
            "is_test": new.is_test,
            "expires_at": new.expires_at,
            "rate": new.rate,
            "rotated_from": new.rotated_from,
        },
    ).scalar_one()
    return find_key(connection, new.team_id, made)


_LINES = f"""
    SELECT id, name, locator, scopes, is_test, rate, rotated_from, created_at, expires_at,
           revoked_at, last_used_at, {_IS_GOOD} AS is_good
    FROM api_key WHERE team_id = :team
"""  # noqa: S608  a constant of ours


def find_key(connection: Connection, team_id: int, key_id: int) -> KeyLine:
    """The key. Raises UnknownKey, also for one of another team."""
    row = (
        connection.execute(text(_LINES + " AND id = :id"), {"team": team_id, "id": key_id})
        .mappings()
        .one_or_none()
    )
    if row is None:
        raise UnknownKey("There is no API key with this id.")
    return _line(row)


def list_keys(
    connection: Connection, team_id: int, *, before: int | None = None, limit: int = 100
) -> list[KeyLine]:
    """Keys of the team, newest first, those with ids below `before`."""
    rows = connection.execute(
        text(_LINES + " AND id < coalesce(:before, 9223372036854775807) ORDER BY id DESC LIMIT :n"),
        {"team": team_id, "before": before, "n": limit},
    )
    return [_line(row) for row in rows.mappings()]


def end_key(connection: Connection, team_id: int, key_id: int, *, after: timedelta) -> KeyLine:
    """Let a good key expire after `after`, or when it would anyway; as lists show it then.

    Raises UnknownKey, KeyEnded.
    """
    _lock_good(connection, team_id, key_id)
    connection.execute(
        text(
            "UPDATE api_key SET expires_at = least(expires_at, clock_timestamp() + :after)"
            " WHERE id = :id"
        ),
        {"id": key_id, "after": after},
    )
    return find_key(connection, team_id, key_id)


def revoke_key(connection: Connection, team_id: int, key_id: int) -> KeyLine:
    """End the key now; one that has been revoked stays as it is. Raises UnknownKey."""
    find_key(connection, team_id, key_id)
    connection.execute(
        text(
            "UPDATE api_key SET revoked_at = coalesce(revoked_at, clock_timestamp()) WHERE id = :id"
        ),
        {"id": key_id},
    )
    return find_key(connection, team_id, key_id)


def _lock_good(connection: Connection, team_id: int, key_id: int) -> None:
    connection.execute(
        text("SELECT id FROM api_key WHERE id = :id AND team_id = :team FOR NO KEY UPDATE"),
        {"id": key_id, "team": team_id},
    )
    found = find_key(connection, team_id, key_id)
    if not found.is_good:
        raise KeyEnded(f"The API key '{found.name}' has ended already; make a new one.")


def _line(row: Any) -> KeyLine:
    return KeyLine(**row)

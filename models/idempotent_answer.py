"""Answers kept for idempotency keys: written in the transaction of their effect, so both or none."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Column, Connection, Index, Integer, Text, text
from sqlmodel import Field, SQLModel

from models.columns import big, moment, words

KEPT_FOR = timedelta(hours=24)


class IdempotentAnswer(SQLModel, table=True):
    """What one team's request to one route was answered."""

    __tablename__ = "idempotent_answer"
    __table_args__ = (Index("idempotent_answer_expires_at", "expires_at"),)

    team_id: int = Field(sa_column=big(primary_key=True))
    route: str = Field(sa_column=Column(Text, primary_key=True))
    key: str = Field(sa_column=Column(Text, primary_key=True))
    body_hash: str = Field(sa_column=words())
    status: int = Field(sa_column=Column(Integer, nullable=False))
    body: str = Field(sa_column=words())
    expires_at: datetime = Field(sa_column=moment(nullable=False))


class StillRunning(Exception):
    """The first request with this key has not been answered yet; the message is one sentence."""


class OtherRequest(Exception):
    """The key was used for another request; the message is one sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request with its idempotency key."""

    team_id: int
    route: str
    key: str
    body_hash: str


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptAnswer:
    """A status and a JSON document."""

    status: int
    body: str


def begin(connection: Connection, asked: Asked) -> KeptAnswer | None:
    """The answer that was kept; None: nobody has asked yet, and nobody else may until the caller's
    transaction ends. Raises StillRunning, OtherRequest.
    """
    is_mine = connection.execute(
        text("SELECT pg_try_advisory_xact_lock(hashtextextended(:name, 0))"),
        {"name": f"idempotency {asked.team_id} {asked.route} {asked.key}"},
    ).scalar_one()
    if not is_mine:
        raise StillRunning("The first request with this idempotency key is still being worked on.")
    # A statement of its own: its snapshot holds what the lock's last owner committed.
    row = connection.execute(
        text(
            "SELECT body_hash, status, body FROM idempotent_answer WHERE team_id = :team"
            " AND route = :route AND key = :key AND expires_at > clock_timestamp()"
        ),
        {"team": asked.team_id, "route": asked.route, "key": asked.key},
    ).one_or_none()
    if row is None:
        return None
    if row.body_hash != asked.body_hash:
        raise OtherRequest(
            "This idempotency key was used for another request; a new request needs a key of its own."
        )
    return KeptAnswer(status=row.status, body=row.body)


def keep(connection: Connection, asked: Asked, answer: KeptAnswer) -> None:
    """Keep the answer for 24 hours, from the commit of the caller's transaction on."""
    connection.execute(
        text(
            "INSERT INTO idempotent_answer (team_id, route, key, body_hash, status, body, expires_at)"
            " VALUES (:team, :route, :key, :hash, :status, :body, clock_timestamp() + :kept)"
            " ON CONFLICT (team_id, route, key) DO UPDATE SET body_hash = excluded.body_hash,"
            " status = excluded.status, body = excluded.body, expires_at = excluded.expires_at"
        ),
        {
            "team": asked.team_id,
            "route": asked.route,
            "key": asked.key,
            "hash": asked.body_hash,
            "status": answer.status,
            "body": answer.body,
            "kept": KEPT_FOR,
        },
    )


def forget_answers(connection: Connection) -> int:
    """Drop the answers whose time is over; how many."""
    return connection.execute(
        text("DELETE FROM idempotent_answer WHERE expires_at <= clock_timestamp()")
    ).rowcount

"""Confirmation mails that the public form asked for: what keeps it from flooding somebody."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, Index, text
from sqlmodel import Field, SQLModel

from models.columns import big, identity, moment, words

KEPT = timedelta(days=1)


class JoinRequest(SQLModel, table=True):
    """A confirmation mail that a form asked for. Hashes, so that a row tells nobody about people."""

    __tablename__ = "join_request"
    __table_args__ = (
        Index("join_request_of_address", "team_id", "address_hash", "created_at"),
        Index("join_request_of_caller", "team_id", "caller_hash", "created_at"),
        Index("join_request_by_age", "created_at"),
    )

    id: int = Field(sa_column=identity())
    team_id: int = Field(sa_column=big())
    address_hash: str = Field(sa_column=words())
    caller_hash: str = Field(sa_column=words())
    created_at: datetime = Field(sa_column=moment(nullable=False, default_now=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinLimits:
    """How many confirmation mails in 24 hours."""

    per_address: int
    per_caller: int


def count_join(
    connection: Connection, team_id: int, address_hash: str, caller_hash: str, limits: JoinLimits
) -> bool:
    """Whether one more mail may go to the address, asked for by this caller; it is counted then.

    Those who ask at once for the same address, or from the same place, wait for each other.
    """
    asked = {"team": team_id, "address": address_hash, "caller": caller_hash, "kept": KEPT}
    for locked in sorted((address_hash, caller_hash)):
        connection.execute(
            text("SELECT pg_advisory_xact_lock(hashtextextended(:locked, :team))"),
            {"locked": locked, "team": team_id},
        )
    connection.execute(
        text(
            "DELETE FROM join_request WHERE id IN (SELECT id FROM join_request"
            " WHERE created_at <= clock_timestamp() - :kept ORDER BY created_at LIMIT 1000"
            " FOR UPDATE SKIP LOCKED)"
        ),
        asked,
    )
    used = connection.execute(
        text(
            "SELECT (SELECT count(*) FROM join_request WHERE team_id = :team"
            "  AND address_hash = :address AND created_at > clock_timestamp() - :kept) AS address,"
            " (SELECT count(*) FROM join_request WHERE team_id = :team"
            "  AND caller_hash = :caller AND created_at > clock_timestamp() - :kept) AS caller"
        ),
        asked,
    ).one()
    if used.address >= limits.per_address or used.caller >= limits.per_caller:
        return False
    connection.execute(
        text(
            "INSERT INTO join_request (team_id, address_hash, caller_hash)"
            " VALUES (:team, :address, :caller)"
        ),
        asked,
    )
    return True

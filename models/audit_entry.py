"""What operators and keys did: appended in the transaction of the change, never altered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Column, Connection, ForeignKey, Index, bindparam, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import BigInteger, Field, SQLModel

from models.columns import identity, moment, words


class AuditEntry(SQLModel, table=True):
    """One change, by whom, to what. It holds no secret and no personal data."""

    __tablename__ = "audit_entry"
    __table_args__ = (Index("audit_entry_of_team", "team_id", "id"),)

    id: int = Field(sa_column=identity())
    team_id: int = Field(sa_column=Column(BigInteger, ForeignKey("team.id"), nullable=False))
    at: datetime = Field(sa_column=moment(nullable=False, default_now=True))
    actor: str = Field(sa_column=words())
    action: str = Field(sa_column=words())
    subject: str = Field(sa_column=words())
    details: dict[str, Any] = Field(sa_column=Column(JSONB, nullable=False, server_default="{}"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Audited:
    """An entry as lists see it."""

    id: int
    at: datetime
    actor: str
    action: str
    subject: str
    details: Mapping[str, Any]


_INSERT = text(
    "INSERT INTO audit_entry (team_id, actor, action, subject, details)"
    " VALUES (:team, :actor, :action, :subject, :details)"
).bindparams(bindparam("details", type_=JSONB))


def record_audit(
    connection: Connection, team_id: int, *, actor: str, action: str, subject: str, **details: Any
) -> None:
    """Append an entry, such as action `account.added` of the subject `sendgrid-two`."""
    connection.execute(
        _INSERT,
        {
            "team": team_id,
            "actor": actor,
            "action": action,
            "subject": subject,
            "details": details,
        },
    )


def audit_entries(
    connection: Connection, team_id: int, limit: int = 100, *, before: int | None = None
) -> list[Audited]:
    """The team's latest entries, newest first; `before`: only those with a smaller id."""
    some = "" if before is None else " AND id < :before"
    rows = connection.execute(
        text(
            "SELECT id, at, actor, action, subject, details FROM audit_entry"  # noqa: S608  constants
            f" WHERE team_id = :team{some} ORDER BY id DESC LIMIT :limit"
        ),
        {"team": team_id, "limit": limit, "before": before},
    )
    return [Audited(**row) for row in rows.mappings()]

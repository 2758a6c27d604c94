"""Batches: the fixed ranges of a send that one activity call works through, and their leases."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Column, Integer, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

from models.columns import big, moment, words


class Batch(SQLModel, table=True):
    """Ordinals lo..hi of a send. Written by the freeze, covers the send without overlap."""

    __table_args__ = ({"postgresql_partition_by": "RANGE (send_id)"},)

    send_id: int = Field(sa_column=big(primary_key=True))
    lo: int = Field(sa_column=Column(Integer, primary_key=True, autoincrement=False))
    hi: int = Field(sa_column=Column(Integer, nullable=False))
    shard: int = Field(sa_column=Column(Integer, nullable=False))
    recipient_lo: int = Field(sa_column=big())
    recipient_hi: int = Field(sa_column=big())
    epoch: int = Field(sa_column=Column(Integer, nullable=False, server_default="0"))
    """Raised by every take: a driver whose epoch is old may settle, never claim."""
    owner: str | None = Field(sa_column=words(nullable=True))
    lease_until: datetime | None = Field(sa_column=moment())
    resume_at: datetime | None = Field(sa_column=moment())
    counts: dict[str, int] = Field(
        sa_column=Column(JSONB, nullable=False, server_default=text("'{}'"))
    )
    """Messages by `domain.outcome.count_key`; moved in the transaction that moves the rows."""
    deferred: dict[str, int] = Field(
        sa_column=Column(JSONB, nullable=False, server_default=text("'{}'"))
    )
    """Whom the last pass left for later, by reason: a gauge beside the counts, no part of them."""

"""Messages: the intent for one recipient of a send. The freeze writes them."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Column, Integer, SmallInteger, UniqueConstraint
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

from models.columns import big


class Message(SQLModel, table=True):
    """(send, ordinal) → recipient. Partitioned by send id; no foreign keys: a check costs 3 µs a row."""

    __table_args__ = (
        # Also serves a recipient's history.
        UniqueConstraint("recipient_id", "send_id"),
        {"postgresql_partition_by": "RANGE (send_id)"},
    )

    send_id: int = Field(sa_column=big(primary_key=True))
    ordinal: int = Field(sa_column=Column(Integer, primary_key=True, autoincrement=False))
    recipient_id: int = Field(sa_column=big())
    variant: int = Field(sa_column=Column(SmallInteger, nullable=False, server_default="0"))
    variables: dict[str, Any] | None = Field(
        sa_column=Column(JSONB(none_as_null=True), nullable=True)
    )

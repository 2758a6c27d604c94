"""Sends: one decision to tell something to some people. Their state is the truth about them."""

from __future__ import annotations

from datetime import datetime, time, timedelta
from typing import Any

from sqlalchemy import (
    Boolean,
    Column,
    Float,
    Index,
    Integer,
    SmallInteger,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

from models.columns import big, duration, local_time, moment, time_of_day, words


class Send(SQLModel, table=True):
    """A campaign, a request for single messages; later a sequence step or a topic event.

    No foreign keys: their checks lock the rows that all sends share, with every insert.
    """

    __table_args__ = (
        UniqueConstraint("team_id", "idempotency_key"),
        # The reconciler and the lists of what runs read only what is not closed.
        Index("send_open", "state", postgresql_where=text("closed_at IS NULL")),
    )

    id: int = Field(sa_column=big(primary_key=True))
    """Time-ordered: milliseconds since 1970 shifted by 20 bits, then a sequence."""
    team_id: int = Field(sa_column=big())
    kind: str = Field(sa_column=words())
    name: str = Field(sa_column=words())
    message_class: str = Field(sa_column=words())
    channel: str = Field(sa_column=words())
    topic_id: int | None = Field(sa_column=big(nullable=True))
    """Null: a single message that belongs to none."""
    template_version_id: int = Field(sa_column=big())
    account_id: int | None = Field(sa_column=big(nullable=True))
    """Null: chosen for each single message when it goes."""
    priority: int = Field(sa_column=Column(SmallInteger, nullable=False, server_default="2"))
    plan: list[dict[str, Any]] = Field(
        sa_column=Column(JSONB, nullable=False, server_default=text("'[]'"))
    )
    """The channel plan of single messages, see `domain.plan`; a campaign has `channel` alone."""
    due_at: datetime | None = Field(sa_column=moment())
    """When it is to go; null: at once."""
    sender: dict[str, str] = Field(sa_column=Column(JSONB, nullable=False))
    """{"address", "name", "reply_to"}, resolved when the send was made."""
    variables: dict[str, Any] = Field(
        sa_column=Column(JSONB, nullable=False, server_default=text("'{}'"))
    )
    idempotency_key: str | None = Field(sa_column=words(nullable=True))
    request_hash: str | None = Field(sa_column=words(nullable=True))
    is_test: bool = Field(sa_column=Column(Boolean, nullable=False, server_default=text("false")))
    """Asked for by a test key: it goes through everything and ends at an account that only logs."""
    state: str = Field(sa_column=words())
    on_unknown: str = Field(sa_column=words())
    rate: float | None = Field(sa_column=Column(Float, nullable=True))
    """Messages a second; null: as fast as the account allows."""
    window_from: time | None = Field(sa_column=time_of_day())
    """It goes to each recipient between these times of their day; both or none."""
    window_until: time | None = Field(sa_column=time_of_day())
    local_at: datetime | None = Field(sa_column=local_time())
    """It goes to each recipient when it is that time where they are; null: at any time."""
    local_grace: timedelta | None = Field(sa_column=duration())
    """How long after that moment a message may begin to go; both or none."""
    round: int = Field(sa_column=Column(Integer, nullable=False, server_default="0"))
    """How often an operator had it resolved; each is a new round of what was left."""
    messages: int = Field(sa_column=Column(Integer, nullable=False, server_default="0"))
    excluded: dict[str, int] = Field(
        sa_column=Column(JSONB, nullable=False, server_default=text("'{}'"))
    )
    """Subscriptions of the topic that were not in the audience at the freeze, counted by reason."""
    created_at: datetime = Field(sa_column=moment(nullable=False, default_now=True))
    started_at: datetime | None = Field(sa_column=moment())
    expires_at: datetime = Field(sa_column=moment(nullable=False))
    frozen_at: datetime | None = Field(sa_column=moment())
    closed_at: datetime | None = Field(sa_column=moment())
    """Null as long as anything may still happen."""
    reconciled_at: datetime | None = Field(sa_column=moment())
    """When the reconciler last made sure that its workflow runs."""
    trace_parent: str | None = Field(sa_column=words(nullable=True))
    """The traceparent (W3C) of what asked for it; null where nobody traces."""

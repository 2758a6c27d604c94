"""Attempts: the messages handed to one account together under one claim. Never deleted: the evidence."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, Column, Index, Integer, SmallInteger, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlmodel import Field, SQLModel

from models.columns import big, moment, words


class Attempt(SQLModel, table=True):
    """One claim-call-settle cycle.

    `members` has one letter for each ordinal from `lo` on: '-' not a member, '?' claimed and not
    answered, 'a' accepted, 'r' rejected, 'u' unknown, 'x' released (certainly not accepted). It is
    both the list of members and the record of what was answered, and readable in psql.
    """

    __table_args__ = (
        # Open attempts of a batch: read by every take and by the close.
        Index("attempt_open", "send_id", "batch_lo", postgresql_where=text("state = 'claimed'")),
        Index("attempt_of_send", "send_id", "lo"),
        Index(
            "attempt_open_of_group",
            "group_id",
            postgresql_where=text("state = 'claimed' AND group_id IS NOT NULL"),
        ),
        # What a trace asks: the attempts that a single message was in.
        Index(
            "attempt_of_sends",
            "sends",
            postgresql_using="gin",
            postgresql_where=text("sends IS NOT NULL"),
        ),
        {"postgresql_partition_by": "RANGE (id)"},
    )

    id: int = Field(sa_column=big(primary_key=True))
    send_id: int | None = Field(sa_column=big(nullable=True))
    """Null: an attempt of a group."""
    group_id: int | None = Field(sa_column=big(nullable=True))
    sends: list[int] | None = Field(sa_column=Column(ARRAY(BigInteger), nullable=True))
    ordinals: list[int] | None = Field(sa_column=Column(ARRAY(Integer), nullable=True))
    """A group's members are (sends[i], ordinals[i]), and `members[i]` is the letter of each."""
    batch_lo: int = Field(sa_column=Column(Integer, nullable=False))
    step: int = Field(sa_column=Column(SmallInteger, nullable=False))
    account_id: int = Field(sa_column=big())
    lo: int = Field(sa_column=Column(Integer, nullable=False))
    members: str = Field(sa_column=words())
    state: str = Field(sa_column=words())
    epoch: int = Field(sa_column=Column(Integer, nullable=False))
    worker: str = Field(sa_column=words())
    claimed_at: datetime = Field(sa_column=moment(nullable=False, default_now=True))
    call_by: datetime = Field(sa_column=moment(nullable=False))
    answer_by: datetime = Field(sa_column=moment(nullable=False))
    ended_at: datetime | None = Field(sa_column=moment())
    answer_code: str | None = Field(sa_column=words(nullable=True))
    error: str | None = Field(sa_column=words(nullable=True))
    """The provider's last answer that was not an acceptance, in one sentence without addresses."""
    provider_message_id: str | None = Field(sa_column=words(nullable=True))
    """Of the whole request, where the provider gives one for it (SendGrid's X-Message-Id)."""
    answers: dict[str, dict[str, str]] | None = Field(
        sa_column=Column(JSONB(none_as_null=True), nullable=True)
    )
    """Of a group: what was answered about each member, by position: {"0": {"id", "code", "detail"}}."""

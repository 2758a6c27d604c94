"""Recipients and their contact points."""

from __future__ import annotations

from datetime import datetime, time
from typing import Any

from sqlalchemy import Column, ForeignKey, Index, SmallInteger, Text, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlmodel import BigInteger, Field, SQLModel

from domain.contact import ContactState
from models.columns import identity, moment, time_of_day, words


class Recipient(SQLModel, table=True):
    """Somebody we can tell something. Never deleted: tombstones `erased_at`, `merged_into`."""

    __table_args__ = (
        UniqueConstraint("team_id", "external_id"),
        # Who was merged into somebody: their history, and what an erasure must reach.
        Index("recipient_merged", "merged_into", postgresql_where=text("merged_into IS NOT NULL")),
        # Answers at once whether anybody of a team has quiet hours of their own.
        Index("recipient_quiet", "team_id", postgresql_where=text("quiet_from IS NOT NULL")),
    )

    id: int = Field(sa_column=identity())
    team_id: int = Field(sa_column=Column(BigInteger, ForeignKey("team.id"), nullable=False))
    external_id: str | None = Field(sa_column=words(nullable=True))
    first_name: str = Field(sa_column=words(default=""))
    last_name: str = Field(sa_column=words(default=""))
    locale: str | None = Field(sa_column=words(nullable=True))
    time_zone: str | None = Field(sa_column=words(nullable=True))
    quiet_from: time | None = Field(sa_column=time_of_day())
    """Quiet hours of the person's own, on the clocks of `time_zone`; both or none."""
    quiet_until: time | None = Field(sa_column=time_of_day())
    attributes: dict[str, Any] = Field(
        sa_column=Column(JSONB, nullable=False, server_default=text("'{}'"))
    )
    preferred_channels: list[str] = Field(
        sa_column=Column(ARRAY(Text), nullable=False, server_default=text("'{}'"))
    )
    """In the order of the person's liking; empty: nothing was said."""
    created_at: datetime = Field(sa_column=moment(nullable=False, default_now=True))
    updated_at: datetime = Field(sa_column=moment(nullable=False, default_now=True))
    erased_at: datetime | None = Field(sa_column=moment())
    merged_into: int | None = Field(sa_column=Column(BigInteger, nullable=True))
    """Who this person turned out to be; never somebody who is merged too (models/merge.py)."""


class ContactPoint(SQLModel, table=True):
    """One address of a recipient on a channel; `rank` 0 is the one that is used."""

    __tablename__ = "contact_point"
    __table_args__ = (
        UniqueConstraint("recipient_id", "channel", "rank"),
        # Finds a recipient by address: the import of people without an external id.
        Index("contact_point_address", "team_id", "channel", "address"),
    )

    id: int = Field(sa_column=identity())
    team_id: int = Field(sa_column=Column(BigInteger, ForeignKey("team.id"), nullable=False))
    recipient_id: int = Field(
        sa_column=Column(BigInteger, ForeignKey("recipient.id"), nullable=False)
    )
    channel: str = Field(sa_column=words())
    rank: int = Field(sa_column=Column(SmallInteger, nullable=False, server_default="0"))
    address: str = Field(sa_column=words())
    """Normalised: e-mail by email-validator and with its domain in lower case, phone as E.164."""
    state: str = Field(sa_column=words(default=ContactState.UNVERIFIED))
    verified_at: datetime | None = Field(sa_column=moment())
    registered_at: datetime = Field(sa_column=moment(nullable=False, default_now=True))
    """When it was last given to us: a vendor's "gone since" is believed only if it is later."""
    created_at: datetime = Field(sa_column=moment(nullable=False, default_now=True))

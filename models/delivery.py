"""Deliveries: what came of a message on one step, to one contact point; and the facts about them."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

from sqlalchemy import BigInteger, Column, Date, Identity, Index, Integer, SmallInteger, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

from models.columns import big, moment, words


class Delivery(SQLModel, table=True):
    """(send, ordinal, step, part) → outcome. At step 1 no row means owed.

    Neither outcome nor progress is indexed and the fill factor is 70, so updates stay on their page.
    """

    __table_args__ = ({"postgresql_partition_by": "RANGE (send_id)"},)

    send_id: int = Field(sa_column=big(primary_key=True))
    ordinal: int = Field(sa_column=Column(Integer, primary_key=True, autoincrement=False))
    step: int = Field(sa_column=Column(SmallInteger, primary_key=True, autoincrement=False))
    part: int = Field(sa_column=Column(SmallInteger, primary_key=True, autoincrement=False))
    outcome: int = Field(sa_column=Column(SmallInteger, nullable=False))
    progress: int = Field(sa_column=Column(SmallInteger, nullable=False, server_default="0"))
    reason: int = Field(sa_column=Column(SmallInteger, nullable=False, server_default="0"))
    tries: int = Field(sa_column=Column(SmallInteger, nullable=False, server_default="0"))
    """Attempts that ended without a certain answer."""
    attempt_id: int | None = Field(sa_column=big(nullable=True))
    """Whose answer made the outcome; null when no attempt did."""
    contact_point_id: int | None = Field(sa_column=big(nullable=True))
    accepted_at: datetime | None = Field(sa_column=moment())
    decide_at: datetime | None = Field(sa_column=moment())
    """When an unknown outcome is decided if no proof came before."""


class DeliveryEvent(SQLModel, table=True):
    """One fact about a delivery, append-only: superseded outcomes, duplicates, providers' events."""

    __tablename__ = "delivery_event"
    __table_args__ = (
        # A trace, and whether an event tells of a duplicate.
        Index("delivery_event_of_message", "send_id", "ordinal"),
        # What trip wires count: few, or the send is held.
        Index(
            "delivery_event_trouble",
            "send_id",
            "kind",
            "at",
            postgresql_where=text("kind IN ('hard_bounced', 'complained')"),
        ),
        # What a scrape counts: hardly any.
        Index(
            "delivery_event_duplicates",
            "occurred_on",
            postgresql_where=text("kind = 'confirmed_duplicate'"),
        ),
        {"postgresql_partition_by": "RANGE (occurred_on)"},
    )

    occurred_on: date = Field(sa_column=Column(Date, primary_key=True))
    id: int = Field(sa_column=Column(BigInteger, Identity(), primary_key=True))
    at: datetime = Field(sa_column=moment(nullable=False, default_now=True))
    send_id: int = Field(sa_column=big())
    ordinal: int = Field(sa_column=Column(Integer, nullable=False))
    step: int = Field(sa_column=Column(SmallInteger, nullable=False))
    part: int = Field(sa_column=Column(SmallInteger, nullable=False))
    kind: str = Field(sa_column=words())
    """superseded, confirmed_duplicate, redriven; or a provider's, `domain.event.EventKind`."""
    attempt_id: int | None = Field(sa_column=big(nullable=True))
    """Of what the ledger appends. A duplicate without one was told by events."""
    account_id: int | None = Field(sa_column=big(nullable=True))
    """Of a provider's event: whose; 0: our own, such as the reading of an in-app item."""
    provider_message_id: str | None = Field(sa_column=words(nullable=True))
    raw: dict[str, Any] = Field(sa_column=Column(JSONB, nullable=False))

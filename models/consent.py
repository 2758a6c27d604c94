"""The history of consent: every change of a subscription, written by a trigger on its table."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Index
from sqlmodel import Field, SQLModel

from models.columns import big, identity, moment, words


class ConsentEvent(SQLModel, table=True):
    """One change of a recipient's standing on a topic and channel. Never changed, never deleted.

    No foreign keys: a check costs 3 µs a row, and an import writes hundreds of thousands.
    """

    __tablename__ = "consent_event"
    __table_args__ = (Index("consent_event_of_recipient", "recipient_id", "id"),)

    id: int = Field(sa_column=identity())
    at: datetime = Field(sa_column=moment(nullable=False, default_now=True))
    recipient_id: int = Field(sa_column=big())
    topic_id: int = Field(sa_column=big())
    channel: str = Field(sa_column=words())
    from_state: str | None = Field(sa_column=words(nullable=True))
    """None: there was no subscription."""
    to_state: str = Field(sa_column=words())
    source: str = Field(sa_column=words())
    """Where the change came from: import, unsubscribe link, merge, erased, …"""

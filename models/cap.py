"""Frequency caps as operators keep them, and the tables in which their use is counted."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Column, Connection, DateTime, ForeignKey, Integer, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlmodel import BigInteger, Field, SQLModel

from domain.cap import Cap, Over, over_of
from models.columns import big, identity, moment, words


class FrequencyCap(SQLModel, table=True):
    """At most `most` messages to a person in a window, of those that its three scopes name."""

    __tablename__ = "cap"

    id: int = Field(sa_column=identity())
    team_id: int = Field(sa_column=Column(BigInteger, ForeignKey("team.id"), nullable=False))
    topic_id: int | None = Field(
        sa_column=Column(BigInteger, ForeignKey("topic.id"), nullable=True)
    )
    """Null in this and the next two: of whatever topic, class, channel, counted together."""
    message_class: str | None = Field(sa_column=words(nullable=True))
    channel: str | None = Field(sa_column=words(nullable=True))
    most: int = Field(sa_column=Column(Integer, nullable=False))
    hours: int | None = Field(sa_column=Column(Integer, nullable=True))
    """Null: on one calendar day where the recipient is."""
    over: str = Field(sa_column=words())
    """defer or skip; a topic may say otherwise of its own messages."""
    created_at: datetime = Field(sa_column=moment(nullable=False, default_now=True))


class CapCount(SQLModel, table=True):
    """How often a person was told under a cap in one window. No foreign keys: a check costs 3 µs."""

    __tablename__ = "cap_count"

    recipient_id: int = Field(sa_column=big(primary_key=True))
    cap_id: int = Field(sa_column=big(primary_key=True))
    window_key: str = Field(sa_column=Column("window_key", words().type, primary_key=True))
    """`Cap.key`: the recipient's local day, or the one count of a cap of rolling hours."""
    used: int = Field(sa_column=Column(Integer, nullable=False))
    used_at: list[datetime] = Field(
        sa_column=Column(ARRAY(DateTime(timezone=True)), nullable=False, server_default="{}")
    )
    """Of a cap of rolling hours: when each was; those that count no more go with the next."""


class CapUse(SQLModel, table=True):
    """A message that is counted under a cap. So it is counted once, and can be handed back."""

    __tablename__ = "cap_use"
    __table_args__ = ({"postgresql_partition_by": "RANGE (send_id)"},)

    send_id: int = Field(sa_column=big(primary_key=True))
    ordinal: int = Field(sa_column=Column(Integer, primary_key=True, autoincrement=False))
    cap_id: int = Field(sa_column=big(primary_key=True))
    recipient_id: int = Field(sa_column=big())
    window_key: str = Field(sa_column=words())
    used_at: datetime = Field(sa_column=moment(nullable=False))


class UnknownCap(Exception):
    """No cap has this number; the message is one sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewCap:
    """What `cap add` has checked. None in a scope: all of them, counted together."""

    team_id: int
    topic_id: int | None
    message_class: str | None
    channel: str | None
    most: int
    hours: int | None
    over: Over


@dataclass(frozen=True, slots=True, kw_only=True)
class CapSummary:
    """A cap as lists show it."""

    id: int
    topic: str | None
    message_class: str | None
    channel: str | None
    most: int
    hours: int | None
    over: str

    @property
    def per(self) -> str:
        """As `cap add --per` reads it."""
        return "day" if self.hours is None else f"{self.hours}h"


def add_cap(connection: Connection, new: NewCap) -> int:
    """Number of the new cap; claims obey it from the next pass over a batch on."""
    made: int = connection.execute(
        text(
            "INSERT INTO cap (team_id, topic_id, message_class, channel, most, hours, over)"
            " VALUES (:team, :topic, :message_class, :channel, :most, :hours, :over) RETURNING id"
        ),
        {
            "team": new.team_id,
            "topic": new.topic_id,
            "message_class": new.message_class,
            "channel": new.channel,
            "most": new.most,
            "hours": new.hours,
            "over": new.over,
        },
    ).scalar_one()
    return made


def list_caps(connection: Connection, team_id: int) -> list[CapSummary]:
    """All caps of the team, oldest first."""
    rows = connection.execute(
        text(
            "SELECT c.id, t.key AS topic, c.message_class, c.channel, c.most, c.hours, c.over"
            " FROM cap c LEFT JOIN topic t ON t.id = c.topic_id WHERE c.team_id = :team ORDER BY c.id"
        ),
        {"team": team_id},
    ).mappings()
    return [CapSummary(**row) for row in rows]


def remove_cap(connection: Connection, team_id: int, cap_id: int) -> None:
    """End the cap and forget what was counted under it. Raises UnknownCap."""
    removed = connection.execute(
        text("DELETE FROM cap WHERE id = :cap AND team_id = :team"),
        {"cap": cap_id, "team": team_id},
    )
    if removed.rowcount == 0:
        raise UnknownCap(f"There is no cap {cap_id}. See: carillon cap list")
    connection.execute(text("DELETE FROM cap_count WHERE cap_id = :cap"), {"cap": cap_id})


def caps_sql(team: str, topic: str, message_class: str, channel: str) -> str:
    """A subquery with the caps that hold for such a message as JSON; the arguments are SQL expressions."""
    return (
        "(SELECT coalesce(jsonb_agg(jsonb_build_object('id', x.id, 'most', x.most, 'hours', x.hours,"  # noqa: S608  expressions of ours
        f" 'over', x.over, 'topic_over', (SELECT over_cap FROM topic WHERE id = {topic}))"
        f" ORDER BY x.id), '[]') FROM cap x WHERE x.team_id = {team}"
        f" AND (x.topic_id IS NULL OR x.topic_id = {topic})"
        f" AND (x.message_class IS NULL OR x.message_class = {message_class})"
        f" AND (x.channel IS NULL OR x.channel = {channel}))"
    )


def caps_from(found: list[dict[str, Any]]) -> tuple[Cap, ...]:
    """What `caps_sql` gave, in the order in which they are taken."""
    return tuple(
        Cap(
            id=cap["id"],
            most=cap["most"],
            hours=cap["hours"],
            over=over_of(Over(cap["over"]), Over(cap["topic_over"]) if cap["topic_over"] else None),
        )
        for cap in found
    )


def caps_on(
    connection: Connection, *, team_id: int, topic_id: int | None, message_class: str, channel: str
) -> tuple[Cap, ...]:
    """The caps that hold for such a message, in the order in which they are taken."""
    found = connection.execute(
        text("SELECT " + caps_sql(":team", "CAST(:topic AS bigint)", ":message_class", ":channel")),
        {
            "team": team_id,
            "topic": topic_id,
            "message_class": message_class,
            "channel": channel,
        },
    ).scalar_one()
    return caps_from(found)

"""Events that services raise for those who joined a topic.

One transaction writes the event, the messages of those who are told at once with their outbox rows,
and the digest items of all others; each by one statement, whatever the number of members.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import orjson
from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    ForeignKey,
    Index,
    Integer,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

from domain.digest import Cadence
from domain.identifier import EVENT_PREFIX, SEND_PREFIX, public_id
from domain.plan import Step
from domain.send import (
    Channel,
    MessageClass,
    OnUnknown,
    Priority,
    SendKind,
    SendState,
    SubscriptionState,
)
from models.columns import big, identity, moment, words

SMALL_AUDIENCE = 1000
"""An event to more than so many goes with priority low: single messages do not wait behind it."""


class TopicEvent(SQLModel, table=True):
    """What a service raised. The same key again is the same event."""

    __tablename__ = "topic_event"
    __table_args__ = (
        UniqueConstraint("team_id", "topic_id", "key"),
        Index("topic_event_of_send", "send_id", postgresql_where=text("send_id IS NOT NULL")),
    )

    id: int = Field(sa_column=identity())
    team_id: int = Field(sa_column=big())
    topic_id: int = Field(sa_column=Column(BigInteger, ForeignKey("topic.id"), nullable=False))
    key: str = Field(sa_column=words())
    data_hash: str = Field(sa_column=words())
    data: dict[str, Any] = Field(sa_column=Column(JSONB, nullable=False))
    """Emptied by erasure, like the variables of its send."""
    send_id: int | None = Field(sa_column=big(nullable=True))
    """Null: nobody was to be told at once."""
    messages: int = Field(sa_column=Column(Integer, nullable=False, server_default="0"))
    digest_items: int = Field(sa_column=Column(Integer, nullable=False, server_default="0"))
    joined: int = Field(sa_column=Column(Integer, nullable=False, server_default="0"))
    """How many recipients its rules made members of other topics."""
    created_at: datetime = Field(sa_column=moment(nullable=False, default_now=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """A committed event."""

    event_id: int
    send_id: int | None
    """The send that tells those who are told at once; None: there is nobody."""
    messages: int
    """Members who are told at once."""
    digest_items: int
    """Members who find it in their next digest."""
    joined: int = 0
    is_repeat: bool = False
    """The same event was raised before; nothing was written now."""

    @property
    def public_id(self) -> str:
        """Its id outside."""
        return public_id(EVENT_PREFIX, self.event_id)

    def as_json(self) -> dict[str, Any]:
        """As commands and the API show it."""
        return {
            "id": self.public_id,
            "send": None if self.send_id is None else public_id(SEND_PREFIX, self.send_id),
            "messages": self.messages,
            "digest_items": self.digest_items,
            "joined": self.joined,
            "is_repeat": self.is_repeat,
        }


class UnknownEvent(Exception):
    """No event of the team has this id; the message is one sentence."""


class EventKeyReused(Exception):
    """The key belongs to another event of the topic; the message is one sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewEvent:
    """An event that has been checked."""

    team_id: int
    topic_id: int
    topic: str
    key: str
    data: Mapping[str, Any]
    data_hash: str
    is_test: bool = False
    """Those who are told at once are told by accounts that only log; digests do not hold it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EventSend:
    """How those are told who are told at once."""

    name: str
    message_class: MessageClass
    priority: Priority
    plan: Sequence[Step]
    template_version_id: int
    sender: Mapping[str, str]
    on_unknown: OnUnknown
    expires_after: timedelta
    trace_parent: str | None = None
    """The traceparent (W3C) of what raised it."""


def insert_event(connection: Connection, new: NewEvent) -> int | Event:
    """Id of the event, which is new; or the event that was raised with this key before.

    Of two that raise it at once the later one waits for the first. Raises EventKeyReused.
    """
    made: int | None = connection.execute(
        text(
            "INSERT INTO topic_event (team_id, topic_id, key, data_hash, data)"
            " VALUES (:team, :topic, :key, :hash, CAST(:data AS jsonb))"
            " ON CONFLICT (team_id, topic_id, key) DO NOTHING RETURNING id"
        ),
        {
            "team": new.team_id,
            "topic": new.topic_id,
            "key": new.key,
            "hash": new.data_hash,
            "data": orjson.dumps(dict(new.data)).decode(),
        },
    ).scalar()
    if made is not None:
        return made
    before = find_event(connection, new)
    assert before is not None  # noqa: S101  it is what the insert met
    return before


def find_event(connection: Connection, new: NewEvent) -> Event | None:
    """The event that was raised with this key before; None: there is none. Raises EventKeyReused."""
    row = connection.execute(
        text(
            "SELECT id, data_hash, send_id, messages, digest_items, joined FROM topic_event"
            " WHERE team_id = :team AND topic_id = :topic AND key = :key"
        ),
        {"team": new.team_id, "topic": new.topic_id, "key": new.key},
    ).one_or_none()
    if row is None:
        return None
    if row.data_hash != new.data_hash:
        raise EventKeyReused(
            f"The key '{new.key}' was used for another event of '{new.topic}'"
            f" ({public_id(EVENT_PREFIX, row.id)}); a new event needs a key of its own."
        )
    return Event(
        event_id=row.id,
        send_id=row.send_id,
        messages=row.messages,
        digest_items=row.digest_items,
        joined=row.joined,
        is_repeat=True,
    )


_NEW_ID = "key_at(clock_timestamp()) | (nextval('send_number') % 1048576)"

# Who takes the topic as a digest gets it as a digest alone, whatever else the plan would reach.
_TELL_NOW = text(
    f"""
    WITH audience AS MATERIALIZED (
        SELECT s.recipient_id, row_number() OVER (ORDER BY s.recipient_id) AS ordinal,
               (array_agg(s.details ORDER BY array_position(CAST(:channels AS text[]), s.channel))
                FILTER (WHERE s.channel = ANY(:channels)))[1] AS details
        FROM subscription s
        WHERE s.topic_id = :topic AND s.channel = ANY(:asked) AND s.state = :subscribed
        GROUP BY s.recipient_id
        HAVING bool_or(s.channel = ANY(:channels)) AND bool_and(s.cadence = :immediate)),
    size AS (SELECT count(*) AS n FROM audience),
    urgency AS (
        SELECT n, CASE WHEN n > :small THEN greatest(:priority, :low) ELSE :priority END AS priority
        FROM size WHERE n > 0),
    made AS (
        INSERT INTO send (id, team_id, kind, name, message_class, channel, topic_id, priority, plan,
            template_version_id, sender, variables, state, on_unknown, is_test, messages,
            trace_parent, started_at, frozen_at, expires_at)
        SELECT {_NEW_ID}, :team, :kind, :name, :message_class, :channel, :topic, priority,
            CAST(:plan AS jsonb), :version, CAST(:sender AS jsonb), CAST(:data AS jsonb), :state,
            :on_unknown, :is_test, n, :trace_parent, clock_timestamp(), clock_timestamp(),
            clock_timestamp() + :expires_after
        FROM urgency RETURNING id, messages, priority),
    said AS (
        INSERT INTO message (send_id, ordinal, recipient_id, variables)
        SELECT made.id, a.ordinal, a.recipient_id, jsonb_build_object('member', a.details)
        FROM made, audience a),
    owed AS (
        INSERT INTO outbox (send_id, ordinal, priority, channel)
        SELECT made.id, a.ordinal, made.priority, :channel FROM made, audience a ORDER BY a.ordinal)
    SELECT made.id, made.messages FROM made
    """  # noqa: S608  only constants of ours are put in
)


def tell_now(connection: Connection, new: NewEvent, how: EventSend) -> tuple[int | None, int]:
    """The send to all members who are told at once, and how many they are; None: nobody is.

    The event's data is the send's variables; `member` of each message is the membership's own data.
    """
    channels = list(dict.fromkeys(step.channel for step in how.plan))
    row = connection.execute(
        _TELL_NOW,
        {
            "channels": channels,
            "asked": sorted({*channels, Channel.EMAIL}),
            "subscribed": SubscriptionState.SUBSCRIBED,
            "immediate": Cadence.IMMEDIATE,
            "small": SMALL_AUDIENCE,
            "low": int(Priority.LOW),
            "priority": int(how.priority),
            "team": new.team_id,
            "topic": new.topic_id,
            "kind": SendKind.REQUEST,
            "name": how.name,
            "message_class": how.message_class,
            "channel": how.plan[0].channel,
            "plan": orjson.dumps([step.as_json() for step in how.plan]).decode(),
            "version": how.template_version_id,
            "sender": orjson.dumps(dict(how.sender)).decode(),
            "data": orjson.dumps(dict(new.data)).decode(),
            "state": SendState.RUNNING,
            "on_unknown": how.on_unknown,
            "is_test": new.is_test,
            "expires_after": how.expires_after,
            "trace_parent": how.trace_parent,
        },
    ).one_or_none()
    return (None, 0) if row is None else (row.id, row.messages)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredEvent:
    """An event that was raised, with what came of it."""

    event_id: int
    topic: str
    key: str
    data: dict[str, Any]
    send_id: int | None
    messages: int
    digest_items: int
    joined: int
    created_at: datetime


def read_event(connection: Connection, team_id: int, event_id: int) -> StoredEvent:
    """The team's event of this id. Raises UnknownEvent."""
    row = (
        connection.execute(
            text(
                "SELECT e.id AS event_id, t.key AS topic, e.key, e.data, e.send_id, e.messages,"
                " e.digest_items, e.joined, e.created_at FROM topic_event e"
                " JOIN topic t ON t.id = e.topic_id WHERE e.id = :id AND e.team_id = :team"
            ),
            {"id": event_id, "team": team_id},
        )
        .mappings()
        .one_or_none()
    )
    if row is None:
        raise UnknownEvent(f"There is no event {public_id(EVENT_PREFIX, event_id)}.")
    return StoredEvent(**row)


def count_digest_members(connection: Connection, topic: int) -> dict[Cadence, int]:
    """How many members take the topic as a digest, by cadence; those that nobody takes are missing."""
    rows = connection.execute(
        text(
            "SELECT cadence, count(*) AS n FROM subscription WHERE topic_id = :topic"
            " AND channel = :email AND state = :subscribed AND cadence <> :immediate"
            " GROUP BY cadence"
        ),
        {
            "topic": topic,
            "email": Channel.EMAIL,
            "subscribed": SubscriptionState.SUBSCRIBED,
            "immediate": Cadence.IMMEDIATE,
        },
    )
    return {Cadence(row.cadence): row.n for row in rows}


def add_digest_items(
    connection: Connection, new: NewEvent, event_id: int, cadence: Cadence, period_id: int
) -> int:
    """How many members will find the event in their digest of this period."""
    return connection.execute(
        text(
            "INSERT INTO digest_item (period_id, recipient_id, event_id, member)"
            " SELECT :period, recipient_id, :event, details FROM subscription"
            " WHERE topic_id = :topic AND channel = :email AND state = :subscribed"
            " AND cadence = :cadence"
        ),
        {
            "period": period_id,
            "event": event_id,
            "topic": new.topic_id,
            "email": Channel.EMAIL,
            "subscribed": SubscriptionState.SUBSCRIBED,
            "cadence": cadence,
        },
    ).rowcount


def finish_event(connection: Connection, event: Event) -> None:
    """Write down what came of the event."""
    connection.execute(
        text(
            "UPDATE topic_event SET send_id = :send, messages = :messages,"
            " digest_items = :items, joined = :joined WHERE id = :id"
        ),
        {
            "id": event.event_id,
            "send": event.send_id,
            "messages": event.messages,
            "items": event.digest_items,
            "joined": event.joined,
        },
    )

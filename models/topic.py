"""Topics, and who is subscribed to them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Column,
    Connection,
    ForeignKey,
    Index,
    Row,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import BigInteger, Field, SQLModel

from domain.cap import Over
from domain.digest import Cadence
from domain.plan import Step, plan_from_json
from domain.send import Channel, MessageClass, OptIn, SubscriptionState
from models.columns import identity, moment, words


class Topic(SQLModel, table=True):
    """What one may join and leave."""

    __table_args__ = (UniqueConstraint("team_id", "key"),)

    id: int = Field(sa_column=identity())
    team_id: int = Field(sa_column=Column(BigInteger, ForeignKey("team.id"), nullable=False))
    key: str = Field(sa_column=words())
    name: str = Field(sa_column=words())
    opt_in: str = Field(sa_column=words(default="explicit"))
    """implied, explicit or double."""
    over_cap: str | None = Field(sa_column=words(nullable=True))
    """defer or skip: what becomes of a message over a cap; null: what the cap says."""
    template: str | None = Field(sa_column=words(nullable=True))
    """KEY or KEY@N: what an event sends; null: the topic is for campaigns alone."""
    message_class: str = Field(sa_column=words(default="marketing"))
    plan: list[dict[str, Any]] = Field(
        sa_column=Column(JSONB, nullable=False, server_default=text("'[]'"))
    )
    """The channel plan of its events; empty: the template's one channel."""
    cadence: str = Field(sa_column=words(default="immediate"))
    """Of members who said nothing else when they joined by e-mail."""
    has_form: bool = Field(sa_column=Column(Boolean, nullable=False, server_default=text("false")))
    """Whether anybody may ask to join on the public page."""
    created_at: datetime = Field(sa_column=moment(nullable=False, default_now=True))


class Subscription(SQLModel, table=True):
    """Consent of a recipient to a topic on a channel. Keyed by topic first: the freeze reads a range."""

    __table_args__ = (
        Index("subscription_recipient", "recipient_id"),
        CheckConstraint(
            "cadence = 'immediate' OR channel = 'email'", name="subscription_digests_go_by_email"
        ),
    )

    topic_id: int = Field(
        sa_column=Column(BigInteger, ForeignKey("topic.id"), primary_key=True, autoincrement=False)
    )
    channel: str = Field(sa_column=Column("channel", words().type, primary_key=True))
    recipient_id: int = Field(
        sa_column=Column(
            BigInteger, ForeignKey("recipient.id"), primary_key=True, autoincrement=False
        )
    )
    state: str = Field(sa_column=words())
    source: str = Field(sa_column=words())
    """Where the consent or its end came from: import, unsubscribe link, …"""
    changed_at: datetime = Field(sa_column=moment(nullable=False, default_now=True))
    cadence: str = Field(sa_column=words(default="immediate"))
    details: dict[str, Any] = Field(
        sa_column=Column(JSONB, nullable=False, server_default=text("'{}'"))
    )


class UnknownTopic(Exception):
    """No topic has this key; the message is one sentence."""


def add_topic(connection: Connection, team_id: int, key: str, name: str, opt_in: str) -> int:
    """Id of the topic `key`, made or renamed."""
    made: int = connection.execute(
        text(
            "INSERT INTO topic (team_id, key, name, opt_in) VALUES (:team, :key, :name, :opt_in)"
            " ON CONFLICT (team_id, key) DO UPDATE SET name = excluded.name RETURNING id"
        ),
        {"team": team_id, "key": key, "name": name, "opt_in": opt_in},
    ).scalar_one()
    return made


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicSettings:
    """Everything that a topic is."""

    key: str
    name: str
    opt_in: OptIn = OptIn.EXPLICIT
    template: str | None = None
    message_class: MessageClass = MessageClass.MARKETING
    plan: tuple[Step, ...] = ()
    cadence: Cadence = Cadence.IMMEDIATE
    has_form: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredTopic:
    """A topic that there is."""

    id: int
    settings: TopicSettings
    over_cap: Over | None
    """None: as each cap says."""


def set_topic(connection: Connection, team_id: int, wanted: TopicSettings) -> bool:
    """Whether the topic is new; one that was there is now as wanted. Its members stay."""
    made: bool = connection.execute(
        text(
            "INSERT INTO topic (team_id, key, name, opt_in, template, message_class, plan, cadence,"
            " has_form) VALUES (:team, :key, :name, :opt_in, :template, :message_class,"
            " CAST(:plan AS jsonb), :cadence, :has_form)"
            " ON CONFLICT (team_id, key) DO UPDATE SET name = excluded.name,"
            " opt_in = excluded.opt_in, template = excluded.template, plan = excluded.plan,"
            " message_class = excluded.message_class, cadence = excluded.cadence,"
            " has_form = excluded.has_form RETURNING xmax = 0"
        ),
        {
            "team": team_id,
            "key": wanted.key,
            "name": wanted.name,
            "opt_in": wanted.opt_in,
            "template": wanted.template,
            "message_class": wanted.message_class,
            "plan": orjson.dumps([step.as_json() for step in wanted.plan]).decode(),
            "cadence": wanted.cadence,
            "has_form": wanted.has_form,
        },
    ).scalar_one()
    return made


def find_topic(connection: Connection, team_id: int, key: str) -> StoredTopic:
    """The topic `key`. Raises UnknownTopic."""
    row = connection.execute(
        text(_STORED + " WHERE id = :id"), {"id": topic_id(connection, team_id, key)}
    ).one()
    return _stored(row)


def list_stored_topics(
    connection: Connection, team_id: int, *, after: int, most: int
) -> list[StoredTopic]:
    """Up to `most` topics of the team behind the topic `after`, oldest first."""
    rows = connection.execute(
        text(_STORED + " WHERE team_id = :team AND id > :after ORDER BY id LIMIT :most"),
        {"team": team_id, "after": after, "most": most},
    )
    return [_stored(row) for row in rows]


_STORED = (
    "SELECT id, key, name, opt_in, template, message_class, plan, cadence, has_form, over_cap"
    " FROM topic"
)


def _stored(row: Row[Any]) -> StoredTopic:
    return StoredTopic(
        id=row.id,
        over_cap=None if row.over_cap is None else Over(row.over_cap),
        settings=TopicSettings(
            key=row.key,
            name=row.name,
            opt_in=OptIn(row.opt_in),
            template=row.template,
            message_class=MessageClass(row.message_class),
            plan=plan_from_json(row.plan),
            cadence=Cadence(row.cadence),
            has_form=row.has_form,
        ),
    )


def topic_id(connection: Connection, team_id: int, key: str) -> int:
    """Id of the topic `key`. Raises UnknownTopic."""
    found: int | None = connection.execute(
        text("SELECT id FROM topic WHERE team_id = :team AND key = :key"),
        {
            "team": team_id,
            "key": key.replace("\0", "?"),
        },  # which no key has, and PostgreSQL no text
    ).scalar()
    if found is None:
        raise UnknownTopic(
            f"There is no topic '{key}'. Make it with: carillon topic create {key} --name NAME"
        )
    return found


def set_over_cap(connection: Connection, topic: int, over: Over | None) -> None:
    """What becomes of the topic's messages over any cap from the next claim on; None: as each says."""
    connection.execute(
        text("UPDATE topic SET over_cap = :over WHERE id = :topic"), {"over": over, "topic": topic}
    )


def count_subscribed(connection: Connection, topic: int, channel: Channel) -> int:
    """How many recipients are subscribed to the topic on the channel now."""
    counted: int = connection.execute(
        text(
            "SELECT count(*) FROM subscription"
            " WHERE topic_id = :topic AND channel = :channel AND state = :state"
        ),
        {"topic": topic, "channel": channel, "state": SubscriptionState.SUBSCRIBED},
    ).scalar_one()
    return counted


@dataclass(frozen=True, slots=True, kw_only=True)
class Joining:
    """What somebody who joins says of it."""

    cadence: Cadence | None = None
    """None: the topic's, or as it was."""
    details: Mapping[str, Any] | None = None
    """The membership's own data, `member` in templates; None: none, or as it was."""
    state: SubscriptionState | None = None
    """None: pending where the topic asks for double opt-in, else subscribed."""


AS_THE_TOPIC_SAYS = Joining()


def join_topic(
    connection: Connection,
    *,
    topic: int,
    recipient_id: int,
    channel: Channel,
    source: str,
    how: Joining = AS_THE_TOPIC_SAYS,
) -> SubscriptionState:
    """Subscribe the recipient, also one who had left; how they stand now.

    Where the topic asks for double opt-in they are pending until they confirm. Who is subscribed
    already stays so, with the new cadence and data if such are given; a wish to be pending changes
    nothing of theirs.
    """
    values = {
        "topic": topic,
        "recipient": recipient_id,
        "channel": channel,
        "source": source,
        "cadence": how.cadence,
        "details": None if how.details is None else orjson.dumps(dict(how.details)).decode(),
        "asked": how.state,
        "email": Channel.EMAIL,
        "immediate": Cadence.IMMEDIATE,
        **{state.value: state for state in SubscriptionState},
    }
    connection.execute(
        text(
            "INSERT INTO subscription (topic_id, channel, recipient_id, state, source, cadence, details)"
            " SELECT id, :channel, :recipient, coalesce(:asked,"
            "  CASE WHEN opt_in = 'double' THEN :pending ELSE :subscribed END), :source,"
            " coalesce(:cadence, CASE WHEN :channel = :email THEN cadence ELSE :immediate END),"
            " coalesce(CAST(:details AS jsonb), '{}') FROM topic WHERE id = :topic"
            " ON CONFLICT (topic_id, channel, recipient_id) DO UPDATE"
            " SET state = excluded.state, source = excluded.source, changed_at = now(),"
            " cadence = coalesce(:cadence, subscription.cadence),"
            " details = coalesce(CAST(:details AS jsonb), subscription.details)"
            " WHERE subscription.state = :left"
            " OR (subscription.state = :pending AND excluded.state = :subscribed)"
        ),
        values,
    )
    if how.state is not SubscriptionState.PENDING:
        connection.execute(_CHANGE_MEMBERSHIP, values)
    state = connection.execute(
        text(
            "SELECT state FROM subscription WHERE topic_id = :topic AND channel = :channel"
            " AND recipient_id = :recipient"
        ),
        values,
    ).scalar_one()
    return SubscriptionState(state)


_CHANGE_MEMBERSHIP = text(
    "UPDATE subscription SET cadence = coalesce(:cadence, cadence),"
    " details = coalesce(CAST(:details AS jsonb), details)"
    " WHERE topic_id = :topic AND channel = :channel AND recipient_id = :recipient"
    " AND state <> :left AND (cadence <> coalesce(:cadence, cadence)"
    "  OR details <> coalesce(CAST(:details AS jsonb), details))"
)


def change_membership(
    connection: Connection, *, topic: int, recipient_id: int, channel: Channel, how: Joining
) -> None:
    """Give a member, if there is one, the new cadence and data; the state stays."""
    connection.execute(
        _CHANGE_MEMBERSHIP,
        {
            "cadence": how.cadence,
            "details": None if how.details is None else orjson.dumps(dict(how.details)).decode(),
            "topic": topic,
            "channel": channel,
            "recipient": recipient_id,
            "left": SubscriptionState.LEFT,
        },
    )


def set_cadence(connection: Connection, *, topic: int, recipient_id: int, cadence: Cadence) -> bool:
    """Whether the recipient is a member by e-mail, who is now told that often."""
    changed = connection.execute(
        text(
            "UPDATE subscription SET cadence = :cadence WHERE topic_id = :topic"
            " AND channel = :email AND recipient_id = :recipient AND state <> :left"
        ),
        {
            "cadence": cadence,
            "topic": topic,
            "email": Channel.EMAIL,
            "recipient": recipient_id,
            "left": SubscriptionState.LEFT,
        },
    )
    return changed.rowcount > 0


def leave_topic(
    connection: Connection, *, topic: int, recipient_id: int, channel: Channel, source: str
) -> bool:
    """Whether a subscription was ended; one who has left already, or never joined, stays so."""
    ended = connection.execute(
        text(
            "UPDATE subscription SET state = :left, source = :source, changed_at = now()"
            " WHERE topic_id = :topic AND channel = :channel AND recipient_id = :recipient"
            " AND state <> :left"
        ),
        {
            "left": SubscriptionState.LEFT,
            "source": source,
            "topic": topic,
            "channel": channel,
            "recipient": recipient_id,
        },
    )
    return ended.rowcount > 0

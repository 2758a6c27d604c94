"""Digests: what happened in a period, as one message a person. Rows are the truth about periods.

A period is written as one send, in one transaction that holds its row; a message of it is unique by
(recipient, send). So nobody gets two digests of a period, whatever dies or is repeated.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
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

from domain.digest import Cadence, Period, period_of
from domain.identifier import SEND_PREFIX, public_id
from domain.local_time import first_moment, last_moment
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
from models.outbox import announce

MOST_ITEMS = 100
"""Items of one digest message; `count` says how many there were."""


class DigestPeriod(SQLModel, table=True):
    """A day or week of a team: open while events put items into it, then written as one send."""

    __tablename__ = "digest_period"
    __table_args__ = (
        UniqueConstraint("team_id", "cadence", "period"),
        Index("digest_period_open", "ends_at", postgresql_where=text("written_at IS NULL")),
    )

    id: int = Field(sa_column=identity())
    team_id: int = Field(sa_column=Column(BigInteger, ForeignKey("team.id"), nullable=False))
    cadence: str = Field(sa_column=words())
    period: str = Field(sa_column=words())
    ends_at: datetime = Field(sa_column=moment(nullable=False))
    written_at: datetime | None = Field(sa_column=moment())
    send_id: int | None = Field(sa_column=big(nullable=True))
    """Null where nobody was left to tell."""
    messages: int = Field(sa_column=Column(Integer, nullable=False, server_default="0"))
    reconciled_at: datetime | None = Field(sa_column=moment())


class DigestItem(SQLModel, table=True):
    """An event in the digest of one member."""

    __tablename__ = "digest_item"
    __table_args__ = (Index("digest_item_of_recipient", "recipient_id"),)

    period_id: int = Field(sa_column=big(primary_key=True))
    recipient_id: int = Field(sa_column=big(primary_key=True))
    event_id: int = Field(sa_column=big(primary_key=True))
    member: dict[str, Any] = Field(sa_column=Column(JSONB, nullable=False))
    """The membership's own data when the event was raised."""


def open_period(
    connection: Connection, team_id: int, cadence: Cadence, now: datetime, zone: tzinfo
) -> int:
    """Id of the first period from now on that is not written yet; it stays so until the commit."""
    period = period_of(cadence, now, zone)
    while True:
        found = _locked_period(connection, team_id, cadence, period)
        if found is not None:
            return found
        period = period_of(cadence, period.ends_at, zone)


def _locked_period(
    connection: Connection, team_id: int, cadence: Cadence, period: Period
) -> int | None:
    values = {
        "team": team_id,
        "cadence": cadence,
        "period": period.name,
        "ends_at": period.ends_at,
    }
    connection.execute(
        text(
            "INSERT INTO digest_period (team_id, cadence, period, ends_at)"
            " VALUES (:team, :cadence, :period, :ends_at) ON CONFLICT DO NOTHING"
        ),
        values,
    )
    row = connection.execute(
        text(
            "SELECT id, written_at FROM digest_period WHERE team_id = :team"
            " AND cadence = :cadence AND period = :period FOR SHARE"
        ),
        values,
    ).one()
    return None if row.written_at is not None else row.id


@dataclass(frozen=True, slots=True, kw_only=True)
class DuePeriod:
    """A period whose digests are to be written."""

    id: int
    team_id: int
    team: str
    cadence: Cadence
    period: str
    ends_at: datetime


_PERIODS = (
    "SELECT p.id, p.team_id, t.key AS team, p.cadence, p.period, p.ends_at FROM digest_period p"
    " JOIN team t ON t.id = p.team_id"
)


def due_periods(connection: Connection, every: timedelta) -> Sequence[DuePeriod]:
    """Periods that have ended and are not written, at most `every` so often each."""
    due = connection.execute(
        text(
            "UPDATE digest_period SET reconciled_at = clock_timestamp() WHERE id IN ("
            " SELECT id FROM digest_period WHERE written_at IS NULL"
            " AND ends_at <= statement_timestamp()"
            " AND (reconciled_at IS NULL OR reconciled_at <= clock_timestamp() - :every)"
            " ORDER BY ends_at LIMIT 100 FOR NO KEY UPDATE SKIP LOCKED) RETURNING id"
        ),
        {"every": every},
    ).scalars()
    rows = connection.execute(
        text(_PERIODS + " WHERE p.id = ANY(:ids) ORDER BY p.ends_at"), {"ids": list(due)}
    ).mappings()
    return [DuePeriod(**{**row, "cadence": Cadence(row["cadence"])}) for row in rows]


def open_periods(
    connection: Connection, team_id: int, cadence: Cadence, period: str | None = None
) -> Sequence[DuePeriod]:
    """Periods of the cadence that are not written, ended or not, oldest first; or the named one."""
    rows = connection.execute(
        text(
            _PERIODS + " WHERE p.team_id = :team AND p.cadence = :cadence AND p.written_at IS NULL"
            " AND p.period = coalesce(:period, p.period) ORDER BY p.ends_at"
        ),
        {"team": team_id, "cadence": cadence, "period": period},
    ).mappings()
    return [DuePeriod(**{**row, "cadence": Cadence(row["cadence"])}) for row in rows]


@dataclass(frozen=True, slots=True, kw_only=True)
class PeriodSummary:
    """A period as operators see it."""

    id: int
    cadence: str
    period: str
    ends_at: datetime
    written_at: datetime | None
    send: str | None
    """snd_…; None: not written yet, or nobody was left to tell."""
    items: int
    messages: int


def list_periods(
    connection: Connection, team_id: int, *, before: tuple[int, int] | None = None, most: int = 50
) -> list[PeriodSummary]:
    """The team's periods, the newest first; up to `most` before the one of this end (Unix time) and id."""
    ends, period_id = before or (None, None)
    rows = connection.execute(
        text(
            "SELECT id, cadence, period, ends_at, written_at, send_id, messages,"
            " (SELECT count(*) FROM digest_item i WHERE i.period_id = p.id) AS items"
            " FROM digest_period p WHERE team_id = :team AND (CAST(:ends AS bigint) IS NULL"
            "  OR (ends_at, id) < (to_timestamp(CAST(:ends AS bigint)), :id))"
            " ORDER BY ends_at DESC, id DESC LIMIT :most"
        ),
        {"team": team_id, "most": most, "ends": ends, "id": period_id},
    ).mappings()
    return [
        PeriodSummary(
            id=row["id"],
            cadence=row["cadence"],
            period=row["period"],
            ends_at=row["ends_at"],
            written_at=row["written_at"],
            send=None if row["send_id"] is None else public_id(SEND_PREFIX, row["send_id"]),
            items=row["items"],
            messages=row["messages"],
        )
        for row in rows
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class DigestSend:
    """How a digest goes out."""

    topic_id: int
    """Whoever leaves it gets no digests."""
    template_version_id: int
    name: str
    sender: Mapping[str, str]
    expires_after: timedelta
    local_at: datetime | None = None
    """Naive: to each when it is that time where they are; None: at once."""
    local_grace: timedelta | None = None
    """How long after that moment it may still begin; both or none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenPeriod:
    """What a period came to."""

    send_id: int | None
    messages: int
    is_repeat: bool = False
    """It was written before."""


def lock_period(connection: Connection, period_id: int) -> tuple[DuePeriod, WrittenPeriod | None]:
    """The period, which waits for the events that are being raised into it; and what it came to
    if it is written already."""
    row = connection.execute(
        text("SELECT written_at, send_id, messages FROM digest_period WHERE id = :id FOR UPDATE"),
        {"id": period_id},
    ).one()
    found = connection.execute(text(_PERIODS + " WHERE p.id = :id"), {"id": period_id}).mappings()
    named = found.one()
    due = DuePeriod(**{**named, "cadence": Cadence(named["cadence"])})
    if row.written_at is None:
        return due, None
    return due, WrittenPeriod(send_id=row.send_id, messages=row.messages, is_repeat=True)


_NEW_ID = "key_at(clock_timestamp()) | (nextval('send_number') % 1048576)"

# Who was merged since is told as who they are; who has left a topic since finds nothing of it.
_WRITE = text(
    f"""
    WITH held AS (
        SELECT coalesce(r.merged_into, r.id) AS recipient_id, i.event_id,
               (array_agg(i.member ORDER BY i.recipient_id DESC))[1] AS member
        FROM digest_item i JOIN recipient r ON r.id = i.recipient_id
        WHERE i.period_id = :period GROUP BY 1, 2),
    item AS MATERIALIZED (
        SELECT h.recipient_id, h.member, e.topic_id, e.id AS event_id, e.key, e.data, e.created_at,
               t.key AS topic, t.name, t.message_class,
               row_number() OVER (PARTITION BY h.recipient_id ORDER BY e.id DESC) AS newness,
               count(*) OVER (PARTITION BY h.recipient_id) AS n
        FROM held h JOIN topic_event e ON e.id = h.event_id JOIN topic t ON t.id = e.topic_id
        JOIN subscription s ON s.topic_id = e.topic_id AND s.channel = :email
             AND s.recipient_id = h.recipient_id AND s.state = :subscribed),
    of_topic AS (
        SELECT recipient_id, topic, max(n) AS n, jsonb_build_object('topic', topic, 'name', max(name),
               'entries', jsonb_agg(jsonb_build_object('key', key, 'data', data, 'member', member,
                   'at', to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'))
                   ORDER BY event_id)) AS entry
        FROM item WHERE newness <= :most GROUP BY recipient_id, topic),
    audience AS MATERIALIZED (
        SELECT recipient_id, row_number() OVER (ORDER BY recipient_id) AS ordinal,
               jsonb_build_object('items', jsonb_agg(entry ORDER BY topic), 'count', max(n),
                   'cadence', CAST(:cadence AS text), 'period', CAST(:period_name AS text)) AS variables
        FROM of_topic GROUP BY recipient_id),
    made AS (
        INSERT INTO send (id, team_id, kind, name, message_class, channel, topic_id, priority, plan,
            template_version_id, sender, state, on_unknown, messages, due_at, local_at, local_grace,
            started_at, frozen_at, expires_at)
        SELECT {_NEW_ID}, :team, :kind, :name, c.message_class, :email, :topic, :priority,
            CAST(:plan AS jsonb), :version, CAST(:sender AS jsonb), :state,
            CASE WHEN c.message_class = :marketing THEN :leave ELSE :resend END,
            (SELECT count(*) FROM audience), :due_at, :local_at, :local_grace, clock_timestamp(),
            clock_timestamp(), coalesce(:lasts_until, clock_timestamp()) + :expires_after
        FROM (SELECT CASE WHEN bool_or(message_class = :marketing) THEN :marketing
                     ELSE :transactional END AS message_class FROM item) c
        WHERE EXISTS (SELECT 1 FROM audience) RETURNING id, messages),
    said AS (
        INSERT INTO message (send_id, ordinal, recipient_id, variables)
        SELECT made.id, a.ordinal, a.recipient_id, a.variables FROM made, audience a),
    owed AS (
        INSERT INTO outbox (send_id, ordinal, priority, channel, due_at)
        SELECT made.id, a.ordinal, :priority, :email, :due_at FROM made, audience a ORDER BY a.ordinal)
    SELECT id, messages FROM made
    """  # noqa: S608  only constants of ours are put in
)


def write_period(connection: Connection, due: DuePeriod, how: DigestSend) -> WrittenPeriod:
    """One message for each person who has items in the period, which is locked; its items go."""
    row = connection.execute(
        _WRITE,
        {
            "period": due.id,
            "cadence": due.cadence,
            "period_name": due.period,
            "team": due.team_id,
            "email": Channel.EMAIL,
            "subscribed": SubscriptionState.SUBSCRIBED,
            "most": MOST_ITEMS,
            "kind": SendKind.REQUEST,
            "name": how.name,
            "topic": how.topic_id,
            "priority": int(Priority.LOW),
            "plan": orjson.dumps([Step(channel=Channel.EMAIL).as_json()]).decode(),
            "version": how.template_version_id,
            "sender": orjson.dumps(dict(how.sender)).decode(),
            "state": SendState.RUNNING,
            "marketing": MessageClass.MARKETING,
            "transactional": MessageClass.TRANSACTIONAL,
            "leave": OnUnknown.LEAVE,
            "resend": OnUnknown.RESEND,
            "expires_after": how.expires_after,
            "local_at": how.local_at,
            "local_grace": how.local_grace,
            "due_at": first_moment(how.local_at) if how.local_at else None,
            "lasts_until": last_moment(how.local_at) if how.local_at else None,
        },
    ).one_or_none()
    send_id, messages = (None, 0) if row is None else (row.id, row.messages)
    connection.execute(
        text(
            "UPDATE digest_period SET written_at = clock_timestamp(), send_id = :send,"
            " messages = :messages WHERE id = :id"
        ),
        {"send": send_id, "messages": messages, "id": due.id},
    )
    # What was in it is in the messages now.
    connection.execute(text("DELETE FROM digest_item WHERE period_id = :id"), {"id": due.id})
    if send_id is not None:
        announce(connection)
    return WrittenPeriod(send_id=send_id, messages=messages)

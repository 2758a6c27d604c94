"""The trace of one message, from its rows: asked for, decided, tried, told of, waiting."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, text

from domain.outcome import Outcome, Progress, Reason
from domain.send import Channel, SendKind
from models.group_members import Member, read_some
from models.hold import open_holds
from models.request import UnknownSend


@dataclass(frozen=True, slots=True, kw_only=True)
class TracedSend:
    """The send of a traced message: who asked for it, and how."""

    id: int
    kind: SendKind
    name: str
    idempotency_key: str | None
    created_at: datetime
    started_at: datetime | None
    expires_at: datetime
    closed_at: datetime | None
    state: str
    template: str
    message_class: str
    priority: int
    topic: str | None
    account: str | None
    plan: list[dict[str, Any]]
    channel: Channel
    on_unknown: str
    round: int
    messages: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TracedAttempt:
    """One attempt that the message was in."""

    id: int
    step: int
    letter: str
    """What was answered about it: '?' nothing yet, else see `models.attempt`."""
    state: str
    account: str
    worker: str
    claimed_at: datetime
    ended_at: datetime | None
    code: str
    error: str
    provider_message_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TracedDelivery:
    """What came of it on one step."""

    step: int
    part: int
    outcome: Outcome
    reason: Reason
    progress: Progress
    tries: int
    accepted_at: datetime | None
    decide_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TracedEvent:
    """What was appended to its history."""

    at: datetime
    step: int
    kind: str
    account: str | None
    provider_message_id: str | None
    raw: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Whereabouts:
    """Who drives it, and what stops them."""

    group_id: int | None
    is_in_outbox: bool
    due_at: datetime | None
    """Of a parked message, or its group's next pass; of a campaign its batch's."""
    batch_lo: int | None
    holds: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageTrace:
    """All that the rows tell of one message."""

    send: TracedSend
    member: Member
    attempts: list[TracedAttempt]
    deliveries: list[TracedDelivery]
    events: list[TracedEvent]
    whereabouts: Whereabouts


def find_send(connection: Connection, team_id: int, send_id: int) -> TracedSend:
    """The send. Raises UnknownSend."""
    row = (
        connection.execute(
            text(
                "SELECT s.id, s.kind, s.name, s.idempotency_key, s.created_at, s.started_at,"
                " s.expires_at, s.closed_at, s.state, p.key || '@' || v.number AS template,"
                " s.message_class, s.priority, t.key AS topic, a.key AS account, s.plan, s.channel,"
                " s.on_unknown, s.round, s.messages FROM send s"
                " JOIN template_version v ON v.id = s.template_version_id"
                " JOIN template p ON p.id = v.template_id LEFT JOIN topic t ON t.id = s.topic_id"
                " LEFT JOIN provider_account a ON a.id = s.account_id"
                " WHERE s.id = :id AND s.team_id = :team"
            ),
            {"id": send_id, "team": team_id},
        )
        .mappings()
        .one_or_none()
    )
    if row is None:
        raise UnknownSend("There is no send with this id.")
    return TracedSend(**{**row, "kind": SendKind(row["kind"]), "channel": Channel(row["channel"])})


def trace_message(connection: Connection, team_id: int, send_id: int, ordinal: int) -> MessageTrace:
    """The message's trace. Raises UnknownSend, also for an ordinal that the send has not."""
    send = find_send(connection, team_id, send_id)
    members = read_some(connection, [(send_id, ordinal)])
    if not members:
        raise UnknownSend(f"The send has no message {ordinal}.")
    key = {"send": send_id, "ordinal": ordinal}
    attempts = _OF_CAMPAIGN if send.kind is SendKind.CAMPAIGN else _OF_GROUPS
    return MessageTrace(
        send=send,
        member=members[0],
        attempts=[
            TracedAttempt(**row) for row in connection.execute(text(attempts), key).mappings()
        ],
        deliveries=[_delivery(row) for row in connection.execute(text(_DELIVERIES), key)],
        events=[TracedEvent(**row) for row in connection.execute(text(_EVENTS), key).mappings()],
        whereabouts=_whereabouts(connection, send, ordinal),
    )


_OF_CAMPAIGN = """
    SELECT a.id, a.step, substr(a.members, :ordinal - a.lo + 1, 1) AS letter, a.state, p.key AS account,
           a.worker, a.claimed_at, a.ended_at, coalesce(a.answer_code, '') AS code,
           coalesce(a.error, '') AS error, coalesce(a.provider_message_id, '') AS provider_message_id
    FROM attempt a JOIN provider_account p ON p.id = a.account_id
    WHERE a.send_id = :send AND a.lo <= :ordinal AND a.lo + length(a.members) > :ordinal
    AND substr(a.members, :ordinal - a.lo + 1, 1) <> '-' ORDER BY a.claimed_at, a.id
"""
# By the GIN index on sends; an attempt of a group says of each member what was answered about it.
_OF_GROUPS = """
    SELECT a.id, a.step, substr(a.members, CAST(u.n AS integer), 1) AS letter, a.state,
           p.key AS account, a.worker, a.claimed_at, a.ended_at, coalesce(said ->> 'code', '') AS code,
           coalesce(said ->> 'detail', CASE WHEN substr(a.members, CAST(u.n AS integer), 1) = '?'
                    THEN a.error END, '') AS error,
           coalesce(said ->> 'id', '') AS provider_message_id
    FROM attempt a JOIN provider_account p ON p.id = a.account_id
    CROSS JOIN LATERAL unnest(a.sends, a.ordinals) WITH ORDINALITY AS u(send_id, ordinal, n)
    CROSS JOIN LATERAL (SELECT a.answers -> CAST(u.n - 1 AS text) AS said) AS w
    WHERE a.sends @> ARRAY[CAST(:send AS bigint)] AND u.send_id = :send AND u.ordinal = :ordinal
    ORDER BY a.claimed_at, a.id
"""
_DELIVERIES = """
    SELECT step, part, outcome, reason, progress, tries, accepted_at, decide_at FROM delivery
    WHERE send_id = :send AND ordinal = :ordinal ORDER BY step, part
"""
_EVENTS = """
    SELECT e.at, e.step, e.kind, p.key AS account, e.provider_message_id, e.raw
    FROM delivery_event e LEFT JOIN provider_account p ON p.id = e.account_id
    WHERE e.send_id = :send AND e.ordinal = :ordinal ORDER BY e.at, e.id
"""


def _delivery(row: Any) -> TracedDelivery:
    return TracedDelivery(
        step=row.step,
        part=row.part,
        outcome=Outcome(row.outcome),
        reason=Reason(row.reason),
        progress=Progress(row.progress),
        tries=row.tries,
        accepted_at=row.accepted_at,
        decide_at=row.decide_at,
    )


def _whereabouts(connection: Connection, send: TracedSend, ordinal: int) -> Whereabouts:
    row = connection.execute(
        text(
            "SELECT o.id IS NOT NULL AS is_in_outbox, o.group_id,"
            " coalesce(o.due_at, g.resume_at, b.resume_at) AS due_at, b.lo AS batch_lo"
            " FROM (SELECT CAST(:send AS bigint) AS send_id, CAST(:ordinal AS integer) AS ordinal) m"
            " LEFT JOIN outbox o USING (send_id, ordinal) LEFT JOIN message_group g ON g.id = o.group_id"
            " LEFT JOIN batch b ON b.send_id = m.send_id AND m.ordinal BETWEEN b.lo AND b.hi"
        ),
        {"send": send.id, "ordinal": ordinal},
    ).one()
    return Whereabouts(**row._mapping, holds=open_holds(connection, send.id))


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageLine:
    """A message in a list."""

    send_id: int
    ordinal: int
    created_at: datetime
    template: str
    recipient: str | None
    channel: str
    step: int
    outcome: Outcome
    reason: Reason
    progress: Progress


_LINES = """
    SELECT m.send_id, m.ordinal, s.created_at, p.key || '@' || v.number AS template,
           r.external_id AS recipient, coalesce(d.step, 1) AS step, coalesce(d.outcome, 0) AS outcome,
           coalesce(s.plan -> (coalesce(d.step, 1) - 1) ->> 'channel', s.channel) AS channel,
           coalesce(d.reason, 0) AS reason, coalesce(d.progress, 0) AS progress
    FROM message m JOIN send s ON s.id = m.send_id
    JOIN template_version v ON v.id = s.template_version_id JOIN template p ON p.id = v.template_id
    JOIN recipient r ON r.id = m.recipient_id
    LEFT JOIN LATERAL (SELECT * FROM delivery x WHERE x.send_id = m.send_id
        AND x.ordinal = m.ordinal ORDER BY x.step DESC LIMIT 1) d ON true
"""


def messages_to(
    connection: Connection, recipient_ids: Sequence[int], limit: int
) -> list[MessageLine]:
    """The newest messages to these recipients, newest first, by the index on the recipient."""
    rows = connection.execute(
        text(
            _LINES + " WHERE m.recipient_id = ANY(:recipients) ORDER BY m.send_id DESC LIMIT :limit"
        ),
        {"recipients": list(recipient_ids), "limit": limit},
    )
    return [_line(row) for row in rows.mappings()]


def messages_of(connection: Connection, send_id: int, limit: int) -> list[MessageLine]:
    """The first messages of a send."""
    rows = connection.execute(
        text(_LINES + " WHERE m.send_id = :send ORDER BY m.ordinal LIMIT :limit"),
        {"send": send_id, "limit": limit},
    )
    return [_line(row) for row in rows.mappings()]


def _line(row: Mapping[Any, Any]) -> MessageLine:
    return MessageLine(
        **{
            **row,
            "outcome": Outcome(row["outcome"]),
            "reason": Reason(row["reason"]),
            "progress": Progress(row["progress"]),
        }
    )

"""Sending again what failed of a finished send, under a new round; and what there is to send again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

import orjson
from sqlalchemy import Connection, text

from domain.identifier import SEND_PREFIX, public_id
from domain.outcome import Outcome, Reason
from domain.send import SendKind, SendState
from models.counts import LockedBatch, lock_batch
from models.outbox import announce
from models.request import UnknownSend

FAILED = (Outcome.REJECTED, Outcome.UNCONFIRMED)


class NotRedrivable(Exception):
    """The send has not finished, or nothing of it may be sent any more; the message is one sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Redriven:
    """What a redrive made owed."""

    messages: int
    is_campaign: bool


def redrive(connection: Connection, team_id: int, send_id: int, reason: str) -> Redriven:
    """Make the failed messages of a finished send owed again, at the step where they stand.

    One transaction; each remembers what it was and why it is sent again. Locks the batches, the
    rows, then the send. Raises UnknownSend, NotRedrivable.
    """
    kind = connection.execute(
        text("SELECT kind FROM send WHERE id = :send AND team_id = :team"),
        {"send": send_id, "team": team_id},
    ).scalar()
    if kind is None:
        raise UnknownSend(f"There is no send {public_id(SEND_PREFIX, send_id)}.")
    is_campaign = kind == SendKind.CAMPAIGN
    batches = _lock_batches(connection, send_id) if is_campaign else []
    messages = _owe_again(connection, send_id, reason, batches)
    if not is_campaign:
        _insert_outbox(connection, send_id)
    _reopen(connection, send_id, is_changed=messages > 0)
    return Redriven(messages=messages, is_campaign=is_campaign)


def _lock_batches(connection: Connection, send_id: int) -> list[LockedBatch]:
    found = connection.execute(
        text("SELECT lo FROM batch WHERE send_id = :send ORDER BY lo"), {"send": send_id}
    )
    return [lock_batch(connection, send_id, lo) for lo in found.scalars()]


_OWE = """
    WITH failed AS (
        SELECT d.* FROM delivery d WHERE d.send_id = :send AND d.outcome = ANY(:failed)
        AND NOT EXISTS (SELECT 1 FROM delivery l WHERE l.send_id = d.send_id
            AND l.ordinal = d.ordinal AND l.step > d.step)
        ORDER BY d.ordinal, d.step, d.part FOR NO KEY UPDATE OF d),
    owed AS (
        UPDATE delivery d SET outcome = :owed, reason = 0, decide_at = NULL FROM failed f
        WHERE d.send_id = f.send_id AND d.ordinal = f.ordinal AND d.step = f.step AND d.part = f.part),
    told AS (
        INSERT INTO delivery_event (occurred_on, send_id, ordinal, step, part, kind, attempt_id, raw)
        SELECT (clock_timestamp() AT TIME ZONE 'UTC')::date, send_id, ordinal, step, part, 'redriven',
            attempt_id, jsonb_build_object('outcome', CAST(:words AS jsonb) ->> CAST(outcome AS text),
                'tries', tries, 'why', CAST(:why AS text)) FROM failed)
    SELECT ordinal, outcome, reason FROM failed
"""


def _owe_again(
    connection: Connection, send_id: int, reason: str, batches: Sequence[LockedBatch]
) -> int:
    rows = connection.execute(
        text(_OWE),
        {
            "send": send_id,
            "failed": [int(outcome) for outcome in FAILED],
            "owed": int(Outcome.OWED),
            "words": orjson.dumps({str(int(each)): each.word for each in FAILED}).decode(),
            "why": reason,
        },
    ).all()
    for batch in batches:
        mine = [row for row in rows if batch.lo <= row.ordinal <= batch.hi]
        for row in mine:
            batch.move(Outcome(row.outcome), Reason(row.reason), Outcome.OWED, Reason.NONE)
        if mine:
            batch.save(connection)
    if batches:
        connection.execute(
            text("UPDATE batch SET resume_at = NULL WHERE send_id = :send"), {"send": send_id}
        )
    return len(rows)


def _insert_outbox(connection: Connection, send_id: int) -> None:
    """The messages whose last row says owed are to be gathered again."""
    connection.execute(
        text(
            "INSERT INTO outbox (send_id, ordinal, priority, channel)"
            " SELECT d.send_id, d.ordinal, s.priority, s.channel FROM delivery d"
            " JOIN send s ON s.id = d.send_id WHERE d.send_id = :send AND d.outcome = :owed"
            " ORDER BY d.ordinal ON CONFLICT (send_id, ordinal) DO NOTHING"
        ),
        {"send": send_id, "owed": int(Outcome.OWED)},
    )
    announce(connection)


def _reopen(connection: Connection, send_id: int, *, is_changed: bool) -> None:
    """Raises NotRedrivable, which undoes all of it."""
    send = connection.execute(
        text(
            "SELECT state, expires_at <= clock_timestamp() AS is_expired FROM send WHERE id = :send"
            " FOR NO KEY UPDATE"
        ),
        {"send": send_id},
    ).one()
    name = public_id(SEND_PREFIX, send_id)
    if send.state == SendState.CANCELLED or send.is_expired:
        why = "was cancelled" if send.state == SendState.CANCELLED else "has expired"
        raise NotRedrivable(f"The send {name} {why}; nothing of it is sent any more.")
    if send.state != SendState.FINISHED:
        raise NotRedrivable(f"The send {name} is {send.state}; only what has finished is redriven.")
    if is_changed:
        connection.execute(
            text(
                "UPDATE send SET closed_at = NULL, round = round + 1, state = :running WHERE id = :send"
            ),
            {"send": send_id, "running": SendState.RUNNING},
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetters:
    """Failed messages of one send that failed alike."""

    send_id: int
    name: str
    kind: SendKind
    template: str
    state: str
    is_expired: bool
    outcome: Outcome
    reason: Reason
    messages: int


def dead_letters(connection: Connection, team_id: int, since: timedelta) -> list[DeadLetters]:
    """Rejected and unconfirmed messages of sends made since then, newest sends first.

    Reads the deliveries of that time: about 0.2 µs each.
    """
    rows = connection.execute(
        text(
            "SELECT s.id AS send_id, s.name, s.kind, s.state, p.key || '@' || v.number AS template,"
            " s.expires_at <= clock_timestamp() AS is_expired, f.outcome, f.reason, f.messages"
            " FROM (SELECT d.send_id, d.outcome, d.reason, count(*) AS messages FROM delivery d"
            "  WHERE d.send_id >= key_at(clock_timestamp() - CAST(:since AS interval))"
            "  AND d.outcome = ANY(:failed) AND NOT EXISTS (SELECT 1 FROM delivery l"
            "   WHERE l.send_id = d.send_id AND l.ordinal = d.ordinal AND l.step > d.step)"
            "  GROUP BY 1, 2, 3) f JOIN send s ON s.id = f.send_id"
            " JOIN template_version v ON v.id = s.template_version_id"
            " JOIN template p ON p.id = v.template_id WHERE s.team_id = :team"
            " ORDER BY s.id DESC, f.messages DESC"
        ),
        {"team": team_id, "since": since, "failed": [int(outcome) for outcome in FAILED]},
    ).mappings()
    return [
        DeadLetters(
            **{
                **row,
                "kind": SendKind(row["kind"]),
                "outcome": Outcome(row["outcome"]),
                "reason": Reason(row["reason"]),
            }
        )
        for row in rows
    ]

"""SETTLE: nothing is called sent before the answer is committed; answers are written once."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, NamedTuple

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError

from domain.outcome import Outcome, Reason
from domain.send import AttemptState
from models.caps import return_caps
from models.counts import LockedBatch, lock_batch
from models.database import in_transaction, is_connection_lost
from models.delivery_rows import (
    NewDelivery,
    Row,
    copy_deliveries,
    lock_rows,
    record_duplicates,
    record_superseded,
    update_deliveries,
)
from models.lease import CLAIMED_LETTER, write_unknown


class Letter(StrEnum):
    """What an attempt's `members` says of an answered member."""

    ACCEPTED = "a"
    REJECTED = "r"
    UNKNOWN = "u"
    RELEASED = "x"


class MemberAnswer(NamedTuple):
    """The answer about one member of an attempt."""

    letter: Letter
    reason: Reason
    contact_point_id: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Settlement:
    """What a driver has to write: answers of one attempt, and rows that need none."""

    send_id: int
    batch_lo: int
    epoch: int
    unknown_wait: timedelta
    attempt_id: int | None = None
    answers: Mapping[int, MemberAnswer] = field(default_factory=dict)
    had_row: frozenset[int] = frozenset()
    """Members that had a delivery row when they were claimed."""
    code: str = ""
    error: str = ""
    provider_message_id: str = ""
    has_caps: bool = False
    """The claim counted its members under caps: who was certainly not accepted counts no more."""
    unattempted: Sequence[NewDelivery] = ()
    """Skips and messages that could not be rendered; written only while the epoch is still mine."""


def settle(engine: Engine, settlement: Settlement, *, may_go_on: Callable[[], bool]) -> None:
    """Commit the settlement in one transaction.

    It writes only what the attempt does not hold yet, so after a lost session (whose COMMIT may have
    taken effect) it is simply done again, for as long as `may_go_on`: an acceptance in hand is never
    given up easily. The last error leaves this function.
    """
    while True:
        try:
            in_transaction(engine, lambda connection: _settle(connection, settlement))
        except DBAPIError as error:
            if not is_connection_lost(error) or not may_go_on():
                raise
            time.sleep(0.2)
        else:
            return


def _settle(connection: Connection, settlement: Settlement) -> None:
    batch = lock_batch(connection, settlement.send_id, settlement.batch_lo)
    if settlement.attempt_id is not None:
        _answer_attempt(connection, batch, settlement, settlement.attempt_id)
    if settlement.unattempted and batch.epoch == settlement.epoch:
        _write_unattempted(connection, batch, settlement.unattempted)
    batch.save(connection)


def _answer_attempt(
    connection: Connection, batch: LockedBatch, settlement: Settlement, attempt_id: int
) -> None:
    attempt = connection.execute(
        text("SELECT lo, members, state, answer_by FROM attempt WHERE id = :id FOR NO KEY UPDATE"),
        {"id": attempt_id},
    ).one()
    fresh = {
        ordinal: answer
        for ordinal, answer in settlement.answers.items()
        if attempt.members[ordinal - attempt.lo] == CLAIMED_LETTER
    }
    if not fresh:
        return
    writer = _AnswerWriter(connection, batch, settlement, attempt_id)
    if attempt.state == AttemptState.ABANDONED:
        # Late: who took the batch has written unknown for all of them. Acceptances still count.
        writer.write_over(
            {o: answer for o, answer in fresh.items() if answer.letter is Letter.ACCEPTED}, attempt
        )
    else:
        writer.write_new({o: a for o, a in fresh.items() if o not in settlement.had_row}, attempt)
        writer.write_over({o: a for o, a in fresh.items() if o in settlement.had_row}, attempt)
        if settlement.has_caps:
            return_caps(
                connection,
                settlement.send_id,
                [o for o, answer in fresh.items() if answer.letter in _CERTAINLY_NOT],
            )
    members = _with_letters(attempt.lo, attempt.members, fresh)
    is_done = attempt.state == AttemptState.CLAIMED and CLAIMED_LETTER not in members
    connection.execute(
        text(
            "UPDATE attempt SET members = :members,"
            " state = CASE WHEN :done THEN :settled ELSE state END,"
            " ended_at = CASE WHEN :done THEN clock_timestamp() ELSE ended_at END,"
            " answer_code = coalesce(nullif(:code, ''), answer_code),"
            " error = coalesce(nullif(:error, ''), error),"
            " provider_message_id = coalesce(nullif(:provider_id, ''), provider_message_id)"
            " WHERE id = :id"
        ),
        {
            "id": attempt_id,
            "members": members,
            "done": is_done,
            "settled": AttemptState.SETTLED,
            "code": settlement.code,
            "error": settlement.error,
            "provider_id": settlement.provider_message_id,
        },
    )


class _AnswerWriter:
    """Turns the answers of one attempt into delivery rows, under the batch's lock."""

    def __init__(
        self, connection: Connection, batch: LockedBatch, settlement: Settlement, attempt_id: int
    ) -> None:
        self._connection = connection
        self._batch = batch
        self._settlement = settlement
        self._attempt_id = attempt_id

    def write_new(self, answers: Mapping[int, MemberAnswer], attempt: Any) -> None:
        """Members that had no row at the claim have none now: only the owner inserts."""
        rows, now = [], self._batch.now
        decide_at = self._decide_at(attempt)
        for ordinal, (letter, reason, contact) in answers.items():
            if letter is Letter.ACCEPTED:
                rows.append(
                    NewDelivery(ordinal, _ACCEPTED, 0, 0, self._attempt_id, contact, now, None)
                )
            elif letter is Letter.REJECTED:
                rows.append(NewDelivery(ordinal, _REJECTED, reason, 0, self._attempt_id, contact))
                self._batch.add(Outcome.REJECTED, reason)
            elif letter is Letter.UNKNOWN:
                rows.append(
                    NewDelivery(ordinal, _UNKNOWN, 0, 1, self._attempt_id, contact, None, decide_at)
                )
        copy_deliveries(self._connection, self._batch.send_id, rows)
        self._batch.add(Outcome.ACCEPTED, messages=sum(row.outcome == _ACCEPTED for row in rows))
        self._batch.add(Outcome.UNKNOWN, messages=sum(row.outcome == _UNKNOWN for row in rows))

    def write_over(self, answers: Mapping[int, MemberAnswer], attempt: Any) -> None:
        """Members that have a row: accepted wins over every other outcome, whoever wrote it."""
        told = {o: a for o, a in answers.items() if a.letter is not Letter.RELEASED}
        if not told:
            return
        rows = lock_rows(self._connection, self._batch.send_id, sorted(told))
        accepted = [rows[o] for o, a in told.items() if a.letter is Letter.ACCEPTED]
        self._accept(accepted, told)
        rejected = [
            rows[o]
            for o, a in told.items()
            if a.letter is Letter.REJECTED and rows[o].outcome is not Outcome.ACCEPTED
        ]
        self._reject(rejected, told)
        write_unknown(
            self._connection,
            self._batch,
            [o for o, a in told.items() if a.letter is Letter.UNKNOWN],
            self._attempt_id,
            self._decide_at(attempt),
        )

    def _accept(self, rows: Sequence[Row], answers: Mapping[int, MemberAnswer]) -> None:
        twice = [
            row.ordinal
            for row in rows
            if row.outcome is Outcome.ACCEPTED
            and row.attempt_id is not None
            and row.attempt_id != self._attempt_id
        ]
        record_duplicates(self._connection, self._batch.send_id, self._attempt_id, twice)
        self._replace(
            [row for row in rows if row.ordinal not in set(twice)],
            Outcome.ACCEPTED,
            answers,
            accepted_at=self._batch.now,
        )

    def _reject(self, rows: Sequence[Row], answers: Mapping[int, MemberAnswer]) -> None:
        self._replace(rows, Outcome.REJECTED, answers)

    def _replace(
        self,
        rows: Sequence[Row],
        outcome: Outcome,
        answers: Mapping[int, MemberAnswer],
        accepted_at: datetime | None = None,
    ) -> None:
        changed = [row for row in rows if row.outcome is not outcome]
        record_superseded(self._connection, self._batch.send_id, changed)
        update_deliveries(
            self._connection,
            self._batch.send_id,
            [
                NewDelivery(
                    row.ordinal,
                    outcome,
                    answers[row.ordinal].reason,
                    row.tries,
                    self._attempt_id,
                    answers[row.ordinal].contact_point_id,
                    accepted_at,
                )
                for row in rows
            ],
        )
        for row in changed:
            self._batch.move(row.outcome, row.reason, outcome, answers[row.ordinal].reason)

    def _decide_at(self, attempt: Any) -> datetime:
        decide_from: datetime = max(attempt.answer_by, self._batch.now)
        return decide_from + self._settlement.unknown_wait


def _write_unattempted(
    connection: Connection, batch: LockedBatch, unattempted: Sequence[NewDelivery]
) -> None:
    """Skips and the like. A message that has a row already (owed, unknown) gets it replaced."""
    rows = lock_rows(connection, batch.send_id, [row.ordinal for row in unattempted])
    copy_deliveries(
        connection, batch.send_id, (row for row in unattempted if row.ordinal not in rows)
    )
    again = [row for row in unattempted if row.ordinal in rows]
    open_again = [row for row in again if not rows[row.ordinal].outcome.is_final]
    record_superseded(connection, batch.send_id, [rows[row.ordinal] for row in open_again])
    update_deliveries(
        connection,
        batch.send_id,
        [row._replace(tries=rows[row.ordinal].tries) for row in open_again],
    )
    for row in unattempted:
        before = rows.get(row.ordinal)
        if before is None:
            batch.add(Outcome(row.outcome), Reason(row.reason))
        elif not before.outcome.is_final:
            batch.move(before.outcome, before.reason, Outcome(row.outcome), Reason(row.reason))


def _with_letters(lo: int, members: str, answers: Mapping[int, MemberAnswer]) -> str:
    letters = list(members)
    for ordinal, answer in answers.items():
        letters[ordinal - lo] = answer.letter.value
    return "".join(letters)


_CERTAINLY_NOT = (Letter.REJECTED, Letter.RELEASED)
_ACCEPTED = int(Outcome.ACCEPTED)
_REJECTED = int(Outcome.REJECTED)
_UNKNOWN = int(Outcome.UNKNOWN)

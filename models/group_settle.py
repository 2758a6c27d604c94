"""SETTLE for single messages: answers become rows, and the next steps of plans are entered."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import orjson
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from domain.answer import Answer
from domain.outcome import Outcome, Reason
from domain.plan import Step
from domain.send import AttemptState
from domain.standing import falls_to_next
from models.caps import return_caps
from models.database import in_transaction, is_connection_lost
from models.group_rows import (
    MemberKey,
    NewRow,
    StoredRow,
    lock_member_rows,
    record_duplicates,
    write_rows,
    write_unknown,
)
from models.in_app import InAppContent, write_items
from models.lease import CLAIMED_LETTER
from models.message_group import GroupLease, lock_group
from models.prepared import Prepared, one
from models.settle import Letter, MemberAnswer


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """A row that needs no answer: a skip, an unrendered message, what time has decided."""

    key: MemberKey
    outcome: Outcome
    reason: Reason = Reason.NONE
    enters_next: bool = False
    contact_point_id: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupSettlement:
    """The answers to one attempt, by position in its list of members."""

    lease: GroupLease
    attempt_id: int
    step: int
    answers: Mapping[int, MemberAnswer]
    plans: Mapping[int, tuple[Step, ...]]
    """Plans of the answered members."""
    has_caps: bool = False
    """Frequency caps were counted for some: what was certainly not accepted is handed back."""
    in_app: Mapping[int, InAppContent] = field(default_factory=dict)
    """What accepted in-app messages show: the row is the delivery."""
    said: Mapping[int, Answer] = field(default_factory=dict)
    """The provider's words about the answered members."""
    code: str = ""
    error: str = ""
    provider_message_id: str = ""


def settle_group(
    engine: Engine, settlement: GroupSettlement, *, may_go_on: Callable[[], bool]
) -> None:
    """Commit the settlement in one transaction; after a lost session it is done again.

    It writes only what the attempt does not hold yet, so doing it again changes nothing.
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


def write_decisions(
    connection: Connection, lease: GroupLease, decisions: Sequence[Decision]
) -> bool:
    """Write what is decided without a call; False: the group is not the holder's any more."""
    if lock_group(connection, lease.group_id).epoch != lease.epoch:
        return False
    before = lock_member_rows(connection, [decision.key for decision in decisions])
    open_ones = [d for d in decisions if _may_decide(before.get(d.key), d)]
    rows = [_decided_row(decision, before.get(decision.key)) for decision in open_ones]
    write_rows(connection, rows, before)
    _enter_next(connection, [d.key for d in open_ones if d.enters_next])
    return True


def _may_decide(row: StoredRow | None, decision: Decision) -> bool:
    """Accepted wins, whatever was decided; what is final is left alone."""
    if row is None or not row.outcome.is_final:
        return True
    return row.outcome is Outcome.ACCEPTED and decision.outcome is Outcome.ACCEPTED


def _decided_row(decision: Decision, before: StoredRow | None) -> NewRow:
    return NewRow(
        decision.key,
        decision.outcome,
        decision.reason,
        tries=before.tries if before else 0,
        attempt_id=before.attempt_id if before else None,
        contact_point_id=decision.contact_point_id,
    )


_SETTLE = Prepared(
    "group_settle_settle",
    "SELECT sends, ordinals, members, state, answer_by FROM attempt WHERE id = :id"
    " FOR NO KEY UPDATE",
)


def _settle(connection: Connection, settlement: GroupSettlement) -> None:
    now = lock_group(connection, settlement.lease.group_id).now
    attempt = _SETTLE.run(connection, {"id": settlement.attempt_id}).one()
    fresh = {
        position: answer
        for position, answer in settlement.answers.items()
        if attempt.members[position] == CLAIMED_LETTER
    }
    if not fresh:
        return
    is_late = attempt.state == AttemptState.ABANDONED
    written = {
        position: answer
        for position, answer in fresh.items()
        # Late: who took the group has written unknown for all of them. Acceptances still count.
        if answer.letter is not Letter.RELEASED
        and (not is_late or answer.letter is Letter.ACCEPTED)
    }
    _Writer(connection, settlement, attempt, now).write(written)
    _mark_answered(connection, settlement, attempt, fresh)
    if settlement.has_caps:
        _return_caps(connection, attempt, fresh)


def _return_caps(connection: Connection, attempt: Any, answers: Mapping[int, MemberAnswer]) -> None:
    by_send: dict[int, list[int]] = {}
    for position, answer in answers.items():
        if answer.letter in (Letter.RELEASED, Letter.REJECTED):
            by_send.setdefault(attempt.sends[position], []).append(attempt.ordinals[position])
    for send_id, ordinals in sorted(by_send.items()):
        return_caps(connection, send_id, ordinals)


class _Writer:
    """Turns answers into rows, under the group's lock."""

    def __init__(
        self, connection: Connection, settlement: GroupSettlement, attempt: Any, now: datetime
    ) -> None:
        self._connection = connection
        self._settlement = settlement
        self._attempt = attempt
        self._now = now

    def write(self, answers: Mapping[int, MemberAnswer]) -> None:
        """All of them: accepted wins over every other outcome, whoever wrote it."""
        keys = {position: self._key(position) for position in answers}
        before = lock_member_rows(self._connection, list(keys.values()))
        rows: list[NewRow] = []
        twice, unknown, entering, shown = [], [], [], []
        for position, answer in answers.items():
            key, row = keys[position], before.get(keys[position])
            match answer.letter:
                case Letter.ACCEPTED if self._is_anothers(row):
                    twice.append(key)
                case Letter.ACCEPTED:
                    rows.append(self._accepted(position, key, answer, row))
                    if position in self._settlement.in_app:
                        shown.append((key, self._settlement.in_app[position]))
                case Letter.REJECTED if row is None or not row.outcome.is_final:
                    rows.append(self._rejected(key, answer, row))
                    if falls_to_next(
                        Outcome.REJECTED, answer.reason, self._settlement.plans[position], key.step
                    ):
                        entering.append(key)
                case Letter.UNKNOWN:
                    unknown.append(key)
                case _:
                    pass
        write_rows(self._connection, rows, before)
        record_duplicates(self._connection, self._settlement.attempt_id, twice)
        decide_from = max(self._attempt.answer_by, self._now)
        write_unknown(
            self._connection,
            unknown,
            self._settlement.attempt_id,
            decide_from + self._settlement.lease.unknown_wait,
        )
        write_items(self._connection, shown)
        _enter_next(self._connection, entering)

    def _key(self, position: int) -> MemberKey:
        attempt = self._attempt
        return MemberKey(attempt.sends[position], attempt.ordinals[position], self._settlement.step)

    def _is_anothers(self, row: StoredRow | None) -> bool:
        """Whether another attempt's answer made the row accepted already."""
        return (
            row is not None
            and row.outcome is Outcome.ACCEPTED
            and row.attempt_id not in (None, self._settlement.attempt_id)
        )

    def _accepted(
        self, position: int, key: MemberKey, answer: MemberAnswer, row: StoredRow | None
    ) -> NewRow:
        step = self._settlement.plans[position][key.step - 1]
        waits = step.wait_for is not None and not self._has_moved_on(key, row)
        return NewRow(
            key,
            Outcome.ACCEPTED,
            tries=row.tries if row else 0,
            attempt_id=self._settlement.attempt_id,
            contact_point_id=answer.contact_point_id,
            accepted_at=self._now,
            decide_at=self._now + step.within if waits else None,
        )

    def _has_moved_on(self, key: MemberKey, row: StoredRow | None) -> bool:
        """Whether its message stands at a later step: an acceptance then waits for nobody."""
        if row is None or not row.outcome.is_final:
            return False
        return bool(lock_member_rows(self._connection, [key._replace(step=key.step + 1)]))

    def _rejected(self, key: MemberKey, answer: MemberAnswer, row: StoredRow | None) -> NewRow:
        return NewRow(
            key,
            Outcome.REJECTED,
            answer.reason,
            tries=row.tries if row else 0,
            attempt_id=self._settlement.attempt_id,
            contact_point_id=answer.contact_point_id,
        )


_ENTER_NEXT = Prepared(
    "group_settle_enter_next",
    "INSERT INTO delivery (send_id, ordinal, step, part, outcome)"  # noqa: S608
    " SELECT x.send_id, x.ordinal, x.step + 1, 0, 0 FROM unnest(CAST(:sends AS bigint[]),"
    " CAST(:ordinals AS integer[]), CAST(:steps AS smallint[])) AS x(send_id, ordinal, step)"
    f" {one('send', 'id = x.send_id', 's')} WHERE s.state <> 'cancelled'"
    " ON CONFLICT (send_id, ordinal, step, part) DO NOTHING",
)


def _enter_next(connection: Connection, keys: Sequence[MemberKey]) -> None:
    """The messages enter the step after these: a row that says owed, unless the send was cancelled."""
    if not keys:
        return
    _ENTER_NEXT.run(
        connection,
        {
            "sends": [key.send_id for key in keys],
            "ordinals": [key.ordinal for key in keys],
            "steps": [key.step for key in keys],
        },
    )


_MARK_ANSWERED = Prepared(
    "group_settle_mark_answered",
    "UPDATE attempt SET members = :members,"
    " state = CASE WHEN :done THEN :settled ELSE state END,"
    " ended_at = CASE WHEN :done THEN clock_timestamp() ELSE ended_at END,"
    " answer_code = coalesce(nullif(:code, ''), answer_code),"
    " error = coalesce(nullif(:error, ''), error),"
    " provider_message_id = coalesce(nullif(:provider_id, ''), provider_message_id),"
    " answers = coalesce(answers, '{}') || CAST(:answers AS jsonb)"
    " WHERE id = :id",
)


def _mark_answered(
    connection: Connection,
    settlement: GroupSettlement,
    attempt: Any,
    answers: Mapping[int, MemberAnswer],
) -> None:
    letters = list(attempt.members)
    for position, answer in answers.items():
        letters[position] = answer.letter.value
    members = "".join(letters)
    is_done = attempt.state == AttemptState.CLAIMED and CLAIMED_LETTER not in members
    _MARK_ANSWERED.run(
        connection,
        {
            "id": settlement.attempt_id,
            "members": members,
            "done": is_done,
            "settled": AttemptState.SETTLED,
            "code": settlement.code,
            "error": settlement.error,
            "provider_id": settlement.provider_message_id,
            "answers": orjson.dumps(
                {
                    str(position): _words(settlement.said[position])
                    for position in answers
                    if position in settlement.said
                }
            ).decode(),
        },
    )


def _words(answer: Answer) -> dict[str, str]:
    said = {"id": answer.provider_message_id, "code": answer.code, "detail": answer.detail}
    return {name: word for name, word in said.items() if word}

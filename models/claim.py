"""CLAIM: nothing is handed to a provider before a committed attempt lists it."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from enum import StrEnum

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError

from domain.cap import Cap
from domain.eligibility import OverCap
from domain.outcome import Outcome
from domain.send import AccountState, AttemptState
from models.caps import CapMember, over_caps, take_caps
from models.counts import lock_batch
from models.database import clock, in_transaction, is_connection_lost
from models.delivery_rows import PART, STEP
from models.hold import HOLD_ON_SEND
from models.lease import CLAIMED_LETTER, unanswered

NOT_A_MEMBER = "-"

_TESTS = f"""
    SELECT b.epoch = :epoch AS mine, s.state, s.expires_at <= clock_timestamp() AS expired,
           a.state <> '{AccountState.UP}' AS account_refused,
           a.breaker_until IS NOT NULL AND NOT CAST(:is_probe AS boolean) AS breaker_open,
           EXISTS (SELECT 1 FROM hold h WHERE h.released_at IS NULL AND {HOLD_ON_SEND}) AS held
    FROM batch b JOIN send s ON s.id = b.send_id JOIN provider_account a ON a.id = s.account_id
    WHERE b.send_id = :send AND b.lo = :lo
"""  # noqa: S608  only constants of ours are put in


class Refusal(StrEnum):
    """Why a claim was not committed: which of its tests failed."""

    TAKEN = "taken"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    PAUSED = "paused"
    ACCOUNT = "account"
    BREAKER = "breaker"
    """Too much failed on its account lately; a probe closes it again."""
    HELD = "held"


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What a driver wants to put on the wire under one attempt."""

    attempt_id: int
    send_id: int
    batch_lo: int
    epoch: int
    account_id: int
    worker: str
    fresh: Sequence[int]
    """Ordinals without a delivery row, ascending."""
    again: Sequence[int]
    """Ordinals whose row said owed or unknown when it was read, ascending."""
    call_within: timedelta
    answer_within: timedelta
    caps: Sequence[Cap] = ()
    cap_members: Sequence[CapMember] = ()
    """Where there are caps: all of `fresh` and `again`."""
    is_probe: bool = False
    """Of an account whose breaker is open: one message that may go all the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """The committed attempt's members: `again` without those whose row has moved on."""

    fresh: list[int]
    again: list[int]
    over_cap: Mapping[int, OverCap] = field(default_factory=dict)
    """Members that were left out: one more message would be more than a cap allows."""


def commit_claim(engine: Engine, claim: Claim) -> Claimed | Refusal:
    """Commit the claim, or say which test refused it.

    When the reply of the COMMIT is lost it is looked up by the attempt's id after locking the batch,
    which waits for a COMMIT still under way; it is never repeated blindly.
    """
    try:
        return in_transaction(engine, lambda connection: _claim(connection, claim))
    except DBAPIError as error:
        if not is_connection_lost(error):
            raise
    return in_transaction(engine, lambda connection: _look_up(connection, claim))


def _claim(connection: Connection, claim: Claim) -> Claimed | Refusal:
    again = _still_open(connection, claim)
    if not claim.caps:
        return _insert(connection, claim, claim.fresh, again)
    _share_batch(connection, claim)
    with connection.begin_nested() as counting:
        over = _take_caps(connection, claim, {*claim.fresh, *again})
        said = _insert(
            connection,
            claim,
            [ordinal for ordinal in claim.fresh if ordinal not in over],
            [ordinal for ordinal in again if ordinal not in over],
        )
        if isinstance(said, Refusal):
            counting.rollback()
            return said
    return replace(said, over_cap=over)


def _take_caps(connection: Connection, claim: Claim, ordinals: set[int]) -> dict[int, OverCap]:
    members = [member for member in claim.cap_members if member.ordinal in ordinals]
    return take_caps(connection, claim.send_id, members, claim.caps, clock(connection))


def _insert(
    connection: Connection, claim: Claim, fresh: Sequence[int], again: list[int]
) -> Claimed | Refusal:
    """The attempt with these members, if all tests pass in the statement that inserts it."""
    if not fresh and not again:
        return _refusal(connection, claim) or Claimed(fresh=[], again=[])
    lo, members = _letters(fresh, again)
    inserted = connection.execute(
        # Without FOR SHARE a zombie slips in between the test of the epoch and the insert.
        text(
            "INSERT INTO attempt (id, send_id, batch_lo, step, account_id, lo, members, state,"  # noqa: S608  constants
            " epoch, worker, claimed_at, call_by, answer_by)"
            " SELECT :id, :send, :lo, :step, :account, :first, :members, :claimed, :epoch, :worker,"
            " clock_timestamp(), clock_timestamp() + :call_within, clock_timestamp() + :answer_within"
            f" FROM ({_TESTS} FOR SHARE OF b) AS tests"
            " WHERE mine AND state = 'running' AND NOT expired AND NOT held AND NOT account_refused"
            " AND NOT breaker_open"
        ),
        {
            **_keys(claim),
            "id": claim.attempt_id,
            "step": STEP,
            "account": claim.account_id,
            "first": lo,
            "members": members,
            "claimed": AttemptState.CLAIMED,
            "worker": claim.worker,
            "call_within": claim.call_within,
            "answer_within": claim.answer_within,
        },
    )
    if inserted.rowcount == 0:
        return _refusal(connection, claim) or Refusal.TAKEN
    return Claimed(fresh=list(fresh), again=again)


def _still_open(connection: Connection, claim: Claim) -> list[int]:
    """Those of `again` whose row still says owed or unknown; locked, after the batch."""
    if not claim.again:
        return []
    _share_batch(connection, claim)
    return list(
        connection.execute(
            text(
                "SELECT ordinal FROM delivery WHERE send_id = :send AND ordinal = ANY(:again)"
                " AND step = :step AND part = :part AND outcome IN (:owed, :unknown)"
                " ORDER BY ordinal FOR NO KEY UPDATE"
            ),
            {
                "send": claim.send_id,
                "again": list(claim.again),
                "step": STEP,
                "part": PART,
                "owed": int(Outcome.OWED),
                "unknown": int(Outcome.UNKNOWN),
            },
        ).scalars()
    )


def _share_batch(connection: Connection, claim: Claim) -> None:
    """Lock the batch before anything that its owner may lock after it."""
    connection.execute(
        text("SELECT 1 FROM batch WHERE send_id = :send AND lo = :lo AND epoch = :epoch FOR SHARE"),
        _keys(claim),
    )


def _refusal(connection: Connection, claim: Claim) -> Refusal | None:
    """Which test fails now, most decisive first; None: all pass (what failed has just ended)."""
    tests = connection.execute(text(_TESTS), _keys(claim)).one()
    failed = {
        Refusal.TAKEN: not tests.mine,
        Refusal.CANCELLED: tests.state == "cancelled",
        Refusal.EXPIRED: tests.expired,
        Refusal.PAUSED: tests.state != "running",
        Refusal.ACCOUNT: tests.account_refused,
        Refusal.BREAKER: tests.breaker_open,
        Refusal.HELD: tests.held,
    }
    return next((refusal for refusal, is_failed in failed.items() if is_failed), None)


def _look_up(connection: Connection, claim: Claim) -> Claimed | Refusal:
    batch = lock_batch(connection, claim.send_id, claim.batch_lo)
    attempt = connection.execute(
        text("SELECT lo, members, state FROM attempt WHERE id = :id"), {"id": claim.attempt_id}
    ).one_or_none()
    if attempt is None:
        if batch.epoch != claim.epoch:
            return Refusal.TAKEN
        return _claim(connection, claim)
    if attempt.state != AttemptState.CLAIMED:
        return Refusal.TAKEN
    members = set(unanswered(attempt.lo, attempt.members))
    left_out = [member for member in claim.cap_members if member.ordinal not in members]
    return Claimed(
        fresh=[ordinal for ordinal in claim.fresh if ordinal in members],
        again=[ordinal for ordinal in claim.again if ordinal in members],
        over_cap=over_caps(connection, claim.send_id, left_out, claim.caps, clock(connection)),
    )


def _letters(fresh: Sequence[int], again: Sequence[int]) -> tuple[int, str]:
    members = sorted([*fresh, *again])
    lo, hi = members[0], members[-1]
    if len(members) == hi - lo + 1:
        return lo, CLAIMED_LETTER * len(members)
    letters = [NOT_A_MEMBER] * (hi - lo + 1)
    for ordinal in members:
        letters[ordinal - lo] = CLAIMED_LETTER
    return lo, "".join(letters)


def _keys(claim: Claim) -> dict[str, object]:
    return {
        "send": claim.send_id,
        "lo": claim.batch_lo,
        "epoch": claim.epoch,
        "is_probe": claim.is_probe,
    }


class AttemptIds:
    """Ids for attempts, made before they are inserted: milliseconds, then this driver's lane.

    A lane is a number of 10 bits from a sequence of the database, so no two living drivers share
    one unless more than 1,024 live; the primary key would refuse the second.
    """

    def __init__(self, lane: int) -> None:
        """`lane`: from `next_lane`."""
        self._lane = lane % 1024
        self._last_ms = 0
        self._count = 0
        self._lock = threading.Lock()

    def next(self) -> int:
        """A new id; at most 1,024 a millisecond, then it borrows from the next one."""
        with self._lock:
            return self._next()

    def _next(self) -> int:
        now_ms = max(time.time_ns() // 1_000_000, self._last_ms)
        if now_ms == self._last_ms and self._count == 1023:
            now_ms += 1
        self._count = self._count + 1 if now_ms == self._last_ms else 0
        self._last_ms = now_ms
        return now_ms << 20 | self._lane << 10 | self._count


def next_lane(connection: Connection) -> int:
    """A lane for a driver's attempt ids."""
    lane: int = connection.execute(text("SELECT nextval('driver_lane')")).scalar_one()
    return lane

"""CLAIM for single messages: an attempt lists its members; each is tested for itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from domain.cap import Cap
from domain.outcome import Outcome
from domain.send import AttemptState
from models.caps import CapMember, take_caps
from models.claim import Refusal
from models.database import clock, in_transaction, is_connection_lost
from models.group_rows import MemberKey, lock_member_rows
from models.hold import HOLD_ON_SEND
from models.lease import CLAIMED_LETTER
from models.message_group import GroupLease, lock_group
from models.prepared import Prepared, one


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupClaim:
    """What a driver wants to put on the wire under one attempt: one step, one account."""

    attempt_id: int
    lease: GroupLease
    account_id: int
    step: int
    worker: str
    members: Sequence[MemberKey]
    having_row: frozenset[MemberKey]
    """Members whose row said owed or unknown when it was read."""
    call_within: timedelta
    answer_within: timedelta
    caps: Mapping[int, Sequence[Cap]] = field(default_factory=dict)
    """Frequency caps by send, where there are any; `cap_members` are their members."""
    cap_members: Mapping[MemberKey, CapMember] = field(default_factory=dict)
    is_probe: bool = False
    """Of an account whose breaker is open: one message that may go all the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupClaimed:
    """The committed attempt's members in order, and why the others were left out.

    Who is over a frequency cap is neither: FACTS, asked again, says until when.
    """

    members: list[MemberKey]
    refused: Mapping[MemberKey, Refusal]


def commit_group_claim(engine: Engine, claim: GroupClaim) -> GroupClaimed | Refusal:
    """Commit the claim of those members who pass, or say what refuses all of them.

    A COMMIT whose reply was lost is looked up by the attempt's id after locking the group.
    """
    try:
        return in_transaction(engine, lambda connection: _claim(connection, claim))
    except DBAPIError as error:
        if not is_connection_lost(error):
            raise
    return in_transaction(engine, lambda connection: _look_up(connection, claim))


_TESTS = f"""
    SELECT x.send_id, x.ordinal, s.state, s.expires_at <= clock_timestamp() AS is_expired,
           EXISTS (SELECT 1 FROM hold h WHERE h.released_at IS NULL AND {HOLD_ON_SEND}) AS is_held,
           a.state <> 'up' OR EXISTS (SELECT 1 FROM hold h WHERE h.released_at IS NULL
               AND h.scope = 'account' AND h.scope_id = a.id) AS is_account_down,
           a.breaker_until IS NOT NULL AND NOT CAST(:is_probe AS boolean) AS is_breaker_open
    FROM message_group g
    CROSS JOIN unnest(CAST(:sends AS bigint[]), CAST(:ordinals AS integer[])) AS x(send_id, ordinal)
    {one("send", "id = x.send_id", "s")}
    {one("provider_account", "id = :account", "a")}
    WHERE g.id = :group AND g.epoch = :epoch
    FOR SHARE OF g
"""  # noqa: S608  only constants of ours are put in


_CLAIM = Prepared("group_claim_claim", _TESTS)


def _claim(connection: Connection, claim: GroupClaim) -> GroupClaimed | Refusal:
    # Without FOR SHARE a zombie slips in between the test of the epoch and the insert.
    tests = _CLAIM.run(
        connection,
        {
            "sends": [key.send_id for key in claim.members],
            "ordinals": [key.ordinal for key in claim.members],
            "account": claim.account_id,
            "group": claim.lease.group_id,
            "epoch": claim.lease.epoch,
            "is_probe": claim.is_probe,
        },
    ).all()
    if not tests:
        return Refusal.TAKEN
    if tests[0].is_account_down:
        return Refusal.ACCOUNT
    if tests[0].is_breaker_open:
        return Refusal.BREAKER
    refused: dict[MemberKey, Refusal] = {}
    for test in tests:
        if refusal := _refusal(test.state, is_expired=test.is_expired, is_held=test.is_held):
            refused[MemberKey(test.send_id, test.ordinal, claim.step)] = refusal
    members = _within_caps(connection, claim, _still_open(connection, claim, refused))
    if members:
        _insert(connection, claim, members)
    return GroupClaimed(members=members, refused=refused)


def _refusal(state: str, *, is_expired: bool, is_held: bool) -> Refusal | None:
    """Which test of a member's send fails, most decisive first."""
    failed = {
        Refusal.CANCELLED: state == "cancelled",
        Refusal.EXPIRED: is_expired,
        Refusal.PAUSED: state != "running",
        Refusal.HELD: is_held,
    }
    return next((refusal for refusal, is_failed in failed.items() if is_failed), None)


def _still_open(
    connection: Connection, claim: GroupClaim, refused: Mapping[MemberKey, Refusal]
) -> list[MemberKey]:
    """Members that may go: without a row, or with one that still says owed or unknown."""
    may_go = [key for key in claim.members if key not in refused]
    rows = lock_member_rows(connection, [key for key in may_go if key in claim.having_row])
    is_open = (Outcome.OWED, Outcome.UNKNOWN)
    return [
        key
        for key in may_go
        if key not in claim.having_row or (key in rows and rows[key].outcome in is_open)
    ]


def _within_caps(
    connection: Connection, claim: GroupClaim, members: Sequence[MemberKey]
) -> list[MemberKey]:
    """Those whom no frequency cap stops; they are counted now, send by send."""
    over: set[MemberKey] = set()
    for send_id, caps in sorted(claim.caps.items()):
        mine = {key.ordinal: key for key in members if key.send_id == send_id}
        counted = [claim.cap_members[key] for key in mine.values()]
        now = clock(connection)
        over |= {mine[n] for n in take_caps(connection, send_id, counted, caps, now)}
    return [key for key in members if key not in over]


_INSERT = Prepared(
    "group_claim_insert",
    "INSERT INTO attempt (id, group_id, batch_lo, step, account_id, lo, sends, ordinals,"
    " members, state, epoch, worker, claimed_at, call_by, answer_by)"
    " VALUES (:id, :group, 0, :step, :account, 0, CAST(:sends AS bigint[]),"
    " CAST(:ordinals AS integer[]), :members, :claimed, :epoch, :worker, clock_timestamp(),"
    " clock_timestamp() + :call_within, clock_timestamp() + :answer_within)",
)


def _insert(connection: Connection, claim: GroupClaim, members: Sequence[MemberKey]) -> None:
    _INSERT.run(
        connection,
        {
            "id": claim.attempt_id,
            "group": claim.lease.group_id,
            "step": claim.step,
            "account": claim.account_id,
            "sends": [key.send_id for key in members],
            "ordinals": [key.ordinal for key in members],
            "members": CLAIMED_LETTER * len(members),
            "claimed": AttemptState.CLAIMED,
            "epoch": claim.lease.epoch,
            "worker": claim.worker,
            "call_within": claim.call_within,
            "answer_within": claim.answer_within,
        },
    )


_LOOK_UP = Prepared(
    "group_claim_look_up", "SELECT sends, ordinals, state FROM attempt WHERE id = :id"
)


def _look_up(connection: Connection, claim: GroupClaim) -> GroupClaimed | Refusal:
    group = lock_group(connection, claim.lease.group_id)
    attempt = _LOOK_UP.run(connection, {"id": claim.attempt_id}).one_or_none()
    if group.epoch != claim.lease.epoch:
        return Refusal.TAKEN
    if attempt is None:
        return _claim(connection, claim)
    if attempt.state != AttemptState.CLAIMED:
        return Refusal.TAKEN
    listed = [
        MemberKey(send, ordinal, claim.step)
        for send, ordinal in zip(attempt.sends, attempt.ordinals, strict=True)
    ]
    return GroupClaimed(members=listed, refused={})

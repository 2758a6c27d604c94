"""Why a single message waits and until when: said by the rules that make it wait, never stored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import assert_never

from domain.eligibility import Defer, Send, Skip, Verdict
from domain.outcome import Outcome
from domain.standing import Becomes, Done, LastRow, Owed, Standing, Waits


class Why(StrEnum):
    """What a message waits for. The first five are the reasons of `domain.eligibility`."""

    SCHEDULED = "scheduled"
    LOCAL_TIME = "local_time"
    QUIET_HOURS = "quiet_hours"
    OUTSIDE_WINDOW = "outside_window"
    CAPPED = "capped"
    PROOF = "proof"
    """Its answer was lost: what came of it is looked up before it is decided."""
    READER = "reader"
    """Accepted; the next step of its plan follows unless it is read."""
    ACCOUNT = "account"
    """No account that can take it is up."""
    HOLD = "hold"
    RETRY = "retry"
    """The provider was away or the rate is used up; or it is looked at again in any case."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """A message waits."""

    why: Why
    until: datetime | None
    """None: until somebody ends what stops it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Around:
    """What stands around a message when it may go by the rules."""

    has_account: bool
    holds: Sequence[str]
    again_at: datetime | None
    """When its group, or a gatherer, looks at it again."""
    now: datetime


def waiting(
    stands: Standing, last: LastRow | None, verdict: Verdict, around: Around
) -> Waiting | None:
    """Why it waits; None: it is on its way, or about to end. Asked in the order of a driver's pass."""
    match stands:
        case Waits(until):
            is_read_for = last is not None and last.outcome is Outcome.ACCEPTED
            return Waiting(why=Why.READER if is_read_for else Why.PROOF, until=until)
        case Becomes() | Done():
            return None
        case Owed():
            return _owed(verdict, around)
        case _ as never:
            assert_never(never)


def _owed(verdict: Verdict, around: Around) -> Waiting | None:
    match verdict:
        case Defer(until, reason):
            return Waiting(why=Why(reason.word), until=until)
        case Skip():
            return None
        case Send():
            return _stopped(around)
        case _ as never:
            assert_never(never)


def _stopped(around: Around) -> Waiting | None:
    if not around.has_account:
        return Waiting(why=Why.ACCOUNT, until=None)
    if around.holds:
        return Waiting(why=Why.HOLD, until=None)
    if around.again_at is not None and around.again_at > around.now:
        return Waiting(why=Why.RETRY, until=around.again_at)
    return None

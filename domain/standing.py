"""Where a message stands by its last delivery row, and what happens next to it (DESIGN §5)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from domain.outcome import Outcome, Progress, Reason
from domain.plan import FALLS_BACK, Step
from domain.send import OnUnknown


@dataclass(frozen=True, slots=True, kw_only=True)
class LastRow:
    """The delivery row of the step where a message stands."""

    step: int
    """1-based, as in the key."""
    outcome: Outcome
    reason: Reason
    tries: int
    progress: Progress
    decide_at: datetime | None


@dataclass(frozen=True, slots=True)
class Owed:
    """It is to be sent on this step of its plan."""

    step: int
    has_row: bool


@dataclass(frozen=True, slots=True)
class Waits:
    """Proof, or a reader, may come until then."""

    until: datetime


@dataclass(frozen=True, slots=True)
class Becomes:
    """Decided without a call: the row of `step` gets this outcome, and `enters_next` makes the next owed."""

    step: int
    outcome: Outcome
    enters_next: bool


@dataclass(frozen=True, slots=True)
class Done:
    """Nothing more happens without somebody asking."""


Standing = Owed | Waits | Becomes | Done


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What a send says about its messages."""

    plan: tuple[Step, ...]
    on_unknown: OnUnknown
    max_tries: int
    ended_as: Outcome | None = None
    """CANCELLED or EXPIRED once the send has ended."""


def standing(row: LastRow | None, policy: Policy, now: datetime) -> Standing:
    """What is next for a message with this last row (None: it stands at step 1, never tried)."""
    if row is None:
        if policy.ended_as is not None:
            return Becomes(1, policy.ended_as, enters_next=False)
        return Owed(1, has_row=False)
    match row.outcome:
        case Outcome.OWED:
            return _owed(row, policy)
        case Outcome.UNKNOWN:
            return _unknown(row, policy, now)
        case Outcome.ACCEPTED if row.decide_at is not None:
            return _awaited(row, policy, now)
        case _:
            return Done()


def falls_to_next(outcome: Outcome, reason: Reason, plan: tuple[Step, ...], step: int) -> bool:
    """Whether a step that came out like this is followed by the next one of the plan."""
    if step >= len(plan):
        return False
    if outcome is Outcome.SKIPPED:
        return reason in FALLS_BACK
    return outcome in (Outcome.REJECTED, Outcome.UNCONFIRMED)


def _owed(row: LastRow, policy: Policy) -> Standing:
    if policy.ended_as is None:
        return Owed(row.step, has_row=True)
    outcome = policy.ended_as if row.tries == 0 else Outcome.UNCONFIRMED
    return Becomes(row.step, outcome, enters_next=False)


def _unknown(row: LastRow, policy: Policy, now: datetime) -> Standing:
    if row.decide_at is not None and row.decide_at > now:
        return Waits(row.decide_at)
    is_ended = policy.ended_as is not None
    resends = policy.on_unknown is OnUnknown.RESEND and row.tries < policy.max_tries
    if resends and not is_ended:
        return Owed(row.step, has_row=True)
    follows = not is_ended and row.step < len(policy.plan)
    return Becomes(row.step, Outcome.UNCONFIRMED, enters_next=follows)


def _awaited(row: LastRow, policy: Policy, now: datetime) -> Standing:
    """Accepted, and the plan waits for a reader."""
    wait_for = policy.plan[row.step - 1].wait_for
    is_reached = wait_for is None or row.progress.reaches(wait_for)
    if is_reached or policy.ended_as is not None:
        return Becomes(row.step, Outcome.ACCEPTED, enters_next=False)
    if row.decide_at is not None and row.decide_at > now and row.progress is not Progress.BOUNCED:
        return Waits(row.decide_at)
    return Becomes(row.step, Outcome.ACCEPTED, enters_next=True)

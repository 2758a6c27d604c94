"""Where a message stands by its last row, and what is next for it (DESIGN §5)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from domain.outcome import Outcome, Progress, Reason
from domain.plan import parse_plan
from domain.send import OnUnknown
from domain.standing import (
    Becomes,
    Done,
    LastRow,
    Owed,
    Policy,
    Standing,
    Waits,
    falls_to_next,
    standing,
)

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
LATER, BEFORE = NOW + timedelta(minutes=1), NOW - timedelta(seconds=1)


def a_row(outcome: Outcome, **given: Any) -> LastRow:
    defaults: dict[str, Any] = {
        "step": 1,
        "reason": Reason.NONE,
        "tries": 0,
        "progress": Progress.NONE,
        "decide_at": None,
    }
    return LastRow(outcome=outcome, **{**defaults, **given})


def a_policy(plan: str = "sms,email", **given: Any) -> Policy:
    defaults: dict[str, Any] = {"on_unknown": OnUnknown.RESEND, "max_tries": 3}
    return Policy(plan=parse_plan(plan), **{**defaults, **given})


RESEND, LEAVE = a_policy(), a_policy(on_unknown=OnUnknown.LEAVE)
CANCELLED = a_policy(ended_as=Outcome.CANCELLED)
READ = a_policy("in_app:read/1h,email")
UNKNOWN = {"tries": 1, "decide_at": BEFORE}


@pytest.mark.parametrize(
    ("row", "policy", "expected"),
    [
        (None, RESEND, Owed(1, has_row=False)),
        (None, CANCELLED, Becomes(1, Outcome.CANCELLED, enters_next=False)),
        (a_row(Outcome.OWED, step=2), RESEND, Owed(2, has_row=True)),
        (a_row(Outcome.OWED), CANCELLED, Becomes(1, Outcome.CANCELLED, enters_next=False)),
        (
            a_row(Outcome.OWED, tries=1),
            CANCELLED,
            Becomes(1, Outcome.UNCONFIRMED, enters_next=False),
        ),
        (a_row(Outcome.UNKNOWN, tries=1, decide_at=LATER), RESEND, Waits(LATER)),
        (a_row(Outcome.UNKNOWN, **UNKNOWN), RESEND, Owed(1, has_row=True)),
        (
            a_row(Outcome.UNKNOWN, tries=3, decide_at=BEFORE),
            RESEND,
            Becomes(1, Outcome.UNCONFIRMED, enters_next=True),
        ),
        (
            a_row(Outcome.UNKNOWN, **UNKNOWN),
            LEAVE,
            Becomes(1, Outcome.UNCONFIRMED, enters_next=True),
        ),
        (
            a_row(Outcome.UNKNOWN, step=2, **UNKNOWN),
            LEAVE,
            Becomes(2, Outcome.UNCONFIRMED, enters_next=False),
        ),
        (
            a_row(Outcome.UNKNOWN, **UNKNOWN),
            CANCELLED,
            Becomes(1, Outcome.UNCONFIRMED, enters_next=False),
        ),
        (a_row(Outcome.ACCEPTED), RESEND, Done()),
        (a_row(Outcome.ACCEPTED, decide_at=LATER), READ, Waits(LATER)),
        (
            a_row(Outcome.ACCEPTED, decide_at=BEFORE),
            READ,
            Becomes(1, Outcome.ACCEPTED, enters_next=True),
        ),
        (
            a_row(Outcome.ACCEPTED, decide_at=LATER, progress=Progress.READ),
            READ,
            Becomes(1, Outcome.ACCEPTED, enters_next=False),
        ),
        (
            a_row(Outcome.ACCEPTED, decide_at=LATER, progress=Progress.BOUNCED),
            READ,
            Becomes(1, Outcome.ACCEPTED, enters_next=True),
        ),
        (a_row(Outcome.REJECTED, reason=Reason.RECIPIENT_REFUSED), RESEND, Done()),
        (a_row(Outcome.SKIPPED, reason=Reason.ERASED), RESEND, Done()),
    ],
)
def test_what_is_next_follows_from_row_policy_and_clock(
    row: LastRow | None, policy: Policy, expected: Standing
) -> None:
    assert standing(row, policy, NOW) == expected


@pytest.mark.parametrize(
    ("outcome", "reason", "follows"),
    [
        (Outcome.REJECTED, Reason.RECIPIENT_REFUSED, True),
        (Outcome.SKIPPED, Reason.NO_CONTACT_POINT, True),
        (Outcome.SKIPPED, Reason.SUPPRESSED, True),
        (Outcome.SKIPPED, Reason.LEFT, True),
        (Outcome.SKIPPED, Reason.ERASED, False),
        (Outcome.UNCONFIRMED, Reason.NONE, True),
        (Outcome.ACCEPTED, Reason.NONE, False),
        (Outcome.EXPIRED, Reason.NONE, False),
        (Outcome.CANCELLED, Reason.NONE, False),
    ],
)
def test_the_next_step_follows_what_is_about_the_channel(
    outcome: Outcome, reason: Reason, follows: bool
) -> None:
    plan = parse_plan("sms,email")

    assert falls_to_next(outcome, reason, plan, 1) is follows
    assert not falls_to_next(outcome, reason, plan, 2)

"""Why a message waits: the first thing that would stop a driver's pass."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from domain.eligibility import RULES, Defer, Send, Skip, Verdict
from domain.outcome import Outcome, Progress, Reason
from domain.standing import Becomes, Done, LastRow, Owed, Standing, Waits
from domain.waiting import Around, Waiting, Why, waiting

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)
OWED = Owed(1, has_row=False)
HELD = ("team: audit (ada)",)


def row(outcome: Outcome) -> LastRow:
    return LastRow(
        step=1,
        outcome=outcome,
        reason=Reason.NONE,
        tries=1,
        progress=Progress.NONE,
        decide_at=LATER,
    )


def around(
    *, has_account: bool = True, holds: tuple[str, ...] = (), again_at: datetime | None = None
) -> Around:
    return Around(has_account=has_account, holds=holds, again_at=again_at, now=NOW)


@pytest.mark.parametrize(
    ("verdict", "circumstances", "expected"),
    [
        (Send(), around(), None),
        (Send(), around(again_at=NOW), None),
        (Send(), around(again_at=LATER), Waiting(why=Why.RETRY, until=LATER)),
        (Send(), around(holds=HELD, again_at=LATER), Waiting(why=Why.HOLD, until=None)),
        (Send(), around(has_account=False, holds=HELD), Waiting(why=Why.ACCOUNT, until=None)),
        (
            Defer(LATER, Reason.LOCAL_TIME),
            around(has_account=False, holds=HELD),
            Waiting(why=Why.LOCAL_TIME, until=LATER),
        ),
        (Skip(Reason.SUPPRESSED), around(holds=HELD), None),
    ],
)
def test_who_is_owed_waits_for_the_first_thing_that_stops_them(
    verdict: Verdict, circumstances: Around, expected: Waiting | None
) -> None:
    assert waiting(OWED, None, verdict, circumstances) == expected


@pytest.mark.parametrize(
    ("stands", "outcome", "expected"),
    [
        (Waits(LATER), Outcome.UNKNOWN, Waiting(why=Why.PROOF, until=LATER)),
        (Waits(LATER), Outcome.ACCEPTED, Waiting(why=Why.READER, until=LATER)),
        (Becomes(1, Outcome.EXPIRED, enters_next=False), Outcome.OWED, None),
        (Done(), Outcome.ACCEPTED, None),
    ],
)
def test_who_was_tried_waits_for_proof_or_a_reader(
    stands: Standing, outcome: Outcome, expected: Waiting | None
) -> None:
    assert waiting(stands, row(outcome), Send(), around(holds=HELD)) == expected


def test_every_reason_to_wait_has_a_word() -> None:
    defers = {
        Reason.SCHEDULED,
        Reason.LOCAL_TIME,
        Reason.QUIET_HOURS,
        Reason.OUTSIDE_WINDOW,
        Reason.CAPPED,
    }
    assert {reason.word for reason in defers} <= set(Why)
    assert defers <= {each.reason for each in RULES}

"""kill -9 at every named moment of the protocol, with the exact outcome each must have.

One flight of 100 people, so that what is open at the kill is known exactly.
"""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import make_url

from activities.fail_points import FailPoint
from domain.outcome import Outcome
from domain.send import OnUnknown
from tests.builders import Draft
from tests.pg_proxy import CommitEater
from tests.scenario import Scenario, wait_until

PEOPLE = 100
EVERYBODY = set(range(1, PEOPLE + 1))
ONCE = Counter(dict.fromkeys(EVERYBODY, 1))
TWICE = Counter(dict.fromkeys(EVERYBODY, 2))
NOBODY: Counter[int] = Counter()

MakeScenario = Callable[..., Scenario]


def run_and_fail(made: Scenario, point: FailPoint, policy: OnUnknown) -> dict[str, object]:
    """The report of a campaign whose worker killed itself at `point`; another one finished it."""
    failing, other = "campaign", "orchestration,upkeep"
    if point in (FailPoint.FREEZING, FailPoint.CLOSING):
        failing, other = other, failing
    made.workers.start("other", other)
    made.workers.start("failing", failing, fail_at=(point, 1))
    made.begin(Draft(people=PEOPLE, on_unknown=policy))
    made.workers.wait_dead("failing")
    made.workers.start("next", failing)
    return made.wait_closed()


@pytest.mark.parametrize(
    ("point", "policy", "copies", "outcome", "attempts"),
    [
        # Nothing was claimed: nobody is in doubt.
        (FailPoint.FREEZING, OnUnknown.LEAVE, ONCE, Outcome.ACCEPTED, "settled"),
        (FailPoint.BEFORE_CLAIM, OnUnknown.LEAVE, ONCE, Outcome.ACCEPTED, "settled"),
        # Claimed and not settled: nobody can know, whether it left or not.
        (FailPoint.CLAIMED, OnUnknown.LEAVE, NOBODY, Outcome.UNCONFIRMED, "abandoned"),
        (FailPoint.CLAIMED, OnUnknown.RESEND, ONCE, Outcome.ACCEPTED, "abandoned,settled"),
        (FailPoint.ANSWERED, OnUnknown.LEAVE, ONCE, Outcome.UNCONFIRMED, "abandoned"),
        (FailPoint.ANSWERED, OnUnknown.RESEND, TWICE, Outcome.ACCEPTED, "abandoned,settled"),
        # Settled: whatever dies afterwards, nobody is sent to again.
        (FailPoint.SETTLED, OnUnknown.RESEND, ONCE, Outcome.ACCEPTED, "settled"),
        (FailPoint.RETURNING, OnUnknown.RESEND, ONCE, Outcome.ACCEPTED, "settled"),
        (FailPoint.CLOSING, OnUnknown.RESEND, ONCE, Outcome.ACCEPTED, "settled"),
    ],
)
def test_a_worker_killed_at_a_fail_point_leaves_exactly_this(
    make_scenario: MakeScenario,
    point: FailPoint,
    policy: OnUnknown,
    copies: Counter[int],
    outcome: Outcome,
    attempts: str,
) -> None:
    made = make_scenario()

    report = run_and_fail(made, point, policy)

    assert report["balanced"], report["problems"]
    assert made.copies() == copies
    assert made.ordinals(outcome) == EVERYBODY
    assert made.value("SELECT string_agg(state, ',' ORDER BY id) FROM attempt") == attempts


@pytest.mark.parametrize("policy", list(OnUnknown))
def test_a_worker_killed_with_its_request_on_the_wire(
    make_scenario: MakeScenario, policy: OnUnknown
) -> None:
    made = make_scenario()
    made.simulator.faults(
        {"provider": "sendgrid", "kind": "latency", "seconds": 2, "at_request": [1]}
    )
    made.start_workers()
    made.begin(Draft(people=PEOPLE, on_unknown=policy))
    made.wait_received(PEOPLE)

    made.workers.kill("campaign-1")
    made.workers.start("next", "campaign")
    report = made.wait_closed()

    assert report["balanced"], report["problems"]
    if policy is OnUnknown.LEAVE:
        assert (made.copies(), made.ordinals(Outcome.UNCONFIRMED)) == (ONCE, EVERYBODY)
    else:
        assert (made.copies(), made.ordinals(Outcome.ACCEPTED)) == (TWICE, EVERYBODY)
    assert made.explained_repeats() == ONCE


@pytest.mark.parametrize("marker", ["INSERT INTO attempt", "UPDATE attempt SET members"])
def test_a_commit_whose_reply_was_lost_is_looked_up_and_nobody_is_in_doubt(
    make_scenario: MakeScenario, run_dir: Path, marker: str
) -> None:
    made = make_scenario()
    server = Path(str(made.engine.url.query["host"])) / f".s.PGSQL.{made.engine.url.query['port']}"
    folder = run_dir / f"proxy-{made.engine.url.database}"
    folder.mkdir()
    eater = CommitEater(folder, server)
    through = make_url(made.settings.database_url).update_query_dict({"host": str(folder)})
    made.start_workers(database_url=through.render_as_string(hide_password=False))

    eater.arm(marker)
    made.begin(Draft(people=PEOPLE))
    report = made.wait_closed()

    eater.close()
    assert eater.eaten == 1
    assert report["balanced"], report["problems"]
    assert made.copies() == ONCE
    assert made.ordinals(Outcome.ACCEPTED) == EVERYBODY
    assert made.values("SELECT state FROM attempt") == ["settled"]


def test_a_zombie_that_wakes_after_its_lease_sends_nothing_and_its_answer_still_counts(
    make_scenario: MakeScenario,
) -> None:
    made = make_scenario(request_timeout=100.0)
    made.simulator.faults(
        {"provider": "sendgrid", "kind": "latency", "seconds": 1, "at_request": [1]}
    )
    made.start_workers()
    made.begin(Draft(people=PEOPLE, on_unknown=OnUnknown.RESEND))
    made.wait_received(PEOPLE)
    made.workers.signal("campaign-1", signal.SIGSTOP)
    made.workers.start("campaign-2", "campaign")
    # Temporal may hand the retry to the stopped worker's open polls first, once each.
    wait_until(lambda: made.ordinals(Outcome.UNKNOWN) == EVERYBODY, 90)

    made.workers.signal("campaign-1", signal.SIGCONT)
    wait_until(lambda: made.ordinals(Outcome.ACCEPTED) == EVERYBODY, 20)

    assert made.values("SELECT state || left(members, 1) FROM attempt") == ["abandoneda"]
    assert made.copies() == ONCE
    report = made.report()
    assert report["balanced"], report["problems"]


def test_a_straggler_stays_claimed_while_the_next_flights_go(make_scenario: MakeScenario) -> None:
    made = make_scenario(messages_per_request=1)
    made.simulator.faults(
        {"provider": "sendgrid", "kind": "latency", "seconds": 3, "at_request": [1]}
    )
    made.start_workers()
    made.begin(Draft(people=PEOPLE))

    wait_until(lambda: len(made.ordinals(Outcome.ACCEPTED)) == PEOPLE - 1, 20)
    open_attempts = made.values(
        "SELECT replace(members, 'a', '') FROM attempt WHERE state = 'claimed'"
    )
    report = made.wait_closed()

    assert open_attempts == ["?"]
    assert made.copies() == ONCE
    assert report["balanced"], report["problems"]


def test_cancelling_with_unknown_people_ends_them_as_unconfirmed(
    make_scenario: MakeScenario,
) -> None:
    made = make_scenario(unknown_wait=4.0)
    made.simulator.faults(
        {"provider": "sendgrid", "kind": "accept_then_close", "at_request": [1]},
        {"provider": "sendgrid", "kind": "latency", "seconds": 1, "at_request": [2, 3, 4, 5, 6]},
    )
    made.start_workers()
    made.begin(Draft(people=1000, on_unknown=OnUnknown.RESEND, rate=100))
    wait_until(lambda: made.ordinals(Outcome.UNKNOWN), 20)

    made.change("cancelled")
    report = made.wait_closed()

    assert report["state"] == "cancelled"
    assert report["unconfirmed"] == 100
    assert report["cancelled"] == 1000 - 100 - report["accepted"]
    assert report["balanced"], report["problems"]
    assert max(made.copies().values()) == 1

"""kill -9 of everything while a campaign runs: small in `make test`, the full sizes in `make chaos`."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from activities.fail_points import FailPoint
from domain.send import OnUnknown
from tests.builders import Draft
from tests.chaos.storm import Storm, check, rage, wipe_temporal
from tests.scenario import Scenario

MakeScenario = Callable[..., Scenario]

SIZES = [
    pytest.param(
        {"people": 2_000, "rate": 100, "worker_kills": 4, "server_kills": 1, "least_with_claim": 3},
        id="small",
    ),
    pytest.param(
        {
            "people": 20_000,
            "rate": 500,
            "worker_kills": 10,
            "server_kills": 2,
            "least_with_claim": 8,
        },
        id="full",
        marks=pytest.mark.chaos,
    ),
]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("policy", list(OnUnknown))
def test_nobody_is_lost_and_every_repeat_is_explained(
    make_scenario: MakeScenario, policy: OnUnknown, size: dict[str, int]
) -> None:
    storm = Storm(**size, seed=random.SystemRandom().randrange(10**6))
    # Kills are aimed at claims, so a flight may be struck more often than three times.
    made = make_scenario(messages_per_request=50, max_tries=10)

    toll = rage(made, storm, policy)

    check(made, storm, policy, toll)


def test_temporal_wiped_in_mid_campaign_is_rebuilt_and_nobody_is_sent_to_twice(
    make_scenario: MakeScenario,
) -> None:
    made = make_scenario(messages_per_request=50)
    made.start_workers()
    made.begin(Draft(people=1_000, rate=200))
    made.wait_received(300)

    wipe_temporal(made)
    report = made.wait_closed(90)

    assert report["accepted"] == 1_000
    assert set(made.copies().values()) == {1}
    assert report["balanced"], report["problems"]


def test_temporal_wiped_right_after_the_start(make_scenario: MakeScenario) -> None:
    made = make_scenario()
    made.begin(Draft(people=300))

    wipe_temporal(made)
    made.start_workers()
    report = made.wait_closed(90)

    assert report["accepted"] == 300
    assert set(made.copies().values()) == {1}


def test_temporal_wiped_right_before_the_close(make_scenario: MakeScenario) -> None:
    made = make_scenario()
    made.workers.start("main", "orchestration,campaign,upkeep", fail_at=(FailPoint.CLOSING, 1))
    made.begin(Draft(people=300))
    made.workers.wait_dead("main")

    wipe_temporal(made)
    made.start_workers()
    report = made.wait_closed(90)

    assert report["accepted"] == 300
    assert set(made.copies().values()) == {1}
    assert report["balanced"], report["problems"]


def test_temporal_wiped_while_a_campaign_is_scheduled(make_scenario: MakeScenario) -> None:
    made = make_scenario()
    made.start_workers()
    moment = datetime.now(UTC) + timedelta(seconds=10)
    made.begin(Draft(people=50), at=moment)
    assert made.report()["state"] == "scheduled"

    wipe_temporal(made)
    report = made.wait_closed(90)

    arrived = [
        datetime.fromisoformat(entry["at"]) for entry in made.simulator.received(made.send_id)
    ]
    assert min(arrived) >= moment
    assert made.copies() == dict.fromkeys(range(1, 51), 1)
    assert (report["state"], report["accepted"]) == ("finished", 50)

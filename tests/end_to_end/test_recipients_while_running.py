"""Changes to people and holds while their campaign runs."""

from __future__ import annotations

import time
from collections.abc import Callable

from domain.outcome import Outcome
from domain.send import HoldScope
from models.hold import StandingHold
from starter import holds, people
from starter.wake import wake
from tests.builders import Draft
from tests.scenario import Scenario

MakeScenario = Callable[..., Scenario]


def test_who_is_erased_in_mid_campaign_is_skipped_unless_the_message_was_out(
    make_scenario: MakeScenario,
) -> None:
    made = make_scenario(messages_per_request=20)
    made.start_workers()
    made.begin(Draft(people=600, rate=100))
    made.wait_received(100)

    out = {entry["ordinal"] for entry in made.simulator.received(made.send_id)}
    already, not_yet = min(out), 600
    for number in (already, not_yet):
        people.erase_person(made.engine, people.look_up(made.engine, f"person-{number}"))
    report = made.wait_closed()

    assert report["skipped"] == {"erased": 1}
    assert report["accepted"] == 599
    assert already in made.ordinals(Outcome.ACCEPTED)
    assert made.ordinals(Outcome.SKIPPED) == {not_yet}
    assert not_yet not in made.copies()
    assert report["balanced"], report["problems"]


def test_a_hold_stops_the_log_and_its_release_alone_lets_it_go_on_at_once(
    make_scenario: MakeScenario,
) -> None:
    made = make_scenario(messages_per_request=20, look_every=120.0, reconcile_send_every=120.0)
    made.start_workers()
    made.begin(Draft(people=400, rate=100))
    made.wait_received(100)

    both = [
        holds.place(
            made.engine,
            holds.HoldWish(scope=HoldScope.TOPIC, key="newsletter", reason=reason, author="Ada"),
        )
        for reason in ("one", "two")
    ]
    time.sleep(2)
    at_hold = len(made.simulator.received(made.send_id))
    release(made, both[0])
    time.sleep(2)
    while_held = len(made.simulator.received(made.send_id))
    release(made, both[1])
    report = made.wait_closed()

    assert at_hold == while_held < 400
    assert report["accepted"] == 400
    assert set(made.copies().values()) == {1}
    assert report["balanced"], report["problems"]


def release(made: Scenario, hold: StandingHold) -> None:
    """As the command does."""
    (done,) = holds.release(made.engine, [hold.id])
    wake(made.settings, done.sends)

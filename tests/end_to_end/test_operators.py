"""What operators do while a campaign runs: pause, resume, rate, cancel, and losing all of Temporal."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import datetime

from domain.outcome import Outcome
from starter import campaigns
from tests.builders import Draft
from tests.scenario import Scenario, wait_until

MakeScenario = Callable[..., Scenario]


def arrivals(made: Scenario) -> list[float]:
    """When each message arrived, in seconds since 1970."""
    entries = made.simulator.received(made.send_id)
    return [datetime.fromisoformat(entry["at"]).timestamp() for entry in entries]


def test_a_pause_stops_the_log_within_two_seconds_and_resume_loses_nobody(
    make_scenario: MakeScenario,
) -> None:
    made = make_scenario(messages_per_request=50)
    made.start_workers()
    made.begin(Draft(people=1000, rate=250))
    made.wait_received(200)

    made.change("paused")
    time.sleep(2)
    at_pause = len(arrivals(made))
    time.sleep(2)
    while_paused = len(arrivals(made))
    made.change("running")
    report = made.wait_closed()

    assert at_pause == while_paused < 1000
    assert made.copies() == dict.fromkeys(range(1, 1001), 1)
    assert report["balanced"], report["problems"]


def test_a_new_rate_is_obeyed_within_five_seconds_without_a_restart(
    make_scenario: MakeScenario,
) -> None:
    made = make_scenario(messages_per_request=20)
    made.start_workers()
    made.begin(Draft(people=6000, rate=100))
    made.wait_received(300)

    asyncio.run(campaigns.change_rate(made.engine, made.settings, made.send_id, 300.0))
    time.sleep(5)
    since = time.time()
    time.sleep(10)
    seen = sum(since <= at < since + 10 for at in arrivals(made)) / 10
    made.change("cancelled")
    report = made.wait_closed()

    assert 200 < seen <= 330, "a busy machine may be slower, nothing is faster"
    assert report["balanced"], report["problems"]


def test_cancelling_leaves_the_rest_cancelled_and_the_accounts_balanced(
    make_scenario: MakeScenario,
) -> None:
    made = make_scenario(messages_per_request=50)
    made.start_workers()
    made.begin(Draft(people=1000, rate=200))
    made.wait_received(200)

    made.change("cancelled")
    report = made.wait_closed()

    assert report["accepted"] == len(arrivals(made)) == 1000 - report["cancelled"]
    assert report["balanced"], report["problems"]


def test_a_campaign_that_expires_while_paused_is_ended(make_scenario: MakeScenario) -> None:
    made = make_scenario(campaign_expires_after=4.0, messages_per_request=50)
    made.start_workers()
    made.begin(Draft(people=1000, rate=100))
    made.wait_received(100)
    made.change("paused")

    report = made.wait_closed()

    assert report["expired"] == 1000 - report["accepted"] > 0
    assert report["balanced"], report["problems"]


def test_a_run_terminated_in_the_ui_is_started_again_and_nobody_is_sent_to_twice(
    make_scenario: MakeScenario,
) -> None:
    made = make_scenario(messages_per_request=50)
    made.start_workers()
    made.begin(Draft(people=1000, rate=300))
    made.wait_received(200)

    asyncio.run(_terminate(made))
    report = made.wait_closed()

    assert report["accepted"] == 1000
    assert set(made.copies().values()) == {1}
    assert report["balanced"], report["problems"]


async def _terminate(made: Scenario) -> None:
    from starter.client import connect
    from workflows.contract import campaign_workflow_id

    client = await connect(made.settings)
    await client.get_workflow_handle(campaign_workflow_id(made.send_id)).terminate("by an operator")


def test_an_update_sent_from_the_temporal_ui_alone_reaches_the_rows(
    make_scenario: MakeScenario,
) -> None:
    made = make_scenario(messages_per_request=50)
    made.start_workers()
    made.begin(Draft(people=500, rate=100))
    made.wait_received(50)

    state = asyncio.run(_update(made, "pause"))

    assert state == "paused"
    wait_until(lambda: made.value("SELECT state FROM send") == "paused", 5)
    asyncio.run(_update(made, "resume"))
    assert made.wait_closed()["accepted"] == 500


async def _update(made: Scenario, update: str) -> str:
    from starter.client import connect
    from workflows.contract import campaign_workflow_id

    client = await connect(made.settings)
    handle = client.get_workflow_handle(campaign_workflow_id(made.send_id))
    return str(await handle.execute_update(update))


def test_resend_by_hand_sends_to_the_unconfirmed_and_to_nobody_else(
    make_scenario: MakeScenario,
) -> None:
    made = make_scenario()
    made.simulator.faults({"provider": "sendgrid", "kind": "accept_then_close", "at_request": [2]})
    made.start_workers()
    made.begin(Draft(people=300))
    first = made.wait_closed()
    unsure = made.ordinals(Outcome.UNCONFIRMED)

    from domain.send import OnUnknown

    asyncio.run(
        campaigns.settle_unknown(made.engine, made.settings, made.send_id, OnUnknown.RESEND)
    )
    report = made.wait_closed()

    assert (first["unconfirmed"], len(unsure)) == (100, 100)
    assert report["accepted"] == 300
    assert {ordinal for ordinal, n in made.copies().items() if n == 2} == unsure
    assert report["balanced"], report["problems"]

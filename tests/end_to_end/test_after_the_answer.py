"""What events do to messages that are under way, with workers and Temporal."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from sqlalchemy import text

from domain.event import EventKind
from models.request_audit import request_imbalances
from models.team import default_team_id
from starter import in_app
from starter.accounts import keep_accounts
from starter.client import connect, poke_groups
from tests.builders import Draft
from tests.events import an_event, tell
from tests.requests import a_client, a_shop, final_outcomes
from tests.scenario import Scenario, wait_until
from workflows.contract import messages_workflow_id

MakeScenario = Callable[..., Scenario]


def a_service(made: Scenario, plan: str) -> int:
    """Send of one message on this plan; person-1 has a telephone, workers run."""
    a_shop(made.engine)
    with made.engine.begin() as connection:
        keep_accounts(connection, made.settings)
        connection.execute(
            text(
                "INSERT INTO contact_point (team_id, recipient_id, channel, address) SELECT team_id,"
                " id, 'sms', '+436601234567' FROM recipient WHERE external_id = 'person-1'"
            )
        )
    made.workers.start("single", "transactional,upkeep")
    client = a_client(made.engine, made.settings)
    return client.send_blocking(
        "order-shipped", to="person-1", variables={"order": "A"}, plan=plan
    ).send_id


def closed(made: Scenario) -> bool:
    return bool(made.value("SELECT bool_and(closed_at IS NOT NULL) FROM send"))


def accepted(made: Scenario, step: int) -> bool:
    return bool(made.value(f"SELECT 1 FROM delivery WHERE step = {step} AND outcome = 2"))


def check(made: Scenario) -> None:
    """The accounts balance, and no workflow is left for the workers of the next test."""
    with made.engine.connect() as connection:
        assert request_imbalances(connection, default_team_id(connection)) == {}
    asyncio.run(_all_done(made))


async def _all_done(made: Scenario) -> None:
    client = await connect(made.settings)
    for group in made.values("SELECT id FROM message_group"):
        async with asyncio.timeout(20):
            await client.get_workflow_handle(messages_workflow_id(group)).result()


@pytest.mark.parametrize(
    ("plan", "first"), [("in_app:read/2s,email", "in_app"), ("sms:delivered/2s,email", "sms")]
)
def test_without_an_event_the_next_step_follows_after_the_wait(
    make_scenario: MakeScenario, plan: str, first: str
) -> None:
    made = make_scenario()
    sent = a_service(made, plan)

    wait_until(lambda: closed(made), 30)

    assert final_outcomes(made.engine, sent) == {(1, 1): "accepted", (1, 2): "accepted"}
    assert made.simulator.received(sent)[-1]["to"] == "person-1@example.com"
    waited = made.value(
        "SELECT max(accepted_at) - min(accepted_at) >= interval '2 seconds' FROM delivery"
    )
    assert waited, first
    check(made)


def test_delivered_in_time_there_is_no_next_step(make_scenario: MakeScenario) -> None:
    made = make_scenario()
    sent = a_service(made, "sms:delivered/30s,email")
    wait_until(lambda: accepted(made, 1), 20)

    recorded = tell(made.engine, an_event(sent, EventKind.DELIVERED))
    poke(made, recorded.folded.groups)
    wait_until(lambda: closed(made), 15)

    assert final_outcomes(made.engine, sent) == {(1, 1): "accepted"}
    check(made)


def test_bounced_while_it_waits_the_next_step_goes_at_once(make_scenario: MakeScenario) -> None:
    made = make_scenario()
    sent = a_service(made, "sms:delivered/200s,email")
    wait_until(lambda: accepted(made, 1), 20)

    recorded = tell(made.engine, an_event(sent, EventKind.HARD_BOUNCED))
    poke(made, recorded.folded.groups)
    wait_until(lambda: closed(made), 15)

    assert final_outcomes(made.engine, sent) == {(1, 1): "accepted", (1, 2): "accepted"}
    assert made.values("SELECT reason FROM suppression") == ["hard_bounce"]
    check(made)


def test_reading_an_item_ends_the_plan(make_scenario: MakeScenario) -> None:
    made = make_scenario()
    sent = a_service(made, "in_app:read/200s,email")
    wait_until(lambda: accepted(made, 1), 20)
    item = made.value("SELECT id FROM in_app_item")

    in_app.read(made.engine, made.settings, "person-1", [item])
    wait_until(lambda: closed(made), 15)

    assert final_outcomes(made.engine, sent) == {(1, 1): "accepted"}
    check(made)


def poke(made: Scenario, groups: frozenset[int]) -> None:
    """Whoever records events tells those who wait."""

    async def tell_them() -> None:
        await poke_groups(await connect(made.settings), groups)

    asyncio.run(tell_them())


def test_a_campaign_that_bounces_is_held_and_goes_on_when_released(
    make_scenario: MakeScenario,
) -> None:
    made = make_scenario(messages_per_request=20, trip_wire_least=20, fold_every=0.2)
    made.start_workers()
    send_id = made.begin(Draft(people=300, rate=40))
    made.wait_received(40)

    tell(
        made.engine,
        *(an_event(send_id, EventKind.HARD_BOUNCED, ordinal=n) for n in range(1, 16)),
    )
    wait_until(lambda: made.value("SELECT count(*) FROM hold") == 1, 15)
    reason = made.value("SELECT reason FROM hold")
    with made.engine.begin() as connection:
        connection.execute(text("UPDATE hold SET released_at = clock_timestamp()"))
    report = made.wait_closed(60)

    assert "hard bounces of" in reason
    assert report["accepted"] == 300
    assert made.value("SELECT count(*) FROM hold") == 1
    assert report["balanced"], report["problems"]

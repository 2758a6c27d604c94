"""When all want the same account: critical messages overtake a campaign, and two teams share it.

The full sizes and the times are measured by `benchmarks/contention.py`; here only order and counts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from sqlalchemy import text

from starter import campaigns
from starter.client import connect
from starter.limits import set_rate
from tests.builders import Draft, a_draft
from tests.requests import a_client, a_template
from tests.scenario import Scenario, wait_until
from workflows.contract import campaign_workflow_id

MakeScenario = Callable[..., Scenario]


def arrived(made: Scenario, *sends: int) -> list[int]:
    """The sends whose messages arrived, in the order of arrival."""
    entries = [(e["at"], send) for send in sends for e in made.simulator.received(send)]
    return [send for _, send in sorted(entries)]


def all_closed(made: Scenario) -> bool:
    return bool(made.value("SELECT count(*) FROM send WHERE closed_at IS NULL") == 0)


def test_critical_messages_overtake_a_campaign_that_runs_flat_out_on_their_account(
    make_scenario: MakeScenario,
) -> None:
    made = make_scenario(messages_per_request=50)
    made.draft(Draft(people=3000))
    with made.engine.begin() as connection:
        a_template(connection)
    set_rate(made.engine, "account:simulator", 400.0)
    client = a_client(made.engine, made.settings)
    made.start_workers()
    made.workers.start("single", "transactional")
    made.begin()
    made.wait_received(200)

    critical = [
        client.send_blocking(
            "order-shipped", to=f"person-{n}", variables={"order": n}, priority="critical"
        ).send_id
        for n in range(1, 21)
    ]
    wait_until(lambda: all_closed(made), 60)

    order = arrived(made, made.send_id, *critical)
    last_critical = max(at for at, send in enumerate(order) if send in critical)
    assert made.report()["accepted"] == 3000
    assert len(order) == 3020
    assert last_critical < 2500


def test_a_campaign_of_another_team_that_starts_later_gets_its_share(
    make_scenario: MakeScenario,
) -> None:
    made = make_scenario(messages_per_request=50, batch_size=100, batches_per_process=1)
    first = made.draft(Draft(people=3000))
    second = _of_another_team(made, first)
    set_rate(made.engine, "account:simulator", 750.0)
    made.start_workers()

    asyncio.run(campaigns.start(made.engine, made.settings, first))
    wait_until(lambda: len(made.simulator.received(first)) >= 300, 30)
    asyncio.run(campaigns.start(made.engine, made.settings, second))
    wait_until(lambda: all_closed(made), 60)

    order = arrived(made, first, second)
    both = order[order.index(second) : len(order) - order[::-1].index(first)]
    assert (order.count(first), order.count(second)) == (3000, 3000)
    assert both.count(second) >= 0.6 * both.count(first)


def _of_another_team(made: Scenario, like: int) -> int:
    """A draft like the other one, of a team of its own."""
    send_id = a_draft(made.engine, Draft(people=0, topic="theirs"))
    with made.engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO team (key, name) VALUES ('theirs', 'Theirs');"
                "UPDATE send SET team_id = (SELECT id FROM team WHERE key = 'theirs'),"
                f" topic_id = (SELECT topic_id FROM send WHERE id = {like}) WHERE id = {send_id}"
            )
        )
    return send_id


def test_temporal_is_told_priority_and_team(make_scenario: MakeScenario) -> None:
    made = make_scenario()
    made.begin(Draft(people=5))
    made.start_workers()
    made.wait_closed()

    async def told() -> tuple[int, str]:
        client = await connect(made.settings)
        handle = client.get_workflow_handle(campaign_workflow_id(made.send_id))
        started = (
            (await handle.fetch_history()).events[0].workflow_execution_started_event_attributes
        )
        return started.priority.priority_key, started.priority.fairness_key

    assert asyncio.run(told()) == (3, "default")

"""Single messages through the real parts: committed by a caller, gathered, driven, settled."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from tests.requests import a_client, a_shop, final_outcomes
from tests.scenario import Scenario, wait_until

MakeScenario = Callable[..., Scenario]


def closed(made: Scenario, send_id: int) -> bool:
    return bool(made.value(f"SELECT closed_at IS NOT NULL FROM send WHERE id = {send_id}"))


def test_a_message_that_a_service_asks_for_arrives_and_its_send_closes(
    make_scenario: MakeScenario,
) -> None:
    made = make_scenario()
    a_shop(made.engine)
    client = a_client(made.engine, made.settings)
    made.workers.start("single", "transactional,upkeep")

    sent = asyncio.run(client.send("order-shipped", to="person-3", variables={"order": "A-17"}))
    wait_until(lambda: closed(made, sent.send_id), 20)

    (received,) = made.simulator.received(sent.send_id)
    assert received["to"] == "person-3@example.com"
    assert received["subject"] == "Order A-17"
    assert final_outcomes(made.engine, sent.send_id) == {(1, 1): "accepted"}
    assert made.value("SELECT count(*) FROM outbox") == 0


def test_many_requests_share_workflows_and_each_arrives_once(make_scenario: MakeScenario) -> None:
    made = make_scenario()
    a_shop(made.engine, customers=50)
    client = a_client(made.engine, made.settings)
    made.workers.start("single", "transactional,upkeep")

    started = time.monotonic()
    sent = [
        client.send_blocking("order-shipped", to=f"person-{n % 50 + 1}", variables={"order": n})
        for n in range(300)
    ]
    print(f"300 requests committed in {time.monotonic() - started:.2f} s")
    wait_until(lambda: made.value("SELECT count(*) FROM send WHERE closed_at IS NULL") == 0, 60)

    for request in sent:
        assert len(made.simulator.received(request.send_id)) == 1
    assert made.value("SELECT count(*) FROM message_group") < 300

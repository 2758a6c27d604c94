"""RequestSend: started with plain JSON, as the SDK of another language would."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from temporalio.client import Client, WorkflowFailureError
from temporalio.exceptions import ApplicationError

from tests.requests import a_shop, final_outcomes
from tests.scenario import Scenario, wait_until

MakeScenario = Callable[..., Scenario]

ORDER = {
    "key": "shipped-17",
    "template": "order-shipped",
    "to": ["person-1"],
    "variables": {"order": 17},
}


def start(made: Scenario, given: dict[str, Any], workflow_id: str) -> dict[str, Any]:
    """The result of the workflow, through a client with no converter of ours."""

    async def run() -> dict[str, Any]:
        settings = made.settings
        client = await Client.connect(
            settings.temporal_address, namespace=settings.temporal_namespace
        )
        return dict(
            await client.execute_workflow(
                "RequestSend", given, id=workflow_id, task_queue="transactional"
            )
        )

    return asyncio.run(run())


@pytest.fixture
def made(make_scenario: MakeScenario) -> Scenario:
    made = make_scenario()
    a_shop(made.engine)
    made.workers.start("single", "transactional,upkeep")
    return made


def test_plain_json_is_a_request_and_the_same_key_again_is_the_same_one(made: Scenario) -> None:
    database = made.engine.url.database
    first = start(made, ORDER, f"request:default:shipped-17:{database}")
    again = start(made, ORDER, f"request:default:shipped-17-again:{database}")

    assert first["send"].startswith("snd_")
    assert (first["messages"], first["is_repeat"]) == (1, False)
    assert (again["send"], again["is_repeat"]) == (first["send"], True)
    send_id = made.value("SELECT id FROM send")
    wait_until(lambda: made.value("SELECT closed_at FROM send"), 20)
    assert final_outcomes(made.engine, send_id) == {(1, 1): "accepted"}
    assert len(made.simulator.received(send_id)) == 1


@pytest.mark.parametrize(
    ("change", "workflow_id", "why"),
    [
        ({"to": ["nobody"]}, "request:default:a", "no recipient 'nobody'"),
        ({"key": ""}, "request:default:b", "needs a key"),
        ({}, "campaign:snd_0000000000001", "an id of your own"),
    ],
)
def test_what_cannot_be_taken_fails_with_a_sentence_and_writes_nothing(
    made: Scenario, change: dict[str, Any], workflow_id: str, why: str
) -> None:
    with pytest.raises(WorkflowFailureError) as failed:
        start(made, ORDER | change, f"{workflow_id}:{made.engine.url.database}")

    cause: BaseException | None = failed.value
    while cause is not None and not isinstance(cause, ApplicationError):
        cause = cause.__cause__
    assert cause is not None
    assert why in str(cause)
    assert made.value("SELECT count(*) FROM send") == 0

"""The embedded Temporal server: it answers in seconds and keeps its workflows when it is killed."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable

from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.common import SearchAttributeKey, SearchAttributePair, TypedSearchAttributes

from stack.development import DevelopmentStack

TEAM = SearchAttributeKey.for_keyword("Team")


async def test_a_workflow_survives_a_kill_of_the_server(
    running: Callable[..., DevelopmentStack],
) -> None:
    began = time.monotonic()
    stack = running({"temporal"})
    assert time.monotonic() - began < 20
    killed = stack.supervisor.pid_of("temporal")
    assert killed is not None
    client = await Client.connect(stack.settings().temporal_address)
    await client.start_workflow(
        "Nobody",
        id="kept",
        task_queue="nowhere",
        search_attributes=TypedSearchAttributes([SearchAttributePair(TEAM, "default")]),
    )

    os.kill(killed, signal.SIGKILL)
    stack.supervisor.wait_restarted("temporal", killed)

    client = await Client.connect(stack.settings().temporal_address)
    found = await client.get_workflow_handle("kept").describe()
    assert found.status is WorkflowExecutionStatus.RUNNING
    assert found.typed_search_attributes[TEAM] == "default"

"""What must always be there is made by the upkeep worker, outside Temporal."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from temporalio.api.operatorservice.v1 import ListSearchAttributesRequest
from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
from temporalio.client import Client
from temporalio.service import RPCError

from starter.client import connect, ensure_namespace, ensure_search_attributes
from tests.scenario import Scenario
from workflows.contract import SEARCH_ATTRIBUTES


async def _once_it_is_known(client: Client) -> None:
    """Temporal takes some seconds until all its parts have heard of a new namespace."""
    for _ in range(60):
        try:
            return await ensure_search_attributes(client)
        except RPCError:
            await asyncio.sleep(0.5)
    raise AssertionError("the namespace never became known")


def test_a_namespace_and_its_search_attributes_are_made_once(
    make_scenario: Callable[..., Scenario],
) -> None:
    made = make_scenario(temporal_namespace="made-by-us")

    async def ensure_twice() -> set[str]:
        client = await connect(made.settings)
        for _ in range(2):
            await ensure_namespace(client)
        await client.workflow_service.describe_namespace(
            DescribeNamespaceRequest(namespace="made-by-us")
        )
        for _ in range(2):
            await _once_it_is_known(client)
        found = await client.operator_service.list_search_attributes(
            ListSearchAttributesRequest(namespace="made-by-us")
        )
        return set(found.custom_attributes)

    assert {attribute.name for attribute in SEARCH_ATTRIBUTES} <= asyncio.run(ensure_twice())

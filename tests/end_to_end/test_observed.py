"""A campaign and a single message, seen as operators see them: and nobody is named anywhere."""

from __future__ import annotations

import asyncio
import base64
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from observability import tracing
from observability.spans import exporting_tracer
from stack.ports import free_ports
from starter.client import connect
from tests.builders import Draft
from tests.observability.collector import Collector, a_collector, attributes
from tests.observability.exposed import value
from tests.requests import a_client, a_template
from tests.scenario import Scenario, wait_until
from workflows.contract import campaign_workflow_id, messages_workflow_id, shard_workflow_id

MakeScenario = Callable[..., Scenario]

# What the builders call people, their addresses, and what is written to them.
PEOPLE = re.compile(r"person-\d+@|First\d|Last\d|example\.com|SECRET-ORDER|Hello |Dear ")
WORKERS = {"main": "orchestration,upkeep", "campaign": "campaign", "single": "transactional"}


@dataclass
class Observed:
    """What was run, and where it can be looked at."""

    made: Scenario
    collector: Collector
    single_id: int
    ports: dict[str, int]

    def page(self, worker: str, path: str) -> httpx.Response:
        return httpx.get(f"http://127.0.0.1:{self.ports[worker]}{path}", timeout=10)

    @property
    def logs(self) -> str:
        return "\n".join(path.read_text() for path in sorted(self.made.folder.glob("*.log")))


@pytest.fixture
def observed(make_scenario: MakeScenario) -> Iterator[Observed]:
    """A campaign to 20 people and one single message that have gone through, asked for by one request."""
    with a_collector() as collector:
        made = make_scenario(otlp_endpoint=collector.endpoint)
        ports = dict(zip(WORKERS, free_ports(len(WORKERS)), strict=True))
        for name, roles in WORKERS.items():
            made.workers.start(name, roles, settings={"metrics_port": ports[name]})
        made.draft(Draft(people=20))
        with made.engine.begin() as connection:
            a_template(connection)
        tracing.use_tracer(exporting_tracer(f"{collector.endpoint}/v1/traces", "a-service"))
        try:
            with tracing.span("a request", {}, is_server=True):
                single_id = asyncio.run(_ask(made))
                made.begin()
        finally:
            tracing.use_tracer(None)
        wait_until(lambda: made.value("SELECT count(*) FROM send WHERE closed_at IS NULL") == 0, 60)
        # The last span of each process, which exports its own in their order.
        ends = (
            "CompleteWorkflow:SendMessages",
            "CompleteWorkflow:RunCampaign",
            "RunActivity:drive_group",
            "RunActivity:send_batch",
            "a request",
        )
        wait_until(lambda: all(map(collector.named, ends)), 30)
        yield Observed(made, collector, single_id, ports)


async def _ask(made: Scenario) -> int:
    client = a_client(made.engine, made.settings)
    sent = await client.send("order-shipped", to="person-1", variables={"order": "SECRET-ORDER"})
    return sent.send_id


def test_operators_see_how_everything_went_and_nobody_of_whom_it_was_about(
    observed: Observed,
) -> None:
    _traces_lead_from_the_request_to_the_provider(observed)
    _metrics_count_what_was_sent(observed)
    _workers_say_that_they_are_ready(observed)
    _log_lines_have_ids(observed)
    _nobody_is_named(observed)


def _traces_lead_from_the_request_to_the_provider(observed: Observed) -> None:
    spans = {span.span_id: span for span in observed.collector.spans}

    def way(span: Span) -> list[str]:
        above = spans.get(span.parent_span_id)
        return [span.name, *(way(above) if above else [])]

    calls = {
        attributes(span)["carillon.send_id"]: span
        for span in observed.collector.named("provider.send")
    }
    single, campaign = calls[observed.single_id], calls[observed.made.send_id]

    assert way(single) == [
        "provider.send",
        "RunActivity:drive_group",
        "StartActivity:drive_group",
        "StartWorkflow:SendMessages",
        "a request",
    ]
    assert way(campaign) == [
        "provider.send",
        "RunActivity:send_batch",
        "StartActivity:send_batch",
        "StartChildWorkflow:SendShard",
        "StartWorkflow:RunCampaign",
        "a request",
    ]
    assert attributes(single)["carillon.answer"] == "accepted"
    assert attributes(campaign)["carillon.answers.accepted"] == 20
    assert [
        name for name in sorted({span.name for span in spans.values()}) if "Upkeep" in name
    ] == []


def _metrics_count_what_was_sent(observed: Observed) -> None:
    pages = {name: observed.page(name, "/metrics").text for name in WORKERS}
    accepted = {"account": "simulator", "answer": "accepted"}
    answered = "carillon_answered_messages_total"

    assert value(pages["campaign"], answered, kind="campaign", **accepted) == 20
    assert value(pages["single"], answered, kind="single", **accepted) == 1
    latency = {"priority": "normal", "channel": "email"}
    assert value(pages["single"], "carillon_send_latency_seconds_count", **latency) == 1
    assert value(pages["main"], "carillon_account_up", account="simulator") == 1
    assert value(pages["main"], "carillon_rows_readable") == 1
    assert "carillon_rows_readable" not in pages["campaign"]
    # Temporal's own, behind ours.
    assert value(pages["campaign"], "temporal_worker_task_slots_available") > 0


def _workers_say_that_they_are_ready(observed: Observed) -> None:
    for worker in WORKERS:
        assert observed.page(worker, "/livez").json() == {"status": "alive"}
        assert observed.page(worker, "/readyz").json() == {"status": "ready"}
        assert observed.page(worker, "/elsewhere").status_code == 404


def _log_lines_have_ids(observed: Observed) -> None:
    lines = [json.loads(line) for line in observed.logs.splitlines() if line]
    (passed,) = [line for line in lines if line["event"] == "batch.passed"]

    assert passed["send_id"] == observed.made.send_id
    assert passed["trace_id"] in {span.trace_id.hex() for span in observed.collector.spans}


def _nobody_is_named(observed: Observed) -> None:
    pages = "\n".join(observed.page(name, "/metrics").text for name in WORKERS)
    histories = asyncio.run(_histories(observed))
    seen = {
        "logs": observed.logs,
        "metrics": pages,
        "traces": observed.collector.text,
        "histories": histories,
    }

    # They are full, and what is looked for can be found.
    assert all(len(said) > 1000 for said in seen.values())
    assert str(observed.made.send_id) in histories
    assert PEOPLE.search("to person-7@example.com")
    for place, said in seen.items():
        assert PEOPLE.findall(said) == [], place


async def _histories(observed: Observed) -> str:
    """All that Temporal kept of both sends, payloads decoded."""
    client = await connect(observed.made.settings)
    send_id = observed.made.send_id
    shards = observed.made.values("SELECT DISTINCT shard FROM batch")
    groups = observed.made.values("SELECT id FROM message_group")
    ids = [
        campaign_workflow_id(send_id),
        *(shard_workflow_id(send_id, shard) for shard in shards),
        *map(messages_workflow_id, groups),
    ]
    found = [await client.get_workflow_handle(each).fetch_history() for each in ids]
    descriptions = [
        str((await client.get_workflow_handle(each).describe()).raw_description) for each in ids
    ]
    return "\n".join([*(str(_decoded(json.loads(h.to_json()))) for h in found), *descriptions])


def _decoded(node: Any) -> Any:
    """The JSON of a history with its payloads readable."""
    match node:
        case {"metadata": _, "data": str(data)}:
            return base64.b64decode(data).decode()
        case dict():
            return {key: _decoded(each) for key, each in node.items()}
        case list():
            return [_decoded(each) for each in node]
        case _:
            return node

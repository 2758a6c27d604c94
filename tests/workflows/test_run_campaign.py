"""RunCampaign and SendShard on a real server, in the sandbox, with activities that are scripted."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from temporalio import activity
from temporalio.client import WorkflowHandle
from temporalio.worker import Worker

from activities.contract import (
    BatchInput,
    BatchResult,
    BatchToDo,
    ChangeInput,
    CloseResult,
    FrozenAudience,
    SendRef,
    SendStatus,
    ShardRef,
    ShardToDo,
    Stop,
)
from composition import workflow_runner
from stack.development import DevelopmentStack
from starter.client import connect
from workflows.contract import (
    CAMPAIGN_QUEUE,
    ORCHESTRATION_QUEUE,
    CampaignInput,
    CampaignResult,
    WorkflowPace,
    campaign_workflow_id,
    send_id_of,
    shard_workflow_id,
)
from workflows.run_campaign import RunCampaign
from workflows.send_shard import SendShard

_sends = itertools.count(1)
PACE = WorkflowPace(
    heartbeat_timeout=timedelta(seconds=5), look_every=timedelta(seconds=1), batches_in_flight=2
)


@dataclass
class Rows:
    """What the rows say in a test: batches that are left, by shard, and what stops the send.

    The server is shared: campaigns that other tests left behind are told that they are done.
    """

    left: dict[int, list[int]]
    send_id: int = field(default_factory=lambda: next(_sends))
    results: dict[int, list[BatchResult]] = field(default_factory=dict)
    """What passes over a batch come to, in order; after that it is done."""
    stop: Stop = Stop.NONE
    state: str = "running"
    passes: list[tuple[int, int]] = field(default_factory=list)
    """(lo, failures) of each pass."""
    resume_at: dict[int, datetime | None] = field(default_factory=dict)
    closes: int = 0

    @activity.defn
    def freeze_audience(self, send: SendRef) -> FrozenAudience:
        return FrozenAudience(messages=100, shards=len(self.left), name="n", topic="t", account="a")

    @activity.defn
    def open_shard(self, shard: ShardRef) -> ShardToDo:
        left = self.left[shard.shard] if shard.send_id == self.send_id else []
        return ShardToDo(
            batches=[BatchToDo(lo=lo, resume_at=self.resume_at.get(lo)) for lo in left]
        )

    @activity.defn
    def send_batch(self, batch: BatchInput) -> BatchResult:
        if batch.send_id != self.send_id:
            return BatchResult(is_done=True)
        self.passes.append((batch.lo, batch.failures))
        script = self.results.get(batch.lo)
        result = script.pop(0) if script else BatchResult(is_done=True)
        self.resume_at[batch.lo] = result.resume_at
        if result.is_done:
            for batches in self.left.values():
                if batch.lo in batches:
                    batches.remove(batch.lo)
        return result

    @activity.defn
    def look_at_send(self, send: SendRef) -> SendStatus:
        return SendStatus(
            state=self.state,
            is_expired=False,
            expires_at=datetime.now(UTC) + timedelta(hours=1),
            stop=self.stop,
            why="",
            messages=100,
            counts={},
            rate=None,
        )

    @activity.defn
    def change_send(self, change: ChangeInput) -> None:
        self.state = change.state
        self.stop = Stop.PAUSED if change.state == "paused" else Stop.NONE

    @activity.defn
    def close_send(self, send: SendRef) -> CloseResult:
        if send.send_id != self.send_id:
            return CloseResult(is_closed=True, open_shards=[])
        self.closes += 1
        open_shards = [shard for shard, batches in self.left.items() if batches]
        if not open_shards:
            self.state = "finished"
        return CloseResult(is_closed=not open_shards, open_shards=open_shards)


@asynccontextmanager
async def running(
    stack: DevelopmentStack, rows: Rows
) -> AsyncIterator[WorkflowHandle[RunCampaign, CampaignResult]]:
    """A campaign that runs against these rows."""
    client = await connect(stack.settings())
    quick: list[Callable[..., Any]] = [
        rows.freeze_audience,
        rows.open_shard,
        rows.look_at_send,
        rows.change_send,
        rows.close_send,
    ]
    with ThreadPoolExecutor(8) as executor:
        async with (
            Worker(
                client,
                task_queue=ORCHESTRATION_QUEUE,
                workflows=[RunCampaign, SendShard],
                activities=quick,
                activity_executor=executor,
                workflow_runner=workflow_runner(),
            ),
            Worker(
                client,
                task_queue=CAMPAIGN_QUEUE,
                activities=[rows.send_batch],
                activity_executor=executor,
            ),
        ):
            yield await client.start_workflow(
                RunCampaign.run,
                CampaignInput(send_id=rows.send_id, pace=PACE),
                id=campaign_workflow_id(rows.send_id),
                task_queue=ORCHESTRATION_QUEUE,
                execution_timeout=timedelta(seconds=60),
            )


async def test_every_batch_of_every_shard_is_passed_over_and_the_send_is_closed(
    stack: DevelopmentStack,
) -> None:
    rows = Rows(left={0: [1, 11], 1: [21, 31]})

    async with running(stack, rows) as handle:
        result = await handle.result()

    assert result == CampaignResult(state="finished", messages=100)
    assert sorted(lo for lo, _ in rows.passes) == [1, 11, 21, 31]
    assert rows.closes == 1


async def test_a_batch_that_met_an_unavailable_provider_is_passed_again_with_its_failures(
    stack: DevelopmentStack,
) -> None:
    again = [BatchResult(is_done=False, resume_at=None, failures=n) for n in (1, 2)]
    rows = Rows(left={0: [1]}, results={1: again})

    async with running(stack, rows) as handle:
        await handle.result()

    assert rows.passes == [(1, 0), (1, 1), (1, 2)]


async def test_a_paused_campaign_claims_nothing_until_it_is_resumed(
    stack: DevelopmentStack,
) -> None:
    stopped = BatchResult(is_done=False, stop=Stop.PAUSED)
    rows = Rows(left={0: [1]}, results={1: [stopped]}, stop=Stop.PAUSED, state="paused")

    async with running(stack, rows) as handle:
        await asyncio.sleep(3)
        while_paused = list(rows.passes)
        state = str(await handle.execute_update(RunCampaign.resume))
        await handle.result()

    assert (while_paused, state) == ([(1, 0)], "running")
    assert rows.passes == [(1, 0), (1, 0)]


async def test_a_stop_that_the_rows_do_not_know_makes_the_campaign_wait_and_not_spin(
    stack: DevelopmentStack,
) -> None:
    stopped = [BatchResult(is_done=False, stop=Stop.ACCOUNT) for _ in range(1000)]
    rows = Rows(left={0: [1]}, results={1: stopped})

    async with running(stack, rows) as handle:
        await asyncio.sleep(5)
        await handle.terminate()

    assert 2 <= len(rows.passes) <= 8


async def test_a_shard_terminated_by_hand_is_started_again_because_the_rows_say_so(
    stack: DevelopmentStack,
) -> None:
    later = BatchResult(is_done=False, resume_at=datetime.now(UTC) + timedelta(seconds=4))
    rows = Rows(left={0: [1]}, results={1: [later]})

    async with running(stack, rows) as handle:
        while not rows.passes:
            await asyncio.sleep(0.05)
        client = await connect(stack.settings())
        shard = shard_workflow_id(send_id_of(handle.id), 0)
        await client.get_workflow_handle(shard).terminate("by hand")
        result = await handle.result()

    assert result.state == "finished"
    assert len(rows.passes) == 2

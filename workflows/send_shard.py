"""SendShard: drives the batches of one shard, in rounds, until all its messages are final."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.campaign import CampaignActivities
    from activities.contract import BatchInput, BatchResult, BatchToDo, ShardRef, Stop
    from activities.send_batch import SendActivities
    from workflows.contract import ShardInput, ShardResult
    from workflows.options import QUICK, batch_options


@workflow.defn
class SendShard:
    """About 50,000 messages in batches of about 5,000. A shard started again asks the rows."""

    @workflow.init
    def __init__(self, shard: ShardInput) -> None:
        """State is small: which batches wait until when."""
        self._shard = shard
        self._failures: dict[int, int] = {}
        self._was_poked = False
        self._is_first_round = True

    @workflow.run
    async def run(self, shard: ShardInput) -> ShardResult:
        """Rounds over what is owed: pass, wait for a durable timer, pass again."""
        while True:
            todo = await self._open_batches()
            if not todo:
                return ShardResult(is_done=True)
            due = [batch for batch in todo if not _waits(batch)]
            results = await self._pass_over(due)
            stop = next((result.stop for result in results if result.stop), Stop.NONE)
            if stop is not Stop.NONE:
                return ShardResult(is_done=False, stop=stop)
            if due:
                continue
            resume_at = min(batch.resume_at for batch in todo if batch.resume_at)
            if resume_at - workflow.now() > shard.pace.short_wait:
                return ShardResult(is_done=False, resume_at=resume_at)
            await self._sleep_until(resume_at)

    @workflow.signal(description="The send changed: look at once instead of at the next timer")
    def send_changed(self) -> None:
        """A hint; the rows are the truth."""
        self._was_poked = True

    async def _open_batches(self) -> list[BatchToDo]:
        shard = await workflow.execute_activity_method(
            CampaignActivities.open_shard,
            ShardRef(send_id=self._shard.send_id, shard=self._shard.shard),
            summary=f"shard {self._shard.shard}: what is left",
            **QUICK,
        )
        waits_no_longer = self._was_poked or (self._is_first_round and shard.is_ended)
        self._was_poked = self._is_first_round = False
        if waits_no_longer:
            return [BatchToDo(lo=batch.lo) for batch in shard.batches]
        return shard.batches

    async def _pass_over(self, batches: list[BatchToDo]) -> list[BatchResult]:
        window = asyncio.Semaphore(self._shard.pace.batches_in_flight)
        return await asyncio.gather(*(self._pass(batch, window) for batch in batches))

    async def _pass(self, batch: BatchToDo, window: asyncio.Semaphore) -> BatchResult:
        async with window:
            result = await workflow.execute_activity_method(
                SendActivities.send_batch,
                BatchInput(
                    send_id=self._shard.send_id,
                    lo=batch.lo,
                    failures=self._failures.get(batch.lo, 0),
                ),
                summary=f"shard {self._shard.shard}: messages from {batch.lo}",
                **batch_options(self._shard.pace.heartbeat_timeout),
            )
        self._failures[batch.lo] = result.failures
        return result

    async def _sleep_until(self, at: datetime) -> None:
        wait = max(at - workflow.now(), timedelta(milliseconds=10))
        try:
            await workflow.wait_condition(
                lambda: self._was_poked, timeout=wait, timeout_summary="next round of this shard"
            )
        except TimeoutError:
            return


def _waits(batch: BatchToDo) -> bool:
    return batch.resume_at is not None and batch.resume_at > workflow.now()

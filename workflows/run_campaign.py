"""RunCampaign: freeze → shards in a bounded window → close. It believes the rows."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import datetime, timedelta

from temporalio import workflow
from temporalio.exceptions import (
    ApplicationError,
    ChildWorkflowError,
    TemporalError,
    WorkflowAlreadyStartedError,
)
from temporalio.workflow import ChildWorkflowHandle, ParentClosePolicy

with workflow.unsafe.imports_passed_through():
    from activities.campaign import CampaignActivities
    from activities.contract import ChangeInput, FrozenAudience, SendRef, SendStatus, Stop
    from workflows.contract import (
        SEND_STATE,
        CampaignInput,
        CampaignResult,
        RateChange,
        ShardInput,
        ShardResult,
        shard_workflow_id,
    )
    from workflows.operator_page import render
    from workflows.options import QUICK, freeze_options
    from workflows.send_shard import SendShard

FIRST_LOOK = timedelta(seconds=5)
AFTER_LOST_SHARD = timedelta(seconds=1)
WAIT_WHEN_IDLE = "2026-11-wait-when-idle"
"""A stop that the rows do not know was followed by the next round at once, without end."""


@workflow.defn
class RunCampaign:
    """One campaign. Updates commit to PostgreSQL first; what is kept here are hints and counts."""

    @workflow.init
    def __init__(self, campaign: CampaignInput) -> None:
        """State before the first activity, so that early updates find it."""
        self._send = SendRef(send_id=campaign.send_id)
        self._pace = campaign.pace
        self._phase = "freezing"
        self._is_over = False
        self._was_poked = False
        self._audience: FrozenAudience | None = None
        self._status: SendStatus | None = None
        self._shards: dict[int, ChildWorkflowHandle[SendShard, ShardResult]] = {}
        self._idle_rounds = 0
        self._final_before = -1

    @workflow.run
    async def run(self, campaign: CampaignInput) -> CampaignResult:
        """The story of a campaign."""
        self._audience = await self._freeze()
        todo = list(range(self._audience.shards))
        while True:
            if workflow.info().is_continue_as_new_suggested():
                # Between rounds only: continuing as new would end the children that run.
                await workflow.wait_condition(workflow.all_handlers_finished)
                workflow.continue_as_new(campaign)
            await self._enter("sending")
            results = await self._drive(todo)
            closing = await workflow.execute_activity_method(
                CampaignActivities.close_send, self._send, summary="close", **QUICK
            )
            if closing.is_closed:
                break
            todo = closing.open_shards
            await self._wait_before_next_round(results)
        status = await self._look()
        await self._enter(status.state)
        self._is_over = True
        await workflow.wait_condition(workflow.all_handlers_finished)
        return CampaignResult(state=status.state, messages=self._audience.messages)

    # -- what operators do

    @workflow.update(description="Stop claiming at once; people stay owed")
    async def pause(self) -> str:
        """PostgreSQL first; the claim obeys at once."""
        return await self._change(ChangeInput(send_id=self._send.send_id, state="paused"))

    @workflow.update(description="Go on after a pause")
    async def resume(self) -> str:
        """PostgreSQL first, then the wait ends."""
        return await self._change(ChangeInput(send_id=self._send.send_id, state="running"))

    @workflow.update(description="End the campaign: who was not tried is cancelled")
    async def cancel(self) -> str:
        """PostgreSQL first; the shards fill what is left."""
        return await self._change(ChangeInput(send_id=self._send.send_id, state="cancelled"))

    @workflow.update(description="Messages a second from now on; null: no limit")
    async def set_rate(self, change: RateChange) -> str:
        """PostgreSQL first; the next flight obeys."""
        return await self._change(
            ChangeInput(send_id=self._send.send_id, rate=change.rate, sets_rate=True)
        )

    @pause.validator
    def _check_pause(self) -> None:
        self._refuse_if_over()

    @resume.validator
    def _check_resume(self) -> None:
        self._refuse_if_over()

    @cancel.validator
    def _check_cancel(self) -> None:
        self._refuse_if_over()

    @set_rate.validator
    def _check_rate(self, change: RateChange) -> None:
        self._refuse_if_over()
        if change.rate is not None and change.rate <= 0:
            raise ApplicationError("the rate must be above 0", type="BadRate")

    @workflow.signal(description="Something about the send changed: look at the rows now")
    async def send_changed(self) -> None:
        """A hint from the client; passed on to the shards that run."""
        await self._poke()

    @workflow.query(description="Where the campaign stands, as last looked at")
    def progress(self) -> SendStatus | None:
        """The rows know better; this is what the operator page shows."""
        return self._status

    # -- steps

    async def _freeze(self) -> FrozenAudience:
        return await workflow.execute_activity_method(
            CampaignActivities.freeze_audience,
            self._send,
            summary="freeze the audience",
            **freeze_options(self._pace.heartbeat_timeout),
        )

    async def _drive(self, shards: list[int]) -> list[ShardResult]:
        """Run these shards, a bounded number at once, and keep the operator page fresh meanwhile."""
        window = asyncio.Semaphore(self._pace.shards_in_flight)
        running = asyncio.ensure_future(
            asyncio.gather(*(self._drive_shard(shard, window) for shard in shards))
        )
        wait = FIRST_LOOK
        while not running.done():
            await self._look()
            await workflow.wait([running], timeout=wait.total_seconds())
            # Looks cost events, so they get rarer the longer it takes.
            wait = min(wait * 1.5, self._pace.look_every)
        return await running

    async def _drive_shard(self, shard: int, window: asyncio.Semaphore) -> ShardResult:
        async with window:
            try:
                handle = await workflow.start_child_workflow(
                    SendShard.run,
                    ShardInput(send_id=self._send.send_id, shard=shard, pace=self._pace),
                    id=shard_workflow_id(self._send.send_id, shard),
                    parent_close_policy=ParentClosePolicy.TERMINATE,
                    static_summary=f"shard {shard}",
                )
                self._shards[shard] = handle
                return await handle
            except (ChildWorkflowError, WorkflowAlreadyStartedError):
                # Terminated by hand, or left over from a run that was: the rows tell what is left.
                return ShardResult(is_done=False, resume_at=workflow.now() + AFTER_LOST_SHARD)
            finally:
                self._shards.pop(shard, None)

    async def _wait_before_next_round(self, results: list[ShardResult]) -> None:
        """Until the earliest shard has work again, a poke, or a stop that has ended."""
        resume_at = min((r.resume_at for r in results if r.resume_at), default=None)
        is_stopped = any(result.stop for result in results)
        if is_stopped:
            waited = await self._wait_while_stopped()
            if waited or not workflow.patched(WAIT_WHEN_IDLE):
                return
        if is_stopped or resume_at is None:
            resume_at = workflow.now() + self._idle_wait()
        await self._enter("waiting")
        await self._wait_until(resume_at, "next round")

    def _idle_wait(self) -> timedelta:
        """Doubles while rounds end without progress, so that no fault can make the campaign spin."""
        final = sum(self._status.counts.values()) if self._status else 0
        self._idle_rounds = self._idle_rounds + 1 if final == self._final_before else 0
        self._final_before = final
        doublings: int = min(self._idle_rounds, 10)
        return min(AFTER_LOST_SHARD * (1 << doublings), self._pace.look_every)

    async def _wait_while_stopped(self) -> bool:
        """Paused, held or without an account: look again at a poke, in time, and at the expiry.

        Whether it waited: False when the rows say that nothing stops it.
        """
        waited = False
        while True:
            status = await self._look()
            if status.stop is Stop.NONE or status.is_expired or status.state == "cancelled":
                return waited
            waited = True
            await self._enter(status.stop.value)
            await self._wait_until(
                workflow.now() + self._pace.look_every, f"{status.stop}: look again"
            )

    async def _wait_until(self, at: datetime, summary: str) -> None:
        if self._status is not None and self._status.expires_at > workflow.now():
            at = min(at, self._status.expires_at)
        wait = max(at - workflow.now(), timedelta(milliseconds=10))
        with suppress(TimeoutError):
            await workflow.wait_condition(
                lambda: self._was_poked,
                timeout=min(wait, self._pace.look_every),
                timeout_summary=summary,
            )
        self._was_poked = False

    async def _look(self) -> SendStatus:
        self._status = await workflow.execute_activity_method(
            CampaignActivities.look_at_send, self._send, summary="look at the rows", **QUICK
        )
        workflow.set_current_details(render(self._phase, self._audience, self._status))
        return self._status

    async def _enter(self, phase: str) -> None:
        """A phase change is upserted; it costs an event, so nothing else is."""
        if phase == self._phase:
            return
        self._phase = phase
        workflow.upsert_search_attributes([SEND_STATE.value_set(phase)])
        workflow.set_current_details(render(phase, self._audience, self._status))

    # -- handlers

    async def _change(self, change: ChangeInput) -> str:
        await workflow.execute_activity_method(
            CampaignActivities.change_send, change, summary="commit the change", **QUICK
        )
        await self._poke()
        return (await self._look()).state

    async def _poke(self) -> None:
        self._was_poked = True
        for handle in list(self._shards.values()):
            with suppress(TemporalError):  # it has just ended
                await handle.signal(SendShard.send_changed)

    def _refuse_if_over(self) -> None:
        if self._is_over:
            raise ApplicationError("the campaign has ended", type="CampaignOver")

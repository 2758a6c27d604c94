"""Upkeep: keeps one long heartbeating activity going for ever."""

from __future__ import annotations

from typing import Any

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from temporalio.types import MethodAsyncNoParam

    from activities.event_upkeep import EventActivities
    from activities.upkeep import UpkeepActivities
    from activities.webhooks import WebhookActivities
    from workflows.contract import (
        ACCOUNTS,
        FOLD,
        LOOK_UP,
        PARTITIONS,
        RECONCILE,
        WEBHOOKS,
        UpkeepInput,
    )
    from workflows.options import upkeep_options

ROUNDS_PER_RUN = 100

ACTIVITIES: dict[str, MethodAsyncNoParam[Any, None]] = {
    RECONCILE: UpkeepActivities.reconcile,
    PARTITIONS: UpkeepActivities.keep_partitions,
    ACCOUNTS: UpkeepActivities.watch_accounts,
    FOLD: EventActivities.fold_events,
    LOOK_UP: EventActivities.look_up_unknown,
    WEBHOOKS: WebhookActivities.watch_webhooks,
}


@workflow.defn
class Upkeep:
    """`upkeep:NAME` for each of the tasks above. The activity ends once a day or with its worker."""

    @workflow.run
    async def run(self, upkeep: UpkeepInput) -> None:
        """The activity again and again; continues as new before the history grows."""
        for _ in range(ROUNDS_PER_RUN):
            await workflow.execute_activity_method(
                ACTIVITIES[upkeep.name],
                summary=upkeep.name,
                **upkeep_options(upkeep.heartbeat_timeout),
            )
        workflow.continue_as_new(upkeep)

"""RequestSend: a request that a Temporal SDK of any language starts with plain JSON."""

from __future__ import annotations

from temporalio import workflow
from temporalio.exceptions import ApplicationError

with workflow.unsafe.imports_passed_through():
    from activities.contract import CommittedRequest, RequestInput
    from activities.requests import RequestActivities
    from workflows.contract import OWN_WORKFLOW_IDS
    from workflows.group_passes import GroupPasses
    from workflows.options import LOCAL_PASS, QUICK_GROUP_PASS


@workflow.defn
class RequestSend:
    """Commits the rows, then drives them like SendMessages. Until the first activity has run, the
    request lives in Temporal alone; (team, key) of its input makes it idempotent."""

    @workflow.init
    def __init__(self, request: RequestInput) -> None:
        """Before the first activity, so that early signals find it."""
        self._passes = GroupPasses()

    @workflow.run
    async def run(self, request: RequestInput) -> CommittedRequest:
        """The committed request, once its messages are final or parked."""
        if workflow.info().workflow_id.startswith(OWN_WORKFLOW_IDS):
            raise ApplicationError(
                "start it under an id of your own, such as request:TEAM:KEY",
                type="ReservedWorkflowId",
                non_retryable=True,
            )
        made = await workflow.execute_local_activity_method(
            RequestActivities.commit_request, request, summary="commit the request", **LOCAL_PASS
        )
        if made.group_id is not None and not made.is_repeat:
            await self._passes.run(made.group_id, QUICK_GROUP_PASS)
        return made

    @workflow.signal(description="Something about its messages changed: look at the rows now")
    def group_changed(self) -> None:
        """A hint; nobody is missed without it."""
        self._passes.poke()

"""The passes over one group, which SendMessages and RequestSend share."""

from __future__ import annotations

from datetime import timedelta

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.contract import GroupInput, GroupResult
    from activities.groups import GroupActivities
    from workflows.options import LOCAL_PASS, group_options

LEAST_WAIT = timedelta(milliseconds=50)


class GroupPasses:
    """Pass, wait for a durable timer or a poke, pass again. State is small: the rows are the truth."""

    def __init__(self) -> None:
        """Made where the workflow is, so that early signals find it."""
        self._was_poked = False

    def poke(self) -> None:
        """Something changed: do not wait for the timer."""
        self._was_poked = True

    async def run(self, group_id: int, heartbeat_timeout: timedelta) -> None:
        """Until all messages of the group are final or parked.

        The first pass is a local activity: it begins without a round trip to the server.
        """
        result = await workflow.execute_local_activity_method(
            GroupActivities.drive_group,
            GroupInput(group_id=group_id),
            summary="send what is due",
            **LOCAL_PASS,
        )
        while not result.is_done:
            await self._wait(result)
            result = await workflow.execute_activity_method(
                GroupActivities.drive_group,
                GroupInput(group_id=group_id, failures=result.failures),
                summary="send what is due again",
                **group_options(heartbeat_timeout),
            )

    async def _wait(self, result: GroupResult) -> None:
        now = workflow.now()
        try:
            await workflow.wait_condition(
                lambda: self._was_poked,
                timeout=max((result.resume_at or now) - now, LEAST_WAIT),
                timeout_summary="next pass",
            )
        except TimeoutError:
            return
        finally:
            self._was_poked = False

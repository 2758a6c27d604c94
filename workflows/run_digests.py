"""RunDigests: the digests of a day or week that has ended."""

from __future__ import annotations

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.contract import DigestsRef, DigestsWritten
    from activities.digests import DigestActivities
    from workflows.contract import DigestsInput
    from workflows.options import digest_options


@workflow.defn
class RunDigests:
    """Writes a period's messages; they go out as single messages do, by their own workflows.

    The period's row decides whether there is anything to write, so running it twice is harmless.
    """

    @workflow.run
    async def run(self, digests: DigestsInput) -> DigestsWritten:
        """How many messages the period came to."""
        return await workflow.execute_activity_method(
            DigestActivities.write_digests,
            DigestsRef(period_id=digests.period_id),
            summary="write one message a person",
            **digest_options(digests.heartbeat_timeout),
        )

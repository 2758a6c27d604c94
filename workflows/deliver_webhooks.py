"""DeliverWebhooks: tells one endpoint what happened, in order, until nothing is owed to it."""

from __future__ import annotations

from datetime import timedelta

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.contract import WebhooksRef
    from activities.webhooks import WebhookActivities
    from workflows.contract import WebhooksInput
    from workflows.options import webhook_options

PASSES_PER_RUN = 100


@workflow.defn
class DeliverWebhooks:
    """`webhook:ENDPOINT`, while something is owed to it. The head of the line blocks no other endpoint."""

    @workflow.run
    async def run(self, webhooks: WebhooksInput) -> None:
        """Passes and waits; continues as new before the history grows."""
        for _ in range(PASSES_PER_RUN):
            done = await workflow.execute_activity_method(
                WebhookActivities.deliver_webhooks,
                WebhooksRef(endpoint_id=webhooks.endpoint_id),
                summary="tell what is owed",
                **webhook_options(webhooks.heartbeat_timeout),
            )
            wait = timedelta(0)
            if done.resume_at is not None:
                wait = done.resume_at - workflow.now()
            if done.is_done or wait > webhooks.short_wait:
                return
            if wait > timedelta(0):
                await workflow.sleep(wait, summary="the endpoint failed")
        workflow.continue_as_new(webhooks)

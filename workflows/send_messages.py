"""SendMessages: drives one group of single messages until all of them are final or parked."""

from __future__ import annotations

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from workflows.contract import MessagesInput
    from workflows.group_passes import GroupPasses


# Not sandboxed: the sandbox costs 14 ms a workflow, more than all else this one does, and a group is
# often one message. It holds one field and calls two activities; its histories are replayed in tests.
@workflow.defn(sandboxed=False)
class SendMessages:
    """1 to 200 single messages, gathered by a lane."""

    @workflow.init
    def __init__(self, messages: MessagesInput) -> None:
        """Before the first pass, so that early signals find it."""
        self._passes = GroupPasses()

    @workflow.run
    async def run(self, messages: MessagesInput) -> None:
        """The passes over the group."""
        await self._passes.run(messages.group_id, messages.heartbeat_timeout)

    @workflow.signal(description="Something about its messages changed: look at the rows now")
    def group_changed(self) -> None:
        """A hint; nobody is missed without it."""
        self._passes.poke()

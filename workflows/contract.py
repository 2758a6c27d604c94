"""What is on the wire: workflow ids, task queues, search attributes, inputs and results.

All of it is pinned by tests/workflows/test_wire_names.py; changing one is a migration.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from temporalio.common import SearchAttributeKey

from activities.contract import Stop
from domain.identifier import GROUP_PREFIX, SEND_PREFIX, WEBHOOK_PREFIX, key_of, public_id

ORCHESTRATION_QUEUE = "orchestration"
TRANSACTIONAL_QUEUE = "transactional"
CAMPAIGN_QUEUE = "campaign"
UPKEEP_QUEUE = "upkeep"

SEND_ID = SearchAttributeKey.for_keyword("SendId")
SEND_KIND = SearchAttributeKey.for_keyword("SendKind")
SEND_STATE = SearchAttributeKey.for_keyword("SendState")
TEAM = SearchAttributeKey.for_keyword("Team")
TOPIC = SearchAttributeKey.for_keyword("Topic")
CHANNEL = SearchAttributeKey.for_keyword("Channel")
SEARCH_ATTRIBUTES = (SEND_ID, SEND_KIND, SEND_STATE, TEAM, TOPIC, CHANNEL)

RECONCILE = "reconcile"
PARTITIONS = "partitions"
ACCOUNTS = "accounts"
FOLD = "fold"
LOOK_UP = "look_up"
WEBHOOKS = "webhooks"
UPKEEP_TASKS = (RECONCILE, PARTITIONS, ACCOUNTS, FOLD, LOOK_UP, WEBHOOKS)


def campaign_workflow_id(send_id: int) -> str:
    """Id of a campaign's workflow: our row's key, so starting it twice is harmless."""
    return f"campaign:{public_id(SEND_PREFIX, send_id)}"


def shard_workflow_id(send_id: int, shard: int) -> str:
    """Id of a shard's workflow."""
    return f"{campaign_workflow_id(send_id)}/shard:{shard}"


def messages_workflow_id(group_id: int) -> str:
    """Id of the workflow that drives a group of single messages."""
    return f"messages:{public_id(GROUP_PREFIX, group_id)}"


def digests_workflow_id(cadence: str, period: str, team: str) -> str:
    """Id of the workflow that writes a team's digests of a period."""
    return f"digests:{cadence}:{period}/team:{team}"


def webhook_workflow_id(endpoint_id: int) -> str:
    """Id of the workflow that tells a webhook endpoint what happened."""
    return f"webhook:{public_id(WEBHOOK_PREFIX, endpoint_id)}"


OWN_WORKFLOW_IDS = ("campaign:", "messages:", "upkeep:", "cohort:", "digests:", "webhook:")
"""Beginnings of ids that are ours: nobody else's workflow may stand in their place."""


def request_workflow_id(team: str, key: str) -> str:
    """Id under which another language's SDK starts a request: the same key is the same request."""
    return f"request:{team}:{key}"


def upkeep_workflow_id(name: str) -> str:
    """Id of an upkeep workflow."""
    return f"upkeep:{name}"


def send_id_of(workflow_id: str) -> int:
    """The send that a campaign's or shard's workflow drives. Raises BadIdentifier."""
    return key_of(SEND_PREFIX, workflow_id.removeprefix("campaign:").split("/")[0])


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowPace:
    """The times that workflows wait by; they come in with the input, so tests take milliseconds."""

    heartbeat_timeout: timedelta = timedelta(seconds=30)
    look_every: timedelta = timedelta(minutes=5)
    short_wait: timedelta = timedelta(minutes=1)
    """A shard that only waits for longer than this ends, and the campaign starts it again then."""
    shards_in_flight: int = 8
    batches_in_flight: int = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignInput:
    """Which campaign to run."""

    send_id: int
    pace: WorkflowPace = field(default_factory=WorkflowPace)


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignResult:
    """How a campaign ended; the numbers are in the rows."""

    state: str
    messages: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardInput:
    """Which shard to drive."""

    send_id: int
    shard: int
    pace: WorkflowPace


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardResult:
    """Done, or when there is work again, or what stopped it."""

    is_done: bool
    resume_at: datetime | None = None
    stop: Stop = Stop.NONE


@dataclass(frozen=True, slots=True, kw_only=True)
class RateChange:
    """A new rate: messages a second; None: as fast as the account allows."""

    rate: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class UpkeepInput:
    """Which upkeep task to keep going."""

    name: str
    heartbeat_timeout: timedelta = timedelta(seconds=30)


@dataclass(frozen=True, slots=True, kw_only=True)
class MessagesInput:
    """Which group of single messages to drive."""

    group_id: int
    heartbeat_timeout: timedelta = timedelta(seconds=30)


@dataclass(frozen=True, slots=True, kw_only=True)
class DigestsInput:
    """Which period's digests to write."""

    period_id: int
    heartbeat_timeout: timedelta = timedelta(seconds=30)


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhooksInput:
    """Which webhook endpoint to tell."""

    endpoint_id: int
    heartbeat_timeout: timedelta = timedelta(seconds=30)
    short_wait: timedelta = timedelta(minutes=1)
    """What waits for longer ends the run: the rows know until when, and it is started again then. So
    an endpoint that its team has mended is heard within a minute."""

"""The connection to Temporal, and the only code that starts, updates or signals workflows."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from google.protobuf.duration_pb2 import Duration
from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import (
    AddSearchAttributesRequest,
    ListSearchAttributesRequest,
)
from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest, RegisterNamespaceRequest
from temporalio.client import Client, WorkflowUpdateFailedError
from temporalio.common import (
    Priority as TemporalPriority,
)
from temporalio.common import (
    SearchAttributePair,
    TypedSearchAttributes,
    WorkflowIDConflictPolicy,
    WorkflowIDReusePolicy,
)
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.service import GrpcCompression, RPCError, RPCStatusCode, TLSConfig

from domain.send import Priority
from models.campaign import Campaign
from models.digest import DuePeriod
from models.message_group import Urgency
from models.webhook_delivery import DueEndpoint
from observability import tracing
from observability.failures import FailureWithoutPeople
from settings import PREFIX, Settings, SettingsError, uses_temporal_tls
from workflows.contract import (
    CHANNEL,
    ORCHESTRATION_QUEUE,
    SEARCH_ATTRIBUTES,
    SEND_ID,
    SEND_KIND,
    SEND_STATE,
    TEAM,
    TOPIC,
    TRANSACTIONAL_QUEUE,
    UPKEEP_QUEUE,
    CampaignInput,
    DigestsInput,
    MessagesInput,
    RateChange,
    UpkeepInput,
    WebhooksInput,
    WorkflowPace,
    campaign_workflow_id,
    digests_workflow_id,
    messages_workflow_id,
    upkeep_workflow_id,
    webhook_workflow_id,
)
from workflows.deliver_webhooks import DeliverWebhooks
from workflows.run_campaign import RunCampaign
from workflows.run_digests import RunDigests
from workflows.send_messages import SendMessages
from workflows.upkeep import Upkeep

RETENTION_SECONDS = 7 * 86400
"""How long Temporal keeps the history of a run that has ended."""
GROUP_TASK_TIMEOUT = timedelta(seconds=5)
"""After so long a killed worker's group is another worker's; Temporal's own default is 10 s."""
CONNECT_TIMEOUT = timedelta(seconds=5)
UPDATE_TIMEOUT = timedelta(seconds=5)


DATA_CONVERTER = replace(pydantic_data_converter, failure_converter_class=FailureWithoutPeople)


class TemporalUnreachable(Exception):
    """Temporal did not answer; the message is one sentence."""


async def connect(settings: Settings) -> Client:
    """A client whose converter is the workers'.

    Raises TemporalUnreachable within five seconds, SettingsError where a file cannot be read.
    """
    address = settings.temporal_address
    if not address:
        raise TemporalUnreachable(
            "Carillon has no Temporal here: start the development stack with `carillon up`,"
            " or set CARILLON_TEMPORAL_ADDRESS."
        )
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT.total_seconds()):
            return await Client.connect(
                address,
                namespace=settings.temporal_namespace,
                data_converter=DATA_CONVERTER,
                interceptors=tracing.interceptors(),
                tls=tls_of(settings),
                api_key=settings.temporal_api_key.get_secret_value() or None,
                # Ids and counts are too small to gain by gzip, which costs CPU at both ends.
                grpc_compression=GrpcCompression.NONE,
            )
    except (RuntimeError, RPCError, TimeoutError) as error:
        by_tls = " over TLS" if tls_of(settings) else ""
        raise TemporalUnreachable(f"Temporal at {address} does not answer{by_tls}.") from error


def tls_of(settings: Settings) -> TLSConfig | bool:
    """How the connection to Temporal is made private; False: not at all.

    Raises SettingsError where a file cannot be read, or a certificate comes without its key.
    """
    if bool(settings.temporal_client_cert) is not bool(settings.temporal_client_key):
        raise SettingsError(
            "CARILLON_TEMPORAL_CLIENT_CERT and CARILLON_TEMPORAL_CLIENT_KEY: set both or neither"
        )
    if not uses_temporal_tls(settings):
        return False
    return TLSConfig(
        server_root_ca_cert=_file_of(settings, "temporal_ca"),
        client_cert=_file_of(settings, "temporal_client_cert"),
        client_private_key=_file_of(settings, "temporal_client_key"),
        domain=settings.temporal_server_name or None,
    )


def _file_of(settings: Settings, name: str) -> bytes | None:
    path = getattr(settings, name)
    try:
        return Path(path).read_bytes() if path else None
    except OSError as error:
        raise SettingsError(
            f"{PREFIX}{name.upper()}: cannot read {path}: {error.strerror}"
        ) from error


def workflow_pace(settings: Settings) -> WorkflowPace:
    """The times that workflows wait by, which go in with their input."""
    return WorkflowPace(
        heartbeat_timeout=settings.seconds("heartbeat_timeout"),
        look_every=settings.seconds("look_every"),
        batches_in_flight=settings.worker_processes * settings.batches_per_process,
    )


def temporal_priority(priority: Priority, team: str) -> TemporalPriority:
    """What goes first in a queue, and whose turn it is among equals: critical is Temporal's 1.

    Children and activities inherit it.
    """
    return TemporalPriority(priority_key=int(priority) + 1, fairness_key=team)


async def start_campaign_workflow(client: Client, campaign: Campaign, pace: WorkflowPace) -> None:
    """Start the campaign's workflow; nothing where it runs. The rows decide what it does."""
    attributes: list[SearchAttributePair[str]] = [
        SearchAttributePair(SEND_ID, campaign.public_id),
        SearchAttributePair(SEND_KIND, "campaign"),
        SearchAttributePair(SEND_STATE, "starting"),
        SearchAttributePair(TEAM, campaign.team),
        SearchAttributePair(TOPIC, campaign.topic),
        SearchAttributePair(CHANNEL, campaign.channel),
    ]
    with tracing.continued(campaign.trace_parent):
        await client.start_workflow(
            RunCampaign.run,
            CampaignInput(send_id=campaign.id, pace=pace),
            id=campaign_workflow_id(campaign.id),
            task_queue=ORCHESTRATION_QUEUE,
            id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
            search_attributes=TypedSearchAttributes(attributes),
            priority=temporal_priority(campaign.priority, campaign.team),
            static_summary=f"{campaign.name} · {campaign.template} → {campaign.topic}"[:200],
        )


async def start_group_workflow(
    client: Client, group_id: int, urgency: Urgency, heartbeat_timeout: timedelta
) -> None:
    """Start the workflow of a group of single messages; nothing where it runs.

    Eagerly: where this process runs the worker, the first task comes back with the answer.
    """
    with tracing.continued(urgency.trace_parent):
        await client.start_workflow(
            SendMessages.run,
            MessagesInput(group_id=group_id, heartbeat_timeout=heartbeat_timeout),
            id=messages_workflow_id(group_id),
            task_queue=TRANSACTIONAL_QUEUE,
            id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
            priority=temporal_priority(urgency.priority, urgency.team),
            request_eager_start=True,
            task_timeout=GROUP_TASK_TIMEOUT,
        )


async def start_digests_workflow(
    client: Client, due: DuePeriod, heartbeat_timeout: timedelta
) -> None:
    """Start the workflow that writes a period's digests; nothing where it runs."""
    await client.start_workflow(
        RunDigests.run,
        DigestsInput(period_id=due.id, heartbeat_timeout=heartbeat_timeout),
        id=digests_workflow_id(due.cadence, due.period, due.team),
        task_queue=ORCHESTRATION_QUEUE,
        id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
        id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
        search_attributes=TypedSearchAttributes([SearchAttributePair(TEAM, due.team)]),
        priority=temporal_priority(Priority.LOW, due.team),
        static_summary=f"{due.cadence} digests of {due.period}",
    )


async def start_webhooks_workflow(
    client: Client, due: DueEndpoint, heartbeat_timeout: timedelta
) -> None:
    """Start the workflow that tells an endpoint what happened; nothing where it runs."""
    await client.start_workflow(
        DeliverWebhooks.run,
        WebhooksInput(endpoint_id=due.id, heartbeat_timeout=heartbeat_timeout),
        id=webhook_workflow_id(due.id),
        task_queue=UPKEEP_QUEUE,
        id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
        id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
        search_attributes=TypedSearchAttributes([SearchAttributePair(TEAM, due.team)]),
        priority=temporal_priority(Priority.LOW, due.team),
        static_summary="outgoing webhooks",
    )


async def poke_groups(client: Client, group_ids: Collection[int]) -> None:
    """Tell running groups to look at their rows now. A hint: nobody is missed without it."""
    for group_id in group_ids:
        with suppress(RPCError):  # not running, or Temporal is away
            await client.get_workflow_handle(messages_workflow_id(group_id)).signal(
                SendMessages.group_changed
            )


async def ensure_search_attributes(client: Client) -> None:
    """Register those of ours that the namespace lacks; operators filter the lists of runs by them."""
    known = await client.operator_service.list_search_attributes(
        ListSearchAttributesRequest(namespace=client.namespace)
    )
    missing = {
        attribute.name: IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD
        for attribute in SEARCH_ATTRIBUTES
        if attribute.name not in known.custom_attributes
    }
    if missing:
        await client.operator_service.add_search_attributes(
            AddSearchAttributesRequest(search_attributes=missing, namespace=client.namespace)
        )


async def ensure_namespace(client: Client) -> None:
    """Register our namespace if Temporal has lost it, or never had it."""
    try:
        await client.workflow_service.describe_namespace(
            DescribeNamespaceRequest(namespace=client.namespace)
        )
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise
        await client.workflow_service.register_namespace(
            RegisterNamespaceRequest(
                namespace=client.namespace,
                workflow_execution_retention_period=Duration(seconds=RETENTION_SECONDS),
            )
        )


async def ensure_upkeep(client: Client, name: str, heartbeat_timeout: timedelta) -> None:
    """Start an upkeep workflow unless it runs."""
    await client.start_workflow(
        Upkeep.run,
        UpkeepInput(name=name, heartbeat_timeout=heartbeat_timeout),
        id=upkeep_workflow_id(name),
        task_queue=UPKEEP_QUEUE,
        id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
        id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
        static_summary=f"upkeep: {name}",
    )


async def poke_campaigns(client: Client, send_ids: Collection[int]) -> None:
    """Tell running campaigns to look at their rows now. A hint: nobody is missed without it."""
    for send_id in send_ids:
        with suppress(RPCError):  # not running, or Temporal is away
            await client.get_workflow_handle(campaign_workflow_id(send_id)).signal(
                RunCampaign.send_changed
            )


async def tell_campaign(
    client: Client, send_id: int, change: str, rate: float | None = None
) -> None:
    """Send the update `pause`, `resume`, `cancel` or `set_rate`; PostgreSQL holds the change already."""
    handle = client.get_workflow_handle(campaign_workflow_id(send_id))
    arguments = [RateChange(rate=rate)] if change == "set_rate" else []
    with suppress(RPCError, WorkflowUpdateFailedError, TimeoutError):
        async with asyncio.timeout(UPDATE_TIMEOUT.total_seconds()):
            await handle.execute_update(change, args=arguments)

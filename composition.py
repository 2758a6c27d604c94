"""What the workers of a process are made of: each role's workflows and activities, with what they need."""

from __future__ import annotations

import asyncio
import functools
import os
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

from sqlalchemy import Engine
from temporalio.client import Client
from temporalio.worker import Worker
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions
from temporalio.workflow import SandboxImportNotificationPolicy

from activities.account_book import AccountBook
from activities.campaign import CampaignActivities
from activities.contract import CommittedRequest, DigestsWritten, RequestInput
from activities.crew import Crew
from activities.digests import DigestActivities
from activities.event_upkeep import EventActivities, Poke
from activities.fail_points import Reached, pass_by
from activities.failures import RequestNotTaken
from activities.gatherer import Gatherer, GathererPace
from activities.groups import GroupActivities
from activities.health_log import HealthLog
from activities.limit_book import LimitBook
from activities.look_up import LookUp
from activities.mailer import Links
from activities.pace import Pace
from activities.requests import RequestActivities
from activities.send_batch import SendActivities
from activities.sessions import Sessions
from activities.single_mailer import SingleMailer
from activities.upkeep import UpkeepActivities
from activities.webhooks import WebhookActivities, WebhookPace
from domain.address_key import address_key
from domain.health import HealthRules
from domain.trip_wire import Wires
from models.campaign import Campaign, find_campaign
from models.claim import AttemptIds, next_lane
from models.database import connect
from models.digest import DuePeriod
from models.message_group import Urgency, urgency
from models.webhook_delivery import DueEndpoint
from settings import Settings
from starter.accounts import public_url
from starter.campaigns import CampaignRefused
from starter.client import (
    poke_campaigns,
    poke_groups,
    start_campaign_workflow,
    start_digests_workflow,
    start_group_workflow,
    start_webhooks_workflow,
    workflow_pace,
)
from starter.digests import write_digests
from starter.messages import REFUSALS, Carillon, commit_request
from starter.stored_accounts import KnownAccounts
from starter.webhooks import signing
from workflows.contract import (
    CAMPAIGN_QUEUE,
    ORCHESTRATION_QUEUE,
    TRANSACTIONAL_QUEUE,
    UPKEEP_QUEUE,
    UPKEEP_TASKS,
)
from workflows.deliver_webhooks import DeliverWebhooks
from workflows.request_send import RequestSend
from workflows.run_campaign import RunCampaign
from workflows.run_digests import RunDigests
from workflows.send_messages import SendMessages
from workflows.send_shard import SendShard
from workflows.upkeep import Upkeep

ENDPOINTS_AT_ONCE = 32
"""Webhook endpoints that one worker tells; mostly it waits for their answers."""


def workflow_runner() -> SandboxedWorkflowRunner:
    """The sandbox that refuses what a workflow file imports without meaning to."""
    return SandboxedWorkflowRunner(
        restrictions=SandboxRestrictions.default.with_import_notification_policy(
            SandboxImportNotificationPolicy.RAISE_ON_UNINTENTIONAL_PASSTHROUGH
        )
    )


def pace_of(settings: Settings) -> Pace:
    """The times and sizes of activities."""
    return Pace(
        lease=settings.seconds("lease"),
        lease_renewal=settings.seconds("lease_renewal"),
        no_progress=settings.seconds("no_progress"),
        call_within=settings.seconds("call_within"),
        request_timeout=settings.seconds("request_timeout"),
        unknown_wait=settings.seconds("unknown_wait"),
        transactional_unknown_wait=settings.seconds("transactional_unknown_wait"),
        settle_every=settings.seconds("settle_every"),
        resume_grid=settings.seconds("resume_grid"),
        backoff_first=settings.seconds("backoff_first"),
        backoff_most=settings.seconds("backoff_most"),
        max_tries=settings.max_tries,
        batch_size=settings.batch_size,
        shard_size=settings.shard_size,
        reconcile_every=settings.seconds("reconcile_every"),
        reconcile_send_every=settings.seconds("reconcile_send_every"),
        fold_every=settings.seconds("fold_every"),
        look_up_every=settings.seconds("look_up_every"),
        wires=Wires(
            hard_bounces=settings.trip_wire_hard_bounces,
            complaints=settings.trip_wire_complaints,
            errors=settings.trip_wire_errors,
            first=settings.trip_wire_first,
            window=settings.seconds("trip_wire_window"),
            least=settings.trip_wire_least,
        ),
    )


def health_rules(settings: Settings) -> HealthRules:
    """The rules of accounts' health, in these settings' minutes."""
    return HealthRules(minute=settings.seconds("health_minute"))


class Composition:
    """Builds the workers of one process."""

    def __init__(
        self, settings: Settings, engine: Engine, client: Client, reached: Reached = pass_by
    ) -> None:
        """`reached`: what happens at fail points; nothing in production."""
        self._settings = settings
        self._engine = engine
        self._client = client
        self._reached = reached

    def worker(self, role: str) -> Worker:
        """The worker of one role."""
        makers: dict[str, Callable[[], Worker]] = {
            "orchestration": self._orchestration,
            "transactional": self._transactional,
            "campaign": self._campaign,
            "upkeep": self._upkeep,
        }
        return makers[role]()

    def _orchestration(self) -> Worker:
        activities = CampaignActivities(self._engine, pace_of(self._settings), self._reached)
        return Worker(
            self._client,
            task_queue=ORCHESTRATION_QUEUE,
            workflows=[RunCampaign, SendShard, RunDigests],
            activities=[
                activities.freeze_audience,
                activities.open_shard,
                activities.look_at_send,
                activities.change_send,
                activities.close_send,
                self._digests().write_digests,
            ],
            activity_executor=ThreadPoolExecutor(8),
            max_concurrent_activities=8,
            workflow_runner=workflow_runner(),
            max_heartbeat_throttle_interval=self._heartbeat_every,
            default_heartbeat_throttle_interval=self._heartbeat_every,
            graceful_shutdown_timeout=self._grace,
        )

    def _digests(self) -> DigestActivities:
        def write(period_id: int) -> DigestsWritten:
            try:
                written = write_digests(self._engine, self._settings, period_id)
            except CampaignRefused as error:
                raise RequestNotTaken(str(error)) from error
            return DigestsWritten(messages=written.messages)

        return DigestActivities(write, self._heartbeat_every)

    async def _start_digests(self, due: DuePeriod) -> None:
        await start_digests_workflow(self._client, due, self._settings.seconds("heartbeat_timeout"))

    def _campaign(self) -> Worker:
        slots = self._settings.batches_per_process
        activities = SendActivities(self._crew(), self._sessions(), self._links())
        return Worker(
            self._client,
            task_queue=CAMPAIGN_QUEUE,
            activities=[activities.send_batch],
            activity_executor=ThreadPoolExecutor(slots),
            max_concurrent_activities=slots,
            max_heartbeat_throttle_interval=self._heartbeat_every,
            default_heartbeat_throttle_interval=self._heartbeat_every,
            graceful_shutdown_timeout=self._grace,
        )

    def _transactional(self) -> Worker:
        slots = self._settings.groups_per_process
        crew = replace(self._crew(), engine=self._single_engine)
        mailer = SingleMailer(crew.engine, self._links())
        activities = GroupActivities(
            crew, self._sessions(one_each=True), mailer, self.gatherer.begun
        )
        return Worker(
            self._client,
            task_queue=TRANSACTIONAL_QUEUE,
            workflows=[SendMessages, RequestSend],
            activities=[activities.drive_group, self._requests().commit_request],
            activity_executor=ThreadPoolExecutor(2 * slots),
            max_concurrent_activities=slots,
            max_concurrent_local_activities=slots,
            max_concurrent_workflow_tasks=2 * slots,
            workflow_runner=workflow_runner(),
            max_heartbeat_throttle_interval=self._heartbeat_every,
            default_heartbeat_throttle_interval=self._heartbeat_every,
            graceful_shutdown_timeout=self._grace,
        )

    @functools.cached_property
    def _single_engine(self) -> Engine:
        """Connections for groups, which take many short transactions each: a dead one is noticed by
        the statement that meets it, and the pass is repeated, instead of a question before each."""
        return connect(
            self._settings.database_url,
            pool_size=self._settings.groups_per_process * 3 + self._settings.lanes,
            application_name="carillon worker, single messages",
            address_key=address_key(self._settings.link_secret.get_secret_value().encode()),
            is_checked=False,
            is_indexed=True,
        )

    def _requests(self) -> RequestActivities:
        client = Carillon(self._settings)

        def commit(request: RequestInput) -> CommittedRequest:
            try:
                return commit_request(client, request)
            except REFUSALS as error:
                raise RequestNotTaken(str(error)) from error

        return RequestActivities(commit)

    @functools.cached_property
    def gatherer(self) -> Gatherer:
        """The lanes that turn due single messages into groups."""
        settings = self._settings
        pace = GathererPace(
            lanes=settings.lanes, lane_pause=settings.lane_pause, sweep_every=settings.sweep_every
        )
        return Gatherer(self._single_engine, self._start_group, pace, self._reached)

    async def _start_group(self, group_id: int, how: Urgency) -> None:
        await start_group_workflow(
            self._client, group_id, how, self._settings.seconds("heartbeat_timeout")
        )

    async def _start_lost_group(self, group_id: int) -> None:
        def look() -> Urgency:
            with self._engine.connect() as connection:
                return urgency(connection, group_id)

        await self._start_group(group_id, await asyncio.to_thread(look))

    def _upkeep(self) -> Worker:
        activities = UpkeepActivities(
            self._engine,
            pace_of(self._settings),
            self._start_campaign,
            self._start_lost_group,
            self._start_digests,
            health_rules(self._settings),
        )
        events = self._events()
        webhooks = self._webhooks()
        slots = ENDPOINTS_AT_ONCE + len(UPKEEP_TASKS)
        return Worker(
            self._client,
            task_queue=UPKEEP_QUEUE,
            workflows=[Upkeep, DeliverWebhooks],
            activities=[
                activities.reconcile,
                activities.keep_partitions,
                activities.watch_accounts,
                events.fold_events,
                events.look_up_unknown,
                webhooks.watch_webhooks,
                webhooks.deliver_webhooks,
            ],
            activity_executor=ThreadPoolExecutor(slots),
            max_concurrent_activities=slots,
            workflow_runner=workflow_runner(),
            max_heartbeat_throttle_interval=self._heartbeat_every,
            default_heartbeat_throttle_interval=self._heartbeat_every,
            graceful_shutdown_timeout=self._grace,
        )

    def _webhooks(self) -> WebhookActivities:
        settings = self._settings
        pace = WebhookPace(
            heartbeat_every=self._heartbeat_every,
            webhooks_every=settings.seconds("webhooks_every"),
            backoff_first=settings.seconds("backoff_first"),
            webhook_gives_up_after=settings.seconds("webhook_gives_up_after"),
            webhook_kept=settings.seconds("webhook_kept"),
        )
        return WebhookActivities(self._engine, signing(settings), pace, self._start_webhooks)

    async def _start_webhooks(self, due: DueEndpoint) -> None:
        await start_webhooks_workflow(
            self._client, due, self._settings.seconds("heartbeat_timeout")
        )

    def _events(self) -> EventActivities:
        mailer = SingleMailer(self._engine, self._links())
        return EventActivities(
            self._engine,
            pace_of(self._settings),
            Poke(
                groups=functools.partial(poke_groups, self._client),
                campaigns=functools.partial(poke_campaigns, self._client),
            ),
            LookUp(self._engine, self._sessions(one_each=True), mailer),
        )

    @property
    def _heartbeat_every(self) -> timedelta:
        return self._settings.seconds("lease_renewal")

    @property
    def _grace(self) -> timedelta:
        """A stop waits for the answers that are on the wire."""
        return self._settings.seconds("request_timeout")

    def _crew(self) -> Crew:
        with self._engine.begin() as connection:
            lane = next_lane(connection)
        return Crew(
            engine=self._engine,
            pace=pace_of(self._settings),
            attempt_ids=AttemptIds(lane),
            worker=f"{socket.gethostname()}:{os.getpid()}",
            reached=self._reached,
            limits=LimitBook(self._engine),
            health=HealthLog(
                self._engine,
                health_rules(self._settings),
                slow_after=self._settings.seconds("slow_after"),
                probe_for=self._settings.seconds("request_timeout"),
            ),
        )

    def _sessions(self, *, one_each: bool = False) -> Sessions:
        """`one_each`: a message a request, for single messages, which share nothing."""
        settings = self._settings
        if one_each:
            settings = settings.model_copy(update={"messages_per_request": 1})
        return Sessions(AccountBook(self._engine, KnownAccounts(settings).read))

    def _links(self) -> Links:
        return Links(
            public_url=public_url(self._settings),
            secret=self._settings.link_secret.get_secret_value().encode(),
        )

    async def _start_campaign(self, send_id: int) -> None:
        def find() -> Campaign:
            with self._engine.connect() as connection:
                return find_campaign(connection, send_id)

        campaign = await asyncio.to_thread(find)
        await start_campaign_workflow(self._client, campaign, workflow_pace(self._settings))

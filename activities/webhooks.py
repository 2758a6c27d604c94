"""Telling endpoints what happened: one event at a time, in order; the rows say what is owed.

Who begins raises the endpoint's epoch, so an activity that Temporal has given up tells nothing more
after the event it is at. An answer that was lost, or not committed, is asked for again with the same
webhook-id: the receiver knows it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, Engine
from temporalio import activity

from activities.contract import WebhooksPass, WebhooksRef
from activities.heartbeats import heartbeats
from activities.rounds import in_rounds
from domain.answer import Answer, AnswerClass
from domain.identifier import WEBHOOK_DELIVERY_PREFIX, WEBHOOK_PREFIX, public_id
from domain.webhook_event import GONE, event_body, retry_wait
from models.database import in_transaction
from models.webhook_delivery import (
    DueEndpoint,
    OwedEvent,
    begin_delivery,
    disable,
    due_endpoints,
    forget_deliveries,
    next_event,
    record_delivered,
    record_failed,
)
from providers.webhook import WebhookConfig
from providers.webhook_event import EventPoster, event_secrets

log = logging.getLogger(__name__)

PASS_SECONDS = 30.0
"""A pass ends after so long; the workflow begins the next."""
FORGET_EVERY_SECONDS = 60.0
"""All that is owed is looked at for it, so not at each look."""

StartDelivery = Callable[[DueEndpoint], Awaitable[None]]
"""Starts an endpoint's workflow unless it runs; handed in by `composition.py`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookPace:
    """See the settings of the same names for what each means."""

    heartbeat_every: timedelta
    webhooks_every: timedelta
    backoff_first: timedelta
    webhook_gives_up_after: timedelta
    webhook_kept: timedelta


class WebhookActivities:
    """`deliver_webhooks`, and what starts it where something is owed."""

    def __init__(
        self,
        engine: Engine,
        config: WebhookConfig | None,
        pace: WebhookPace,
        start: StartDelivery,
    ) -> None:
        """Made once in `composition.py`. Without a config nothing can be signed, and nobody is told."""
        self._engine = engine
        self._config = config
        self._pace = pace
        self._start = start
        self._forget_at = 0.0

    @activity.defn
    async def watch_webhooks(self) -> None:
        """Every few seconds: start the workflow of each endpoint that something is owed to, and take
        away what was told long ago. A no-op where the workflow runs."""
        await in_rounds(self._pace.webhooks_every, self._watch_once)

    @activity.defn
    def deliver_webhooks(self, webhooks: WebhooksRef) -> WebhooksPass:
        """One pass: tell the endpoint what is owed to it, until there is nothing left, or it fails."""
        epoch = in_transaction(self._engine, lambda c: begin_delivery(c, webhooks.endpoint_id))
        if epoch is None or self._config is None:
            return WebhooksPass(is_done=True)
        teller = _Teller(self._engine, self._config, self._pace, webhooks.endpoint_id, epoch)
        with heartbeats(self._pace.heartbeat_every), closing(teller):
            return teller.run()

    async def _watch_once(self) -> None:
        due = await asyncio.to_thread(in_transaction, self._engine, due_endpoints)
        if due and self._config is None:
            log.warning("webhooks.cannot_be_signed", extra={"endpoints": len(due)})
            return
        for endpoint in due:
            await self._start(endpoint)
        if time.monotonic() < self._forget_at:
            return
        self._forget_at = time.monotonic() + FORGET_EVERY_SECONDS
        await asyncio.to_thread(
            in_transaction, self._engine, lambda c: forget_deliveries(c, self._pace.webhook_kept)
        )


class _Teller:
    """One pass over one endpoint."""

    def __init__(
        self,
        engine: Engine,
        config: WebhookConfig,
        pace: WebhookPace,
        endpoint_id: int,
        epoch: int,
    ) -> None:
        self._engine = engine
        self._config = config
        self._pace = pace
        self._endpoint_id = endpoint_id
        self._epoch = epoch
        self._poster = EventPoster(config)

    def close(self) -> None:
        self._poster.close()

    def run(self) -> WebhooksPass:
        end = time.monotonic() + PASS_SECONDS
        while time.monotonic() < end and not activity.is_worker_shutdown():
            with self._engine.connect() as connection:
                owed = next_event(connection, self._endpoint_id, self._epoch)
            if owed is None:
                return WebhooksPass(is_done=True)
            resume_at = owed.next_at or self._tell(owed)
            if resume_at is not None:
                return WebhooksPass(is_done=False, resume_at=resume_at)
        return WebhooksPass(is_done=False)

    def _tell(self, owed: OwedEvent) -> datetime | None:
        """When it is tried again; None: go on."""
        endpoint = owed.endpoint
        answer = self._poster.post(
            endpoint.url,
            public_id(WEBHOOK_DELIVERY_PREFIX, owed.id),
            event_body(owed.event, owed.payload, owed.created_at),
            event_secrets(
                self._config, public_id(WEBHOOK_PREFIX, endpoint.id), endpoint.generations
            ),
        )
        if answer.kind is AnswerClass.ACCEPTED:
            in_transaction(self._engine, lambda c: record_delivered(c, owed))
            return None
        return in_transaction(self._engine, lambda c: self._failed(c, owed, answer))

    def _failed(self, connection: Connection, owed: OwedEvent, answer: Answer) -> datetime | None:
        wait = retry_wait(owed.tries + 1, self._pace.backoff_first, answer.retry_after)
        resume_at = record_failed(connection, owed, self._epoch, answer.detail, wait)
        is_gone = answer.code == GONE
        long = self._pace.webhook_gives_up_after
        hours = long.total_seconds() / 3600
        reason = answer.detail if is_gone else f"It failed for {hours:g} hours. {answer.detail}"
        after = None if is_gone else long
        if disable(connection, self._endpoint_id, self._epoch, reason, after=after):
            log.warning(
                "webhooks.disabled",
                extra={"endpoint": public_id(WEBHOOK_PREFIX, self._endpoint_id), "reason": reason},
            )
            return None
        return resume_at

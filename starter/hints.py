"""Telling Temporal in the background what the rows hold already, for callers that must not wait."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable, Collection
from concurrent.futures import Future

from temporalio.client import Client
from temporalio.service import RPCError

from models.campaign import Campaign
from settings import Settings
from starter.client import (
    TemporalUnreachable,
    connect,
    poke_campaigns,
    poke_groups,
    start_campaign_workflow,
    tell_campaign,
    workflow_pace,
)

log = logging.getLogger("starter.hints")

MOST_UNDER_WAY = 64
"""More are dropped: the reconciler and the workflows look at the rows by themselves."""
HINT_TIMEOUT_SECONDS = 10.0

Hint = Callable[[Client], Awaitable[None]]


class Hints:
    """One thread and one connection of a process, made with the first hint. Thread-safe."""

    def __init__(self, settings: Settings) -> None:
        """Temporal is asked nothing yet, and need not be there."""
        self._settings = settings
        self._free = threading.BoundedSemaphore(MOST_UNDER_WAY)
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._client: Client | None = None

    def start(self, campaign: Campaign) -> Future[None] | None:
        """Have the campaign's workflow started; it was committed as accepted."""
        pace = workflow_pace(self._settings)
        return self._give(lambda client: start_campaign_workflow(client, campaign, pace))

    def tell(self, send_id: int, change: str, rate: float | None = None) -> Future[None] | None:
        """Have the campaign's workflow obey `pause`, `resume`, `cancel` or `set_rate` at once."""
        return self._give(lambda client: tell_campaign(client, send_id, change, rate))

    def wake(
        self, send_ids: Collection[int], group_ids: Collection[int] = ()
    ) -> Future[None] | None:
        """Have campaigns, and groups of single messages, look at their rows now."""
        if not send_ids and not group_ids:
            return None

        async def hint(client: Client) -> None:
            await poke_campaigns(client, send_ids)
            await poke_groups(client, group_ids)

        return self._give(hint)

    def _give(self, hint: Hint) -> Future[None] | None:
        """What will be done once the hint was given or given up; None: there are too many."""
        if not self._free.acquire(blocking=False):
            log.warning("hints.dropped")
            return None
        given = asyncio.run_coroutine_threadsafe(self._run(hint), self._running_loop())
        given.add_done_callback(self._done)
        return given

    async def _run(self, hint: Hint) -> None:
        try:
            async with asyncio.timeout(HINT_TIMEOUT_SECONDS):
                await hint(await self._connected())
        except (TemporalUnreachable, RPCError, TimeoutError) as error:
            log.info("hints.not_heard", extra={"error": type(error).__name__})

    async def _connected(self) -> Client:
        """The client; once made it connects again by itself."""
        if self._client is None:
            self._client = await connect(self._settings)
        return self._client

    def _done(self, given: Future[None]) -> None:
        self._free.release()
        error = None if given.cancelled() else given.exception()
        if error is not None:
            log.error("hints.failed", extra={"error": type(error).__name__})

    def _running_loop(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                threading.Thread(
                    target=self._loop.run_forever, name="carillon-hints", daemon=True
                ).start()
            return self._loop

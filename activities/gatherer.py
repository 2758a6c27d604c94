"""Gatherers: due single messages become groups, and each group a workflow (DESIGN §6, group commit).

Not an activity: it must work before any workflow does. Callers only commit rows and announce them.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import select
import threading
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import psycopg2
from psycopg2.extensions import ISOLATION_LEVEL_AUTOCOMMIT
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from activities.fail_points import FailPoint, Reached
from models.database import in_transaction
from models.message_group import Urgency
from models.outbox import NOTICE, gather

log = logging.getLogger(__name__)

StartGroup = Callable[[int, Urgency], Awaitable[None]]
"""Starts the workflow of a group; handed in by `composition.py`, as it lives in starter/."""

MOST_IN_A_GROUP = 200
BUSY_FROM = 15
"""Starts within the last second from which a lane waits before it gathers again."""
LOOK_ON_SECONDS = 0.2
"""After a notice or a group lanes look again at each pause: callers do not announce every commit."""
BEGIN_WITHIN_SECONDS = 1.0
"""A lane waits no longer for its last group to be driven."""
RECONNECT_SECONDS = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class GathererPace:
    """Seconds; see the settings of the same names."""

    lanes: int
    lane_pause: float
    sweep_every: float


class Gatherer:
    """Lanes that gather side by side, woken by a notice or by the sweep."""

    def __init__(
        self, engine: Engine, start_group: StartGroup, pace: GathererPace, reached: Reached
    ) -> None:
        """`engine`: a connection for each lane; one more listens."""
        self._reached = reached
        self._engine = engine
        self._start_group = start_group
        self._pace = pace
        self._wakers = [asyncio.Event() for _ in range(pace.lanes)]
        self._starts: deque[float] = deque(maxlen=BUSY_FROM)
        self._not_begun: dict[int, asyncio.Event] = {}
        self._lively_until = 0.0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._is_over = threading.Event()

    async def run(self) -> None:
        """Gather until cancelled."""
        self._loop = asyncio.get_running_loop()
        listener = threading.Thread(target=self._listen, args=(self._loop,), daemon=True)
        listener.start()
        try:
            await asyncio.gather(*(self._lane(waker) for waker in self._wakers))
        finally:
            self._is_over.set()

    def begun(self, group_id: int) -> None:
        """The group is being driven; from any thread. Groups of other processes are none of ours."""
        event = self._not_begun.get(group_id)
        if event is not None and self._loop is not None:
            self._loop.call_soon_threadsafe(event.set)

    async def _lane(self, waker: asyncio.Event) -> None:
        while True:
            waker.clear()
            try:
                while await self._gather_once():
                    await self._rest_if_busy()
            except DBAPIError:
                log.warning("gatherer.database_away")
                await asyncio.sleep(RECONNECT_SECONDS)
            is_lively = asyncio.get_running_loop().time() < self._lively_until
            try:
                await asyncio.wait_for(
                    waker.wait(), self._pace.lane_pause if is_lively else self._pace.sweep_every
                )
            except TimeoutError:
                continue

    async def _gather_once(self) -> bool:
        """Whether a group was made. A start that fails is left to the reconciler."""
        group = await asyncio.to_thread(
            in_transaction, self._engine, lambda c: gather(c, MOST_IN_A_GROUP)
        )
        if group is None:
            return False
        self._reached(FailPoint.GATHERED)
        self._not_begun[group.id] = asyncio.Event()
        try:
            await self._start_group(group.id, group.urgency)
            await self._wait_begun(group.id)
        except Exception:  # Temporal is away: the group's rows wait for the reconciler
            log.exception("gatherer.start_failed", extra={"group_id": group.id})
        finally:
            del self._not_begun[group.id]
        self._starts.append(asyncio.get_running_loop().time())
        self._stay_lively()
        return True

    async def _wait_begun(self, group_id: int) -> None:
        """While groups wait for a driver, messages are better kept: the next group takes more."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._not_begun[group_id].wait(), BEGIN_WITHIN_SECONDS)

    async def _rest_if_busy(self) -> None:
        """Under load a lane waits, so that the messages that come meanwhile share a workflow."""
        now = asyncio.get_running_loop().time()
        if len(self._starts) == BUSY_FROM and now - self._starts[0] < 1.0:
            await asyncio.sleep(self._pace.lane_pause)

    def _listen(self, loop: asyncio.AbstractEventLoop) -> None:
        """A thread that wakes the lanes at each notice, and outlives a restart of the database."""
        while not self._is_over.is_set():
            try:
                self._listen_on_one_connection(loop)
            except psycopg2.Error:
                log.warning("gatherer.not_listening")
                self._is_over.wait(RECONNECT_SECONDS)

    def _listen_on_one_connection(self, loop: asyncio.AbstractEventLoop) -> None:
        url = self._engine.url
        connection = psycopg2.connect(
            url.set(drivername="postgresql").render_as_string(hide_password=False)
        )
        try:
            connection.set_isolation_level(ISOLATION_LEVEL_AUTOCOMMIT)
            with connection.cursor() as cursor:
                cursor.execute(f"LISTEN {NOTICE}")
            while not self._is_over.is_set():
                if select.select([connection], [], [], 1.0)[0]:
                    connection.poll()
                    if connection.notifies:
                        connection.notifies.clear()
                        loop.call_soon_threadsafe(self._wake)
        finally:
            connection.close()

    def _stay_lively(self) -> None:
        self._lively_until = asyncio.get_running_loop().time() + LOOK_ON_SECONDS

    def _wake(self) -> None:
        self._stay_lively()
        for waker in self._wakers:
            waker.set()

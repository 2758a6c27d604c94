"""Whether a worker lives, and whether it can work: for supervisors, on the port of its metrics."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from datetime import timedelta

from sqlalchemy import Engine
from temporalio.client import Client
from temporalio.service import RPCError
from temporalio.worker import Worker

from models.database import DatabaseUnreachable, reach
from models.schema import SchemaNotAtHead, require_head
from observability.pages import Page, health_pages

BEAT_SECONDS = 1.0
WEDGED_AFTER_SECONDS = 60.0
"""An event loop that did not turn for so long polls nothing and renews no lease."""
ANSWER_WITHIN = timedelta(seconds=3)


def database_problem(engine: Engine) -> str:
    """What keeps the database from being used, in one word; empty: nothing."""
    try:
        reach(engine)
        require_head(engine)
    except (DatabaseUnreachable, SchemaNotAtHead) as error:
        return type(error).__name__
    return ""


class WorkerHealth:
    """Of one process; made in its event loop, asked by threads."""

    def __init__(self, engine: Engine, client: Client, workers: Sequence[Worker]) -> None:
        """`workers`: all that this process runs."""
        self._engine = engine
        self._client = client
        self._workers = workers
        self._loop = asyncio.get_running_loop()
        self._beat_at = time.monotonic()

    async def beat(self) -> None:
        """Show, for ever, that the event loop turns."""
        while True:
            self._beat_at = time.monotonic()
            await asyncio.sleep(BEAT_SECONDS)

    def pages(self) -> dict[str, Callable[[], Page]]:
        """/livez: the process and its event loop; /readyz: database, Temporal and all its pollers."""
        return health_pages(
            lambda: time.monotonic() - self._beat_at > WEDGED_AFTER_SECONDS,
            [self._stopped, lambda: database_problem(self._engine), self._temporal_problem],
        )

    def _stopped(self) -> str:
        return "" if all(worker.is_running for worker in self._workers) else "WorkerStopped"

    def _temporal_problem(self) -> str:
        asked = asyncio.run_coroutine_threadsafe(
            self._client.service_client.check_health(timeout=ANSWER_WITHIN), self._loop
        )
        try:
            is_well = asked.result(ANSWER_WITHIN.total_seconds() + 1)
        except (RPCError, TimeoutError):
            is_well = False
        return "" if is_well else "TemporalUnreachable"

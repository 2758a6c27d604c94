"""Work that is done again and again by one long activity that heartbeats."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta

from temporalio import activity

SESSION = timedelta(hours=12)


async def in_rounds(pause: timedelta, work: Callable[[], Awaitable[None]]) -> None:
    """Do the work, rest, and so on, for hours or until the worker stops."""
    loop = asyncio.get_running_loop()
    end = loop.time() + SESSION.total_seconds()
    while loop.time() < end and not activity.is_worker_shutdown():
        await work()
        await _rest(loop.time() + pause.total_seconds())


async def _rest(until: float) -> None:
    """Sleep in short steps, so that the heartbeat goes on and a stop is noticed."""
    loop = asyncio.get_running_loop()
    while loop.time() < until and not activity.is_worker_shutdown():
        activity.heartbeat()
        await asyncio.sleep(min(1.0, max(0.0, until - loop.time())))

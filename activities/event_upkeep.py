"""Upkeep of what comes after the answer: events that came early, trip wires, look-ups at vendors."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass

from sqlalchemy import Engine
from temporalio import activity

from activities.look_up import LookUp
from activities.pace import Pace
from activities.rounds import in_rounds
from models.event_fold import Folded
from models.events import fold_due
from models.trip_wire import running_campaigns, watch_sends

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Poke:
    """Tells workflows to look at their rows; handed in by `composition.py`, as it lives in starter/."""

    groups: Callable[[Collection[int]], Awaitable[None]]
    campaigns: Callable[[Collection[int]], Awaitable[None]]


class EventActivities:
    """What settles messages after their answer."""

    def __init__(self, engine: Engine, pace: Pace, poke: Poke, look_up: LookUp) -> None:
        """Made once in `composition.py`."""
        self._engine = engine
        self._pace = pace
        self._poke = poke
        self._look_up = look_up

    @activity.defn
    async def fold_events(self) -> None:
        """Every second: fold the events that came before their row, and look at the trip wires."""
        await in_rounds(self._pace.fold_every, self._fold_once)

    @activity.defn
    async def look_up_unknown(self) -> None:
        """Every few seconds: ask vendors that have a list for messages whose answer was lost."""
        await in_rounds(self._pace.look_up_every, self._look_up_once)

    async def _fold_once(self) -> None:
        folded = await asyncio.to_thread(fold_due, self._engine)
        held = await asyncio.to_thread(self._watch, folded.troubled)
        for send_id in held:
            log.warning("send.tripped", extra={"send_id": send_id})
        await self._tell(folded)

    def _watch(self, troubled: Collection[int]) -> list[int]:
        with self._engine.connect() as connection:
            running = running_campaigns(connection)
        return watch_sends(self._engine, self._pace.wires, sorted({*running, *troubled}))

    async def _look_up_once(self) -> None:
        await self._tell(await asyncio.to_thread(self._look_up.once))

    async def _tell(self, folded: Folded) -> None:
        if folded.groups:
            await self._poke.groups(folded.groups)
        if folded.campaigns:
            await self._poke.campaigns(folded.campaigns)

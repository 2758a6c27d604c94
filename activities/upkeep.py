"""Upkeep: the reconciler, and partitions made ahead. Long activities that heartbeat."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import timedelta

from sqlalchemy import Connection, Engine
from temporalio import activity

from activities.pace import Pace
from activities.rounds import in_rounds
from domain.health import HealthRules
from models.account_health import drop_old_buckets, move_weights
from models.campaign import unfinished_sends
from models.caps import forget_past
from models.database import in_transaction
from models.digest import DuePeriod, due_periods
from models.idempotent_answer import forget_answers
from models.message_group import lost_groups
from models.rate_limit import forget_recipients
from models.schema import ensure_partitions

log = logging.getLogger(__name__)

StartWorkflow = Callable[[int], Awaitable[None]]
"""Starts a send's or group's workflow unless it runs; handed in by `composition.py`, as it lives in starter/."""

StartDigests = Callable[[DuePeriod], Awaitable[None]]
"""The same for a period of digests that has ended."""

PARTITIONS_EVERY = timedelta(hours=1)


class UpkeepActivities:
    """What keeps the house in order while nobody looks."""

    def __init__(
        self,
        engine: Engine,
        pace: Pace,
        start_campaign: StartWorkflow,
        start_group: StartWorkflow,
        start_digests: StartDigests,
        rules: HealthRules,
    ) -> None:
        """Made once in `composition.py`."""
        self._engine = engine
        self._pace = pace
        self._start_campaign = start_campaign
        self._start_group = start_group
        self._start_digests = start_digests
        self._rules = rules

    @activity.defn
    async def reconcile(self) -> None:
        """Every few seconds: start the workflow of every started campaign that is not closed, of
        every group that has messages and nobody's lease, and of every period of digests that has ended.

        A no-op where it runs; where the start was lost, the run was terminated or all of Temporal's
        data is gone, the rows are driven on.
        """
        await in_rounds(self._pace.reconcile_every, self._reconcile_once)

    @activity.defn
    async def keep_partitions(self) -> None:
        """Every hour: make the monthly partitions that are missing, four months ahead; drop old counts
        and kept answers."""
        await in_rounds(PARTITIONS_EVERY, self._partition_once)

    @activity.defn
    async def watch_accounts(self) -> None:
        """A few times a minute: move the weights of accounts that err, are slow or well again."""
        await in_rounds(self._rules.bucket, self._watch_accounts_once)

    async def _reconcile_once(self) -> None:
        sends = await asyncio.to_thread(
            in_transaction,
            self._engine,
            lambda connection: unfinished_sends(connection, self._pace.reconcile_send_every),
        )
        for send_id in sends:
            await self._start_campaign(send_id)
        groups = await asyncio.to_thread(
            in_transaction,
            self._engine,
            lambda connection: lost_groups(connection, self._pace.reconcile_every),
        )
        for group_id in groups:
            await self._start_group(group_id)
        periods = await asyncio.to_thread(
            in_transaction,
            self._engine,
            lambda connection: due_periods(connection, self._pace.reconcile_send_every),
        )
        for period in periods:
            await self._start_digests(period)

    async def _partition_once(self) -> None:
        made = await asyncio.to_thread(in_transaction, self._engine, ensure_partitions)
        if made:
            log.info("partitions.made", extra={"made": made})
        await asyncio.to_thread(in_transaction, self._engine, forget_past)
        await asyncio.to_thread(in_transaction, self._engine, forget_answers)

    async def _watch_accounts_once(self) -> None:
        changes = await asyncio.to_thread(
            in_transaction, self._engine, lambda c: move_weights(c, self._rules)
        )
        for change in changes:
            log.warning(
                "account.weight_moved",
                extra={"giver": change.giver, "taker": change.taker, "why": change.why},
            )
        await asyncio.to_thread(in_transaction, self._engine, self._drop_what_binds_nobody)

    def _drop_what_binds_nobody(self, connection: Connection) -> None:
        drop_old_buckets(connection, self._rules)
        forget_recipients(connection)

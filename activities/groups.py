"""The activity that drives a group of single messages: one pass, resumed from the rows alone."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from sqlalchemy import Connection
from temporalio import activity

from activities.contract import GroupInput, GroupResult
from activities.crew import Crew
from activities.fail_points import FailPoint
from activities.group_driver import GroupDriver, LeaseLost, Sorted
from activities.lease_keeper import LeaseKeeper
from activities.sessions import Sessions
from activities.single_mailer import SingleMailer
from models.database import in_transaction
from models.lease import Busy
from models.message_group import (
    GroupLease,
    free_group,
    lock_group,
    renew_group,
    take_group,
)
from models.outbox import park, remove
from observability import logged_with, metrics

PARK_AFTER = timedelta(minutes=5)
"""What waits longer leaves its workflow and is gathered again (DESIGN §6)."""


class GroupActivities:
    """`drive_group`, with what it needs."""

    def __init__(
        self,
        crew: Crew,
        sessions: Sessions,
        mailer: SingleMailer,
        on_begun: Callable[[int], None] = lambda group_id: None,
    ) -> None:
        """Made once in `composition.py`. `on_begun` is told of each group as its pass begins."""
        self._crew = crew
        self._sessions = sessions
        self._mailer = mailer
        self._on_begun = on_begun

    # As in send_batch: a cancel must not strike between an answer and its settle.
    @activity.defn(no_thread_cancel_exception=True)
    def drive_group(self, group: GroupInput) -> GroupResult:
        """One pass: take the group, decide, send to those owed, free it."""
        self._on_begun(group.group_id)
        with logged_with(group_id=group.group_id):
            return self._drive_group(group)

    def _drive_group(self, group: GroupInput) -> GroupResult:
        engine = self._crew.engine
        taken = in_transaction(engine, lambda c: self._take(c, group))
        if taken is None:
            return GroupResult(is_done=True)
        if isinstance(taken, Busy):
            return GroupResult(is_done=False, resume_at=taken.until, failures=group.failures)
        try:
            return self._work(taken, group)
        except LeaseLost:
            return GroupResult(is_done=False, failures=group.failures)
        except BaseException:
            in_transaction(engine, lambda c: free_group(c, taken, None))
            raise

    def _take(self, connection: Connection, group: GroupInput) -> GroupLease | Busy | None:
        info = activity.info()
        return take_group(
            connection,
            group.group_id,
            owner=f"{self._crew.worker} {info.activity_id}/{info.attempt}",
            duration=self._crew.pace.lease,
            unknown_wait=self._crew.pace.transactional_unknown_wait,
        )

    def _work(self, lease: GroupLease, group: GroupInput) -> GroupResult:
        engine, pace = self._crew.engine, self._crew.pace
        with LeaseKeeper(
            lambda: in_transaction(engine, lambda c: renew_group(c, lease, pace.lease)),
            activity.heartbeat,
            every=pace.lease_renewal,
            no_progress=pace.no_progress,
        ) as keeper:
            driver = GroupDriver(
                self._crew,
                lease,
                self._sessions,
                self._mailer,
                keeper,
                failures=group.failures,
                is_cancelled=lambda: activity.is_cancelled() or activity.is_worker_shutdown(),
            )
            try:
                left = driver.run()
            except BaseException:
                self._sessions.drop_all()
                raise
        metrics.PASSES.labels("single").inc()
        failures = group.failures + 1 if driver.met_unavailable else 0
        self._crew.reached(FailPoint.FINISHING)
        result = in_transaction(engine, lambda c: _finish(c, lease, left, failures))
        self._crew.reached(FailPoint.RETURNING)
        return result


def _finish(connection: Connection, lease: GroupLease, left: Sorted, failures: int) -> GroupResult:
    """Remove what is final, park what waits long, free the group and say when it has work again."""
    group = lock_group(connection, lease.group_id)
    if group.epoch != lease.epoch:
        return GroupResult(is_done=False, failures=failures)
    long = {key: until for key, until in left.waiting.items() if until - group.now > PARK_AFTER}
    park(connection, lease.group_id, [(*key, until) for key, until in long.items()])
    resume_at = _earliest([until for key, until in left.waiting.items() if key not in long])
    free_group(connection, lease, resume_at)
    remove(connection, lease.group_id, left.final)
    return GroupResult(is_done=resume_at is None, resume_at=resume_at, failures=failures)


def _earliest(moments: list[datetime]) -> datetime | None:
    return min(moments, default=None)

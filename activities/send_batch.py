"""The activity that sends: one pass over one batch, resumed from the rows alone."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import assert_never

from sqlalchemy import Connection
from temporalio import activity

from activities.contract import BatchInput, BatchResult, Stop
from activities.crew import Crew
from activities.driver import Driver
from activities.fail_points import FailPoint
from activities.lease_keeper import LeaseKeeper
from activities.mailer import Links, Mailer
from activities.sessions import Sessions
from activities.stages import Stages
from activities.work import Work
from domain.outcome import Outcome
from domain.pace import round_up
from domain.send import OnUnknown, SendState
from models.account import refuse_account
from models.breaker import opens_in
from models.database import in_transaction
from models.decide import decide_unknown, earliest_decision, fill
from models.facts import SendFacts, read_owed, send_facts, version_content
from models.lease import Busy, Lease, free, renew, take
from models.progress import batch_is_done
from observability import logged_with, metrics
from providers.protocol import Session

log = logging.getLogger(__name__)

# A send by local time goes within a minute of it; what else was deferred may share its wake-ups.
LOCAL_TIME_GRID = timedelta(minutes=1)
WHILE_PROBED = timedelta(seconds=2)
"""Somebody else's probe of the account is under way, and most answers come soon."""
NO_CREDENTIALS = "a worker has no credentials for it: is its setting there?"


@dataclass(slots=True)
class _Pass:
    """What a pass came to."""

    stop: Stop = Stop.NONE
    resume_in: timedelta | None = None
    met_unavailable: bool = False
    is_ended: bool = field(default=False)
    deferred: dict[str, int] | None = None
    """By reason; None: nobody was asked about."""
    deferred_until: datetime | None = None


class SendActivities:
    """`send_batch`, with what it needs."""

    def __init__(self, crew: Crew, sessions: Sessions, links: Links) -> None:
        """Made once in `composition.py`."""
        self._crew = crew
        self._sessions = sessions
        self._links = links

    # A cancel (a terminated run, a wiped Temporal) must not strike between an answer and its settle:
    # the driver asks for it, claims nobody any more and settles what is on the wire.
    @activity.defn(no_thread_cancel_exception=True)
    def send_batch(self, batch: BatchInput) -> BatchResult:
        """One pass: take the batch, send to those owed, free it. See DESIGN §5."""
        with logged_with(send_id=batch.send_id, lo=batch.lo):
            return self._send_batch(batch)

    def _send_batch(self, batch: BatchInput) -> BatchResult:
        taken = in_transaction(self._crew.engine, lambda connection: self._take(connection, batch))
        if isinstance(taken, Busy):
            return BatchResult(is_done=False, resume_at=taken.until, failures=batch.failures)
        try:
            result = self._work_batch(taken, batch)
        except BaseException:
            self._give_back(taken)
            raise
        self._crew.reached(FailPoint.RETURNING)
        return result

    def _take(self, connection: Connection, batch: BatchInput) -> Lease | Busy:
        info = activity.info()
        pace = self._crew.pace
        return take(
            connection,
            batch.send_id,
            batch.lo,
            owner=f"{self._crew.worker} {info.activity_id}/{info.attempt}",
            duration=pace.lease,
            unknown_wait=pace.unknown_wait,
        )

    def _give_back(self, lease: Lease) -> None:
        """After an error: whoever comes next need not wait for the lease to run out."""
        in_transaction(self._crew.engine, lambda connection: free(connection, lease, None))

    def _work_batch(self, lease: Lease, batch: BatchInput) -> BatchResult:
        engine, pace = self._crew.engine, self._crew.pace
        with LeaseKeeper(
            lambda: in_transaction(engine, lambda c: renew(c, lease, pace.lease)),
            activity.heartbeat,
            every=pace.lease_renewal,
            no_progress=pace.no_progress,
        ) as keeper:
            done = self._pass(lease, batch, keeper)
        return in_transaction(engine, lambda c: self._finish(c, lease, batch, done))

    def _pass(self, lease: Lease, batch: BatchInput, keeper: LeaseKeeper) -> _Pass:
        with self._crew.engine.connect() as connection:
            send = send_facts(connection, lease.send_id)
        is_ended = send.is_expired or send.state is SendState.CANCELLED
        self._decide(lease, send, is_ended=is_ended)
        if is_ended:
            return _Pass(is_ended=True)
        stop = _stop_of(send.state)
        self._sessions.renew()
        session = self._sessions.of(send.account_id)
        if stop is not Stop.NONE:
            return _Pass(stop=stop)
        if session is None:
            with self._crew.engine.begin() as connection:
                refuse_account(connection, send.account_id, NO_CREDENTIALS)
            return _Pass(stop=Stop.ACCOUNT)
        with self._crew.engine.connect() as connection:
            wait = opens_in(connection, send.account_id)
        if wait is not None and not self._may_probe(send.account_id, wait):
            return _Pass(resume_in=max(wait, WHILE_PROBED))
        done = self._drive(lease, send, session, keeper, batch.failures, is_probe=wait is not None)
        self._crew.health.write_errors()
        if done.is_ended:
            self._decide(lease, send, is_ended=True)
        return done

    def _may_probe(self, account_id: int, wait: timedelta) -> bool:
        return wait <= timedelta(0) and self._crew.health.try_probe(account_id)

    def _decide(self, lease: Lease, send: SendFacts, *, is_ended: bool) -> None:
        """What needs no call: unknown ones whose time has come, the rest of an ended send."""
        in_transaction(
            self._crew.engine,
            lambda connection: decide_unknown(
                connection,
                lease,
                policy=OnUnknown(send.on_unknown),
                max_tries=self._crew.pace.max_tries,
                is_ended=is_ended,
            ),
        )
        if is_ended:
            in_transaction(self._crew.engine, lambda connection: _fill(connection, lease))

    def _drive(
        self,
        lease: Lease,
        send: SendFacts,
        session: Session,
        keeper: LeaseKeeper,
        failures: int,
        *,
        is_probe: bool,
    ) -> _Pass:
        with self._crew.engine.connect() as connection:
            owed = read_owed(
                connection, lease, policy=send.on_unknown, max_tries=self._crew.pace.max_tries
            )
            version = version_content(connection, send.template_version_id, send.channel)
        work = Work(owed)
        if not work.is_left:
            return _Pass(deferred={})
        driver = Driver(
            self._crew,
            lease,
            send,
            work,
            mailer=Mailer(send, version, session.capabilities, self._links),
            session=session,
            keeper=keeper,
            is_cancelled=lambda: (
                activity.is_cancelled()
                or activity.is_worker_shutdown()
                or not self._sessions.is_current(send.account_id)
            ),
            failures=failures,
            is_probe=is_probe,
        )
        try:
            driver.run()
        except BaseException:
            self._sessions.drop(send.account_id)
            raise
        _count_pass(driver.stages)
        log.info(
            "batch.passed",
            extra={
                "messages": len(owed.fresh) + len(owed.again),
                "cpu_seconds": dict(driver.stages.cpu_seconds),
                "seconds": dict(driver.stages.seconds),
            },
        )
        return _Pass(
            stop=work.stop,
            resume_in=work.resume_in,
            met_unavailable=work.met_unavailable,
            is_ended=driver.is_ended,
            deferred=dict(work.deferred),
            deferred_until=work.deferred_until,
        )

    def _finish(
        self, connection: Connection, lease: Lease, batch: BatchInput, done: _Pass
    ) -> BatchResult:
        """Free the batch, and say whether it is done and when it has work again."""
        send = send_facts(connection, lease.send_id)
        now = send.now
        decision = earliest_decision(connection, lease)
        is_done = batch_is_done(connection, lease.send_id, lease.lo)
        candidates: list[datetime] = []
        if decision is not None:
            candidates.append(round_up(max(decision, now), self._crew.pace.resume_grid))
        if done.resume_in is not None:
            candidates.append(now + done.resume_in)
        if done.deferred_until is not None:
            grid = self._crew.pace.resume_grid
            if send.time_rules.is_by_local_time:
                grid = min(grid, LOCAL_TIME_GRID)
            candidates.append(round_up(max(done.deferred_until, now), grid))
        resume_at = None if is_done else min(candidates, default=now)
        free(connection, lease, resume_at, deferred={} if is_done else done.deferred)
        return BatchResult(
            is_done=is_done,
            resume_at=resume_at,
            stop=Stop.NONE if is_done else done.stop,
            failures=batch.failures + 1 if done.met_unavailable else 0,
        )


def _count_pass(stages: Stages) -> None:
    metrics.PASSES.labels("campaign").inc()
    for stage, seconds in stages.seconds.items():
        metrics.STAGE_SECONDS.labels(stage).inc(seconds)
    for stage, seconds in stages.cpu_seconds.items():
        metrics.STAGE_CPU_SECONDS.labels(stage).inc(max(seconds, 0))


def _fill(connection: Connection, lease: Lease) -> None:
    send = send_facts(connection, lease.send_id)
    is_cancelled = send.state is SendState.CANCELLED
    fill(connection, lease, Outcome.CANCELLED if is_cancelled else Outcome.EXPIRED)


def _stop_of(state: SendState) -> Stop:
    match state:
        case SendState.PAUSED | SendState.DRAFT | SendState.SCHEDULED:
            return Stop.PAUSED
        case SendState.ACCEPTED | SendState.RUNNING | SendState.FINISHED | SendState.CANCELLED:
            return Stop.NONE
        case _ as never:
            assert_never(never)

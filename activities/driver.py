"""The driver of a batch: one pass of the ledger protocol (DESIGN §5) over the members owed."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Sequence
from datetime import timedelta

from activities.contract import Stop
from activities.crew import Crew
from activities.fail_points import FailPoint
from activities.flight import REFUSED, Flight
from activities.lease_keeper import LeaseKeeper
from activities.mailer import Mailer
from activities.preparation import FlightPermit, Preparation, skipped
from activities.stages import Stages
from activities.tally import Tally
from activities.work import FlightPace, Work
from domain.answer import CALL_BY_MISSED, Answer, AnswerClass
from domain.outcome import Reason
from domain.pace import backoff, flight_size
from models.account import refuse_account
from models.breaker import opens_in
from models.claim import Claim, Claimed, Refusal, commit_claim
from models.delivery_rows import NewDelivery
from models.facts import Person, SendFacts
from models.lease import Lease
from models.rate_limit import NotYet, push_back_account
from models.settle import Settlement, settle
from observability import metrics, tracing
from providers.protocol import Mail, Reply, Request, Session, Skeleton

log = logging.getLogger(__name__)

POLL = timedelta(milliseconds=50)
# Asking again here is cheaper than a pass of its own through Temporal.
MAX_WAIT_FOR_PERMIT = timedelta(seconds=5)
SHORT_WAIT_SECONDS = 0.2
MAX_MERGED_FLIGHTS = 2
SETTLE_FOR_SECONDS = 120.0

_STOPS = {
    Refusal.PAUSED: Stop.PAUSED,
    Refusal.HELD: Stop.HELD,
    Refusal.ACCOUNT: Stop.ACCOUNT,
}


class Driver:
    """Works one taken batch until nothing is owed in this pass, or it must stop."""

    def __init__(  # noqa: PLR0913  a composition of everything one pass needs
        self,
        crew: Crew,
        lease: Lease,
        send: SendFacts,
        work: Work,
        *,
        mailer: Mailer,
        session: Session,
        keeper: LeaseKeeper,
        is_cancelled: Callable[[], bool],
        failures: int = 0,
        is_probe: bool = False,
    ) -> None:
        """`failures`: passes in a row before this one that met an unavailable provider.

        `is_probe`: the account's breaker is open, and the first message finds out.
        """
        self._crew = crew
        self._lease = lease
        self._send = send
        self._work = work
        self._mailer = mailer
        self._session = session
        self._keeper = keeper
        self._is_cancelled = is_cancelled
        self._failures = failures
        self._is_probe = is_probe
        self._flights: list[Flight] = []
        self._by_request: dict[int, tuple[Flight, float]] = {}
        self._next_request = 0
        self._single_pace = FlightPace(session.capabilities.max_open_requests)
        self._not_before = 0.0
        self._preparation = Preparation(
            crew.engine, crew.limits, send, mailer, session.capabilities
        )
        self.stages = Stages()
        self.is_ended = False
        """The send was found cancelled or expired: what is left is to be filled."""

    def run(self) -> None:
        """Claim, call and settle until nothing more is claimed and all of it is settled."""
        while True:
            while self._may_claim():
                self._begin_flight()
            if not self._flights and (self._work.is_ending or not self._work.is_left):
                return
            with self.stages.of("send"):
                replies = self._wait()
            for number, answer in replies:
                self._note(number, answer)
            with self.stages.of("settle"):
                self._settle_what_is_due()

    def _wait(self) -> list[Reply]:
        """Answers that came within a moment; with nothing on the wire, the wait for a permit."""
        if self._session.open_requests:
            return self._session.poll(POLL)
        if not self._flights:
            until_permit = self._not_before - time.monotonic()
            time.sleep(min(max(until_permit, 0), POLL.total_seconds()))
        return []

    # -- claiming

    def _may_claim(self) -> bool:
        if not self._keeper.is_mine or self._is_cancelled():
            self._work.end(resume_in=timedelta(0))
        if not self._work.is_left or time.monotonic() < self._not_before:
            return False
        if self._is_probe and self._flights:
            return False
        capabilities = self._session.capabilities
        if capabilities.merges:
            return len(self._flights) < MAX_MERGED_FLIGHTS
        return self._session.open_requests < capabilities.max_open_requests

    def _begin_flight(self) -> None:
        """FACTS, PERMIT, RENDER, CLAIM and the beginning of CALL for the next members."""
        self._keeper.progressed()
        with self.stages.of("facts"):
            members = self._work.next_members(self._most_members())
            people = self._preparation.read(members)
        with self.stages.of("permit"):
            permit = self._permit(people)
        if permit is None:
            self._work.put_back(members)
            return
        members = self._permitted(members, permit)
        if not members:
            self._not_before = time.monotonic() + SHORT_WAIT_SECONDS
            return
        if permit.wait > timedelta(0):
            time.sleep(permit.wait.total_seconds())
            people = self._preparation.read(members)
        elif len(members) < len(people):
            allowed = set(members)
            people = [person for person in people if person.ordinal in allowed]
        with self.stages.of("render"):
            mails, unattempted, deferred = self._preparation.build(people)
            fitting = self._preparation.that_fit(mails)
        self._work.put_back([mail.ordinal for mail, _ in mails[fitting:]])
        for person in deferred:
            self._work.defer(Reason(person.verdict), person.until or self._send.now)
        self._claim(mails[:fitting], unattempted)

    def _permitted(self, members: list[int], permit: FlightPermit) -> list[int]:
        """The members without those whose domain or own limit lets them wait."""
        if not permit.later and not permit.postponed:
            return members
        self._work.put_last([ordinal for ordinal in members if ordinal in permit.later])
        if permit.postponed:
            self._work.postpone(permit.postponed_for)
        waiting = permit.later | permit.postponed
        return [ordinal for ordinal in members if ordinal not in waiting]

    def _most_members(self) -> int:
        if self._is_probe:
            return 1
        return flight_size(
            per_request=self._session.capabilities.max_messages_per_request,
            single_requests=min(200, self._single_pace.size),
            rate=self._preparation.lowest_rate(),
        )

    def _permit(self, people: Sequence[Person]) -> FlightPermit | None:
        """The permit that was reserved; None: none yet, ask again later."""
        try:
            return self._preparation.permit(people)
        except NotYet as not_yet:
            if not_yet.wait > MAX_WAIT_FOR_PERMIT:
                self._work.end(resume_in=not_yet.wait)
            self._not_before = time.monotonic() + min(not_yet.wait.total_seconds(), 0.5)
            return None

    def _claim(
        self,
        mails: list[tuple[Mail, Person]],
        unattempted: list[NewDelivery],
    ) -> None:
        if not mails:
            self._settle_without_call(unattempted)
            return
        self._crew.reached(FailPoint.BEFORE_CLAIM)
        members = [mail.ordinal for mail, _ in mails]
        again = self._work.having_row(members)
        pace = self._crew.pace
        attempt_id = self._crew.attempt_ids.next()
        call_by = time.monotonic() + pace.call_within.total_seconds()
        claim = Claim(
            attempt_id=attempt_id,
            send_id=self._send.id,
            batch_lo=self._lease.lo,
            epoch=self._lease.epoch,
            account_id=self._send.account_id,
            worker=self._crew.worker,
            fresh=sorted(set(members).difference(again)),
            again=again,
            call_within=pace.call_within,
            answer_within=pace.request_timeout,
            caps=self._preparation.caps,
            cap_members=self._preparation.cap_members(mails),
            is_probe=self._is_probe,
        )
        with self.stages.of("claim"):
            claimed = commit_claim(self._crew.engine, claim)
        if isinstance(claimed, Refusal):
            self._refused(claimed)
            return
        self._crew.reached(FailPoint.CLAIMED)
        unattempted = unattempted + self._left_out(claim, claimed, mails)
        allowed = {*claimed.fresh, *claimed.again}
        if not allowed:
            self._settle_without_call(unattempted)
            return
        flight = Flight(
            attempt_id=attempt_id,
            had_row=frozenset(claimed.again),
            contact_points={person.ordinal: person.contact_point_id for _, person in mails},
            unattempted=unattempted,
            tally=self._tally(attempt_id, len(allowed)),
        )
        self._flights.append(flight)
        with self.stages.of("send"):
            self._call(flight, [each for each in mails if each[0].ordinal in allowed], call_by)

    def _tally(self, attempt_id: int, messages: int) -> Tally:
        told = {
            "carillon.send_id": self._send.id,
            "carillon.attempt_id": attempt_id,
            "carillon.account": self._send.account_key,
            "carillon.messages": messages,
        }
        return Tally(
            kind="campaign",
            account=self._send.account_key,
            span=tracing.begin_call("provider.send", told),
        )

    def _settle_without_call(self, unattempted: list[NewDelivery]) -> None:
        if unattempted:
            self._flights.append(
                Flight(
                    attempt_id=None, had_row=frozenset(), contact_points={}, unattempted=unattempted
                )
            )

    def _left_out(
        self, claim: Claim, claimed: Claimed, mails: Sequence[tuple[Mail, Person]]
    ) -> list[NewDelivery]:
        """Who is over a cap waits, or gets a row that says so; who was left out else is claimed again."""
        if not claim.caps:
            return []
        rows = []
        for _, person in mails:
            over = claimed.over_cap.get(person.ordinal)
            if over is not None and over.until is not None:
                self._work.defer(Reason.CAPPED, over.until)
            elif over is not None:
                rows.append(skipped(person, Reason.CAPPED))
        known = {*claimed.fresh, *claimed.over_cap}
        self._work.put_last([ordinal for ordinal in claim.fresh if ordinal not in known])
        return rows

    def _refused(self, refusal: Refusal) -> None:
        log.info("claim.refused", extra={"send_id": self._send.id, "refusal": refusal})
        metrics.CLAIMS_REFUSED.labels("campaign", refusal.value).inc()
        self.is_ended = refusal in (Refusal.CANCELLED, Refusal.EXPIRED)
        resume_in: timedelta | None = timedelta(0)
        if refusal is Refusal.BREAKER:
            with self._crew.engine.connect() as connection:
                resume_in = opens_in(connection, self._send.account_id)
        self._work.end(stop=_STOPS.get(refusal, Stop.NONE), resume_in=resume_in or timedelta(0))

    # -- calling

    def _call(self, flight: Flight, mails: Sequence[tuple[Mail, Person]], call_by: float) -> None:
        """Requests of those who are told in one locale: these share a skeleton."""
        size = self._session.capabilities.max_messages_per_request
        by_locale: dict[str, list[Mail]] = {}
        for mail, person in mails:
            by_locale.setdefault(self._mailer.locale_of(person), []).append(mail)
        for locale, those in by_locale.items():
            skeleton = self._mailer.skeleton_in(locale)
            for at in range(0, len(those), size):
                self._submit(flight, those[at : at + size], skeleton, call_by)

    def _submit(
        self, flight: Flight, some: Sequence[Mail], skeleton: Skeleton | None, call_by: float
    ) -> None:
        self._next_request += 1
        flight.open_requests[self._next_request] = [mail.ordinal for mail in some]
        self._by_request[self._next_request] = (flight, time.monotonic())
        self._session.submit(
            Request(
                number=self._next_request,
                sender=self._mailer.sender,
                mails=some,
                skeleton=skeleton,
                call_by=call_by,
            )
        )

    # -- answers

    def _note(self, number: int, answer: Answer) -> None:
        self._keeper.progressed()
        flight, submitted = self._by_request.pop(number)
        seconds = time.monotonic() - submitted
        members = flight.note(number, answer, seconds)
        self._crew.health.note(self._send.account_id, answer, seconds)
        self._is_probe = False
        self._single_pace.answered(len(members))
        if answer.kind is AnswerClass.ACCEPTED:
            self._work.accepted_some()
            self._crew.reached(FailPoint.ANSWERED)
        elif answer.kind in REFUSED and len(members) > 1:
            self._work.split(members)
        elif answer is CALL_BY_MISSED:
            self._work.put_last(members)
        else:
            self._slow_down(answer)

    def _slow_down(self, answer: Answer) -> None:
        """What an answer that is not about one message alone does to the rest of the pass."""
        match answer.kind:
            case AnswerClass.ACCOUNT_REFUSED:
                reason = f"{answer.detail} ({answer.code})" if answer.code else answer.detail
                with self._crew.engine.begin() as connection:
                    refuse_account(connection, self._send.account_id, reason)
                log.error(
                    "account.refused",
                    extra={"account": self._send.account_key, "code": answer.code},
                )
                self._work.end(stop=Stop.ACCOUNT)
            case AnswerClass.THROTTLED:
                wait = answer.retry_after or self._backoff()
                with self._crew.engine.begin() as connection:
                    push_back_account(connection, self._send.account_id, wait)
                self._crew.limits.forget()
                self._work.met_unavailable = True
                self._work.end(resume_in=wait)
            case AnswerClass.UNAVAILABLE:
                self._work.set_aside(answer.retry_after or self._backoff())
            case _:
                pass

    def _backoff(self) -> timedelta:
        return backoff(
            self._failures + 1,
            first=self._crew.pace.backoff_first,
            most=self._crew.pace.backoff_most,
            jitter=random.random(),  # noqa: S311  not a secret
        )

    # -- settling

    def _settle_what_is_due(self) -> None:
        every = self._crew.pace.settle_every.total_seconds()
        for flight in [flight for flight in self._flights if flight.is_to_settle(every)]:
            self._settle(flight)
            if flight.is_answered:
                self._flights.remove(flight)

    def _settle(self, flight: Flight) -> None:
        give_up_at = time.monotonic() + SETTLE_FOR_SECONDS
        settle(
            self._crew.engine,
            Settlement(
                send_id=self._send.id,
                batch_lo=self._lease.lo,
                epoch=self._lease.epoch,
                unknown_wait=self._crew.pace.unknown_wait,
                attempt_id=flight.attempt_id,
                answers=flight.answers,
                had_row=flight.had_row,
                code=flight.code,
                error=flight.error,
                provider_message_id=flight.provider_message_id,
                has_caps=bool(self._preparation.caps),
                unattempted=flight.unattempted,
            ),
            may_go_on=lambda: time.monotonic() < give_up_at,
        )
        flight.settled()
        self._keeper.progressed()
        self._crew.reached(FailPoint.SETTLED)

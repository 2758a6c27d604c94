"""What goes out on one account in a pass over a group: claims, calls, answers, settles."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from activities.crew import Crew
from activities.fail_points import FailPoint
from activities.flight import Flight
from activities.single_mailer import Addressed
from activities.tally import Tally
from activities.work import FlightPace
from domain.answer import CALL_BY_MISSED, Answer, AnswerClass
from domain.health import JUDGED
from domain.send import Channel
from models.claim import Refusal
from models.group_claim import GroupClaim, commit_group_claim
from models.group_members import Member
from models.group_rows import MemberKey
from models.group_settle import GroupSettlement, settle_group
from models.in_app import InAppContent
from models.message_group import GroupLease
from models.settle import Letter
from observability import metrics, tracing
from providers.protocol import Request, Session

if TYPE_CHECKING:
    from opentelemetry.trace import Span

MAX_FLIGHT = 200
SETTLE_FOR_SECONDS = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """The account and step that some members go out on."""

    account_id: int
    account_key: str
    step: int
    is_probe: bool = False
    """The one message that finds out whether an account with an open breaker works again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """A member that may go, rendered."""

    member: Member
    message: Addressed

    @property
    def key(self) -> MemberKey:
        """Of its delivery row."""
        return MemberKey(self.member.send_id, self.member.ordinal, self.member.step)


@dataclass(slots=True, kw_only=True)
class _Air:
    """A flight with what the settle needs of its members, by position."""

    flight: Flight
    members: Sequence[Ready]
    said: dict[int, Answer] = field(default_factory=dict)
    """Answered and not settled: the provider's own words."""
    spans: dict[int, Span | None] = field(default_factory=dict)
    """Of the requests on the wire, by number, while traces are made."""


class SingleFlights:
    """The flights of one route. Not thread-safe: it belongs to one driver."""

    def __init__(
        self,
        crew: Crew,
        lease: GroupLease,
        route: Route,
        session: Session,
        *,
        pace: FlightPace,
        on_slowing: Callable[[SingleFlights, Ready, Answer], None],
    ) -> None:
        """`on_slowing` is told of answers that are not about one message alone."""
        self._crew = crew
        self._lease = lease
        self.route = route
        self._session = session
        self._on_slowing = on_slowing
        self._ready: deque[Ready] = deque()
        self._in_air: list[_Air] = []
        self._by_request: dict[int, tuple[_Air, Ready, float]] = {}
        self._next_request = 0
        self._pace = pace
        self.is_ending = False
        """Nobody is claimed any more; what is on the wire is still waited for."""
        self.refusal: Refusal | None = None
        """Why a claim was refused for all its members."""
        self.done: set[tuple[int, int]] = set()
        """Settled as accepted at a step that waits for nobody: nothing is left to decide of them."""
        self.refused: list[tuple[Ready, Refusal]] = []
        """Members whose own send refused the claim."""

    def add(self, ready: Sequence[Ready]) -> None:
        """More that may go."""
        self._ready.extend(ready)

    @property
    def left(self) -> list[Ready]:
        """Those not claimed yet."""
        return list(self._ready)

    @property
    def is_over(self) -> bool:
        """Whether nothing is on the wire and nobody is to be claimed."""
        return not self._in_air and (self.is_ending or not self._ready)

    def step(self, wait: timedelta) -> None:
        """Claim what may start now, take answers that come within `wait`, settle what is due."""
        while self._may_claim():
            self._begin()
        if self._session.open_requests:
            for number, answer in self._session.poll(wait):
                self._note(number, answer)
        self._settle_due()

    def _may_claim(self) -> bool:
        if self.is_ending or not self._ready:
            return False
        return self._session.open_requests < self._session.capabilities.max_open_requests

    def _begin(self) -> None:
        most = min(MAX_FLIGHT, self._pace.size, len(self._ready))
        asked = {ready.key: ready for ready in (self._ready.popleft() for _ in range(most))}
        self._crew.reached(FailPoint.BEFORE_CLAIM)
        call_by = time.monotonic() + self._crew.pace.call_within.total_seconds()
        claim = GroupClaim(
            attempt_id=self._crew.attempt_ids.next(),
            lease=self._lease,
            account_id=self.route.account_id,
            step=self.route.step,
            worker=self._crew.worker,
            members=list(asked),
            having_row=frozenset(k for k, ready in asked.items() if ready.member.last),
            call_within=self._crew.pace.call_within,
            answer_within=self._crew.pace.request_timeout,
            caps={r.member.send_id: r.member.caps for r in asked.values() if r.member.caps},
            cap_members={k: r.member.cap_member for k, r in asked.items() if r.member.caps},
            is_probe=self.route.is_probe,
        )
        claimed = commit_group_claim(self._crew.engine, claim)
        if isinstance(claimed, Refusal):
            metrics.CLAIMS_REFUSED.labels("single", claimed.value).inc()
            self.refusal, self.is_ending = claimed, True
            self._ready.extend(asked.values())
            return
        self.refused += [(asked[key], refusal) for key, refusal in claimed.refused.items()]
        if claimed.members:
            self._crew.reached(FailPoint.CLAIMED)
            self._call(claim, [asked[key] for key in claimed.members], call_by)

    def _call(self, claim: GroupClaim, members: Sequence[Ready], call_by: float) -> None:
        air = _Air(
            flight=Flight(
                attempt_id=claim.attempt_id,
                had_row=frozenset(),
                contact_points={
                    position: ready.member.person.contact_point_id
                    for position, ready in enumerate(members)
                },
                tally=Tally(kind="single", account=self.route.account_key),
            ),
            members=members,
        )
        self._in_air.append(air)
        for position, ready in enumerate(members):
            self._next_request += 1
            air.flight.open_requests[self._next_request] = [position]
            self._by_request[self._next_request] = (air, ready, time.monotonic())
            if tracing.is_on():
                air.spans[self._next_request] = self._span(claim, ready)
            self._session.submit(
                Request(
                    number=self._next_request,
                    sender=ready.message.sender,
                    mails=[ready.message.mail],
                    skeleton=None,
                    call_by=call_by,
                )
            )

    def _note(self, number: int, answer: Answer) -> None:
        air, ready, submitted = self._by_request.pop(number)
        seconds = time.monotonic() - submitted
        for position in air.flight.note(number, answer, seconds):
            air.said[position] = answer
        if air.spans:
            is_error = answer.kind is not AnswerClass.ACCEPTED
            told = {"carillon.answer": answer.kind.value}
            tracing.end_call(air.spans.pop(number, None), told, is_error=is_error)
        if ready.member.channel in JUDGED:
            self._crew.health.note(self.route.account_id, answer, seconds)
        self._pace.answered(1)
        if answer.kind is AnswerClass.ACCEPTED:
            self._crew.reached(FailPoint.ANSWERED)
        elif answer is CALL_BY_MISSED:
            self._ready.append(ready)
        else:
            self._on_slowing(self, ready, answer)

    def _settle_due(self) -> None:
        every = self._crew.pace.settle_every.total_seconds()
        for air in [air for air in self._in_air if air.flight.is_to_settle(every)]:
            self._settle(air)
            if air.flight.is_answered:
                self._in_air.remove(air)

    def _settle(self, air: _Air) -> None:
        flight, give_up_at = air.flight, time.monotonic() + SETTLE_FOR_SECONDS
        assert flight.attempt_id is not None  # noqa: S101  a flight of this class has an attempt
        settle_group(
            self._crew.engine,
            GroupSettlement(
                lease=self._lease,
                attempt_id=flight.attempt_id,
                step=self.route.step,
                answers=flight.answers,
                plans={position: air.members[position].member.plan for position in flight.answers},
                has_caps=any(air.members[position].member.caps for position in flight.answers),
                in_app=_in_app(air, flight.answers),
                said=air.said,
                code=flight.code,
                error=flight.error,
                provider_message_id=flight.provider_message_id,
            ),
            may_go_on=lambda: time.monotonic() < give_up_at,
        )
        self._tell_latency(air)
        self._keep_done(air)
        flight.settled()
        air.said = {}
        self._crew.reached(FailPoint.SETTLED)

    def _span(self, claim: GroupClaim, ready: Ready) -> Span | None:
        member = ready.member
        told = {
            "carillon.send_id": member.send_id,
            "carillon.ordinal": member.ordinal,
            "carillon.step": member.step,
            "carillon.attempt_id": claim.attempt_id,
            "carillon.account": self.route.account_key,
        }
        return tracing.begin_call("provider.send", told, member.trace_parent)

    def _tell_latency(self, air: _Air) -> None:
        """How long those who were accepted waited since they were asked for."""
        now = time.time()
        for position, answer in air.said.items():
            if answer.kind is AnswerClass.ACCEPTED:
                member = air.members[position].member
                metrics.SEND_LATENCY.labels(member.priority.name.lower(), member.channel).observe(
                    max(now - member.wanted_at.timestamp(), 0)
                )

    def _keep_done(self, air: _Air) -> None:
        for position, answer in air.flight.answers.items():
            member = air.members[position].member
            waits_for = member.plan[self.route.step - 1].wait_for
            if answer.letter is Letter.ACCEPTED and waits_for is None:
                self.done.add((member.send_id, member.ordinal))


def _in_app(air: _Air, answered: Mapping[int, object]) -> dict[int, InAppContent]:
    """What the items of the answered in-app messages show; nobody sees those of test keys."""
    mails = {
        position: air.members[position].message.mail
        for position in answered
        if air.members[position].member.channel is Channel.IN_APP
        and not air.members[position].member.is_test
    }
    return {position: InAppContent(mail.subject, mail.text) for position, mail in mails.items()}

"""The driver of a group: one pass of the ledger protocol over single messages (DESIGN §5)."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import assert_never

from activities.crew import Crew
from activities.lease_keeper import LeaseKeeper
from activities.permits import Permits
from activities.sessions import Sessions
from activities.single_flight import Ready, Route, SingleFlights
from activities.single_mailer import SingleMailer
from domain.answer import Answer, AnswerClass
from domain.eligibility import Defer, OverCap, Send, Skip, decide
from domain.outcome import Outcome, Reason
from domain.pace import backoff
from domain.routing import fitting, ranked
from domain.standing import Becomes, Done, Owed, Policy, Waits, falls_to_next, standing
from models.account import RoutableAccount, refuse_account, routable_accounts
from models.claim import Refusal
from models.database import in_transaction
from models.group_members import Member, over_caps_of, read_members
from models.group_rows import MemberKey
from models.group_settle import Decision, write_decisions
from models.message_group import GroupLease
from models.rate_limit import push_back_account

log = logging.getLogger(__name__)

POLL = timedelta(milliseconds=50)
LOOK_AGAIN = timedelta(seconds=30)
"""When nothing tells when a stop ends: a hold, a pause, an account that is down."""
WHILE_STOPPED = timedelta(minutes=10)
"""Parked so long while only an operator can help: resuming the account makes them due at once."""
WHILE_PROBED = timedelta(seconds=2)
"""Somebody else's probe is under way, and most answers come soon."""
PATIENCE = timedelta(seconds=2)
"""Longer than this no pass waits for permits: it holds a slot that a critical message may need."""
AFTER_PATIENCE = timedelta(seconds=1)
_STOPS = (Refusal.PAUSED, Refusal.HELD, Refusal.ACCOUNT, Refusal.BREAKER)

Key = tuple[int, int]


@dataclass(slots=True)
class Sorted:
    """The members of a group by what is next for them."""

    decisions: list[Decision] = field(default_factory=list)
    owed: list[Member] = field(default_factory=list)
    waiting: dict[Key, datetime] = field(default_factory=dict)
    final: list[Key] = field(default_factory=list)

    def wait(self, member: Member, until: datetime) -> None:
        """Look at the member again then, or when its send expires: nothing else would wake it."""
        ends = until if member.is_expired else min(until, member.expires_at)
        self.waiting[member.send_id, member.ordinal] = ends


class GroupDriver:
    """Works one taken group until all of its members are final or wait for something."""

    def __init__(  # noqa: PLR0913  a composition of everything one pass needs
        self,
        crew: Crew,
        lease: GroupLease,
        sessions: Sessions,
        mailer: SingleMailer,
        keeper: LeaseKeeper,
        *,
        failures: int,
        is_cancelled: Callable[[], bool],
    ) -> None:
        """`failures`: passes in a row before this one that met an unavailable provider."""
        self._crew = crew
        self._lease = lease
        self._sessions = sessions
        self._mailer = mailer
        self._keeper = keeper
        self._failures = failures
        self._is_cancelled = is_cancelled
        self._set_aside: dict[MemberKey, datetime] = {}
        self._permits = Permits(crew)
        self._not_probed: set[int] = set()
        self._done: set[Key] = set()
        self._waited = timedelta(0)
        self.met_unavailable = False

    def run(self) -> Sorted:
        """Decide, send and settle, again and again, until nobody is owed now."""
        try:
            return self._run()
        finally:
            self._crew.health.write_errors()

    def _run(self) -> Sorted:
        while True:
            members = self._read()
            sorted_ = self._sort(members)
            if sorted_.decisions:
                self._decide(sorted_.decisions)
                continue
            due = [member for member in sorted_.owed if self._key(member) not in self._set_aside]
            if not due or self._must_stop():
                return self._with_those_set_aside(sorted_)
            self._send(due)
            if self._all_done(sorted_):
                return sorted_

    def _all_done(self, sorted_: Sorted) -> bool:
        """Whether this round's answers left nothing to read again: the common case, and a dear query."""
        keys = [(member.send_id, member.ordinal) for member in sorted_.owed]
        if sorted_.waiting or not self._done.issuperset(keys):
            return False
        sorted_.final += keys
        return True

    # -- what is next

    def _read(self) -> list[Member]:
        with self._crew.engine.connect() as connection:
            return read_members(connection, self._lease.group_id)

    def _sort(self, members: Sequence[Member]) -> Sorted:
        made = Sorted()
        for member in members:
            policy = Policy(
                plan=member.plan,
                on_unknown=member.on_unknown,
                max_tries=self._crew.pace.max_tries,
                ended_as=member.ended_as,
            )
            match standing(member.last, policy, member.now):
                case Owed():
                    made.owed.append(member)
                case Waits(until):
                    made.wait(member, until)
                case Becomes(step, outcome, enters_next):
                    key = MemberKey(member.send_id, member.ordinal, step)
                    made.decisions.append(
                        Decision(key=key, outcome=outcome, enters_next=enters_next)
                    )
                case Done():
                    made.final.append((member.send_id, member.ordinal))
                case _ as never:
                    assert_never(never)
        return made

    def _decide(self, decisions: Sequence[Decision]) -> None:
        """Raises LeaseLost when the group is somebody else's."""
        is_mine = in_transaction(
            self._crew.engine, lambda c: write_decisions(c, self._lease, decisions)
        )
        self._keeper.progressed()
        if not is_mine:
            raise LeaseLost

    def _must_stop(self) -> bool:
        return not self._keeper.is_mine or self._is_cancelled()

    def _with_those_set_aside(self, sorted_: Sorted) -> Sorted:
        for member in sorted_.owed:
            sorted_.wait(member, self._set_aside.get(self._key(member), member.now))
        return sorted_

    # -- sending

    def _send(self, due: Sequence[Member]) -> None:
        """One round over those who are owed: verdict, route, render, fly."""
        self._sessions.renew()
        going, decisions = self._eligible(due)
        ready: dict[Route, list[Ready]] = {}
        with self._crew.engine.connect() as connection:
            accounts = {
                team: routable_accounts(connection, team)
                for team in {member.team_id for member in due}
            }
        self._not_probed.clear()
        for member in going:
            route = self._route(member, accounts[member.team_id])
            if route is None:
                continue
            made = self._ready(member, route)
            if isinstance(made, Decision):
                decisions.append(made)
            else:
                ready.setdefault(route, []).append(made)
        if decisions:
            self._decide(decisions)
        self._fly(ready)

    def _eligible(self, due: Sequence[Member]) -> tuple[list[Member], list[Decision]]:
        """Those who may go now, and the skips; who may go later is put aside until then."""
        over = self._over_caps(due)
        going, skips = [], []
        for member in due:
            facts = replace(member.facts, over_cap=over.get((member.send_id, member.ordinal)))
            match decide(facts):
                case Send():
                    going.append(member)
                case Defer(until):
                    self._set_aside[self._key(member)] = until
                case Skip(reason):
                    skips.append(self._skip(member, reason))
                case _ as never:
                    assert_never(never)
        return going, skips

    def _skip(self, member: Member, reason: Reason) -> Decision:
        """Too late is an outcome of its own; everything else is a skip."""
        if reason is Reason.EXPIRED:
            return self._decision(member, Outcome.EXPIRED, Reason.NONE)
        return self._decision(member, Outcome.SKIPPED, reason)

    def _over_caps(self, due: Sequence[Member]) -> dict[Key, OverCap]:
        """Of whom one message more would be more than a frequency cap allows now."""
        if not any(member.caps for member in due):
            return {}
        with self._crew.engine.connect() as connection:
            return over_caps_of(connection, due)

    def _route(self, member: Member, accounts: Sequence[RoutableAccount]) -> Route | None:
        """The account that takes it; None: nobody can now, it waits."""
        wanted = member.plan[member.step - 1].accounts
        fit = fitting(accounts, member.channel, wanted, is_test=member.is_test)
        usable = [a for a in fit if not a.is_stopped and self._sessions.of(a.id) is not None]
        for account in usable:
            if self._may_probe(account):
                return _route_on(account, member, is_probe=True)
        up = [account for account in usable if account.opens_in is None]
        chance = random.random()  # noqa: S311  not a secret
        for account in ranked(up, chance, is_ordered=bool(wanted)):
            return _route_on(account, member)
        self._put_aside(member, _wait_for_an_account(fit, usable))
        return None

    def _may_probe(self, account: RoutableAccount) -> bool:
        """Whether this driver may try the account, whose breaker's time has come. Asked once a read."""
        is_due = account.opens_in is not None and account.opens_in <= timedelta(0)
        if not is_due or account.id in self._not_probed:
            return False
        self._not_probed.add(account.id)
        return self._crew.health.try_probe(account.id)

    def _ready(self, member: Member, route: Route) -> Ready | Decision:
        session = self._sessions.of(route.account_id)
        assert session is not None  # noqa: S101  routes name accounts with a session only
        message = self._mailer.make(member, session.capabilities)
        if isinstance(message, Reason):
            return self._decision(member, Outcome.REJECTED, message)
        return Ready(member=member, message=message)

    def _decision(self, member: Member, outcome: Outcome, reason: Reason) -> Decision:
        return Decision(
            key=self._key(member),
            outcome=outcome,
            reason=reason,
            enters_next=falls_to_next(outcome, reason, member.plan, member.step),
            contact_point_id=member.person.contact_point_id,
        )

    def _fly(self, ready: dict[Route, list[Ready]]) -> None:
        """Accounts' flights run side by side and settle separately."""
        flying = [self._flights(route, members) for route, members in ready.items()]
        while flights := [flight for flight in flying if not flight.is_over]:
            for flight in flights:
                if self._must_stop():
                    flight.is_ending = True
                flight.step(POLL / len(flights))
                self._keeper.progressed()
        for flight in flying:
            self._done |= flight.done
            self._after(flight)

    def _flights(self, route: Route, members: Sequence[Ready]) -> SingleFlights:
        session = self._sessions.of(route.account_id)
        assert session is not None  # noqa: S101  see _ready
        made = SingleFlights(
            self._crew,
            self._lease,
            route,
            session,
            pace=self._sessions.pace_of(route.account_id, session),
            on_slowing=self._slow_down,
        )
        made.add(self._permitted(route, members))
        return made

    def _permitted(self, route: Route, members: Sequence[Ready]) -> Sequence[Ready]:
        """Those who may go now, after the wait that their permits ask for."""
        if self._waited >= PATIENCE:
            for ready in members:
                self._put_aside(ready.member, AFTER_PATIENCE)
            return []
        session = self._sessions.of(route.account_id)
        assert session is not None  # noqa: S101  see _ready
        permit = self._permits.ask(route.account_id, session.capabilities.rate_unit, members)
        for ready, wait in permit.waiting:
            self._put_aside(ready.member, wait)
        time.sleep(permit.wait.total_seconds())
        self._waited += permit.wait
        return permit.granted

    def _after(self, flight: SingleFlights) -> None:
        """What refused claims mean for their members: the rows are read again in any case."""
        if flight.refusal is Refusal.TAKEN:
            raise LeaseLost
        stopped = [ready for ready, refusal in flight.refused if refusal in _STOPS]
        if flight.refusal in _STOPS:
            stopped += flight.left
        for ready in stopped:
            self._put_aside(ready.member, LOOK_AGAIN)

    # -- answers that are not about one message alone

    def _slow_down(self, flight: SingleFlights, ready: Ready, answer: Answer) -> None:
        route = flight.route
        match answer.kind:
            case AnswerClass.ACCOUNT_REFUSED:
                reason = f"{answer.detail} ({answer.code})" if answer.code else answer.detail
                with self._crew.engine.begin() as connection:
                    refuse_account(connection, route.account_id, reason)
                log.error(
                    "account.refused", extra={"account": route.account_key, "code": answer.code}
                )
                flight.is_ending = True
            case AnswerClass.THROTTLED:
                wait = answer.retry_after or self._backoff()
                with self._crew.engine.begin() as connection:
                    push_back_account(connection, route.account_id, wait)
                self._crew.limits.forget()
                flight.is_ending = True
                self._meet_unavailable([ready, *flight.left], wait)
            case AnswerClass.UNAVAILABLE:
                self._meet_unavailable([ready], answer.retry_after or self._backoff())
            case _:
                pass

    def _meet_unavailable(self, members: Sequence[Ready], wait: timedelta) -> None:
        self.met_unavailable = True
        for ready in members:
            self._put_aside(ready.member, wait)

    def _backoff(self) -> timedelta:
        return backoff(
            self._failures + 1,
            first=self._crew.pace.backoff_first,
            most=self._crew.pace.backoff_most,
            jitter=random.random(),  # noqa: S311  not a secret
        )

    def _put_aside(self, member: Member, wait: timedelta) -> None:
        """Not again in this pass."""
        self._set_aside[self._key(member)] = member.now + wait

    def _key(self, member: Member) -> MemberKey:
        return MemberKey(member.send_id, member.ordinal, member.step)


def _route_on(account: RoutableAccount, member: Member, *, is_probe: bool = False) -> Route:
    return Route(
        account_id=account.id, account_key=account.key, step=member.step, is_probe=is_probe
    )


def _wait_for_an_account(
    fit: Sequence[RoutableAccount], usable: Sequence[RoutableAccount]
) -> timedelta:
    """How long until asking again makes sense: the first breaker that is probed, or long."""
    opens = [account.opens_in for account in usable if account.opens_in is not None]
    if opens:
        return max(min(opens), WHILE_PROBED)
    return WHILE_STOPPED if any(account.is_stopped for account in fit) else LOOK_AGAIN


class LeaseLost(Exception):
    """The group is somebody else's now; nothing was lost by it."""

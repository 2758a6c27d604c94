"""Before a claim: the facts of the next members, a permit for those who go, and their mails."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import NamedTuple

from sqlalchemy import Connection, Engine

from activities.limit_book import LimitBook
from activities.mailer import Mailer
from domain.cap import Cap
from domain.outcome import Outcome, Reason
from domain.rate_unit import RateUnit, units_of_message, units_of_requests
from domain.send import Priority
from models.caps import CapMember
from models.database import in_transaction
from models.delivery_rows import NewDelivery
from models.facts import Person, SendFacts, cap_member, read_people
from models.rate_limit import (
    GLOBAL_KEY,
    RECIPIENT_KEY,
    NotYet,
    account_key,
    domain_key,
    grant_recipients,
    reserve,
    send_key,
    team_key,
)
from providers.protocol import Capabilities, Mail

MAX_PERMIT_WAIT = timedelta(seconds=1)

# What JSON and headers add to a person's slots in a merging request, in bytes; measured 400.
_PERSON_BYTES = 600


class Built(NamedTuple):
    """What becomes of people whose facts were read."""

    mails: list[tuple[Mail, Person]]
    unattempted: list[NewDelivery]
    """Rows for those who may not get it, or for whom there can be no mail."""
    deferred: list[Person]
    """They may not get it yet."""


@dataclass(slots=True)
class FlightPermit:
    """Who of a flight may go after `wait`, which is a second at most."""

    wait: timedelta = timedelta(0)
    later: set[int] = field(default_factory=set)
    """Ordinals whose domain is at its limit: again in this pass, after the others."""
    postponed: set[int] = field(default_factory=set)
    """Ordinals whose recipient got something lately: a later pass, after `postponed_for`."""
    postponed_for: timedelta = timedelta(0)


class Preparation:
    """Reads, asks for permits and renders for one pass over one batch."""

    def __init__(
        self,
        engine: Engine,
        limits: LimitBook,
        send: SendFacts,
        mailer: Mailer,
        capabilities: Capabilities,
    ) -> None:
        """`capabilities` of the session that will send."""
        self._engine = engine
        self._limits = limits
        self._send = send
        self._mailer = mailer
        self._capabilities = capabilities
        self._account_key = account_key(send.account_id)
        self._shared_keys = (send_key(send.id), team_key(send.team_id), GLOBAL_KEY)
        # Critical messages pass caps and are not counted under them.
        is_critical = send.priority is Priority.CRITICAL
        self._caps = () if is_critical else send.time_rules.caps

    @property
    def caps(self) -> Sequence[Cap]:
        """The frequency caps that the send's claims must take."""
        return self._caps

    def cap_members(self, mails: Sequence[tuple[Mail, Person]]) -> list[CapMember]:
        """Those who are to get these mails, as caps count them; nobody where there are none."""
        if not self._caps:
            return []
        return [cap_member(person, self._send.time_rules) for _, person in mails]

    def lowest_rate(self) -> float | None:
        """The lowest rate that binds the whole send now, in messages a second; None: no limit."""
        rates = self._limits.rates()
        found = [rates[key] for key in (self._account_key, *self._shared_keys) if rates.get(key)]
        return min(found, default=None)

    def read(self, members: Sequence[int]) -> list[Person]:
        """Facts and verdicts of these members, ascending."""
        with self._engine.begin() as connection:
            return read_people(connection, self._send, members)

    def permit(self, people: Sequence[Person]) -> FlightPermit:
        """Who of those who go may go, and when. Raises NotYet; nothing is reserved then."""
        going = [person for person in people if person.verdict == 0]
        rates = self._limits.rates()
        if not going or not rates:
            return FlightPermit()
        return in_transaction(self._engine, lambda c: self._reserve(c, going))

    def _reserve(self, connection: Connection, going: Sequence[Person]) -> FlightPermit:
        made, rates = FlightPermit(), self._limits.rates()
        self._ask_domains(connection, going, made)
        left = [person.ordinal for person in going if person.ordinal not in made.later]
        if RECIPIENT_KEY in rates and left:
            granted, wait = grant_recipients(connection, self._send.id, left)
            made.postponed, made.postponed_for = set(left) - granted, wait
            left = sorted(granted)
        if not left:
            return made
        wanted = {key: float(len(left)) for key in self._shared_keys if key in rates}
        if self._account_key in rates:
            wanted[self._account_key] = self._account_units(going, left)
        made.wait = reserve(connection, wanted, MAX_PERMIT_WAIT)
        return made

    def _account_units(self, going: Sequence[Person], left: Sequence[int]) -> float:
        """What the vendor counts of those who are left.

        Segments are known of the text alone, so text messages are rendered for it once more: tens of
        microseconds, where each is a request of its own. Who cannot be rendered is no request.
        """
        capabilities = self._capabilities
        if capabilities.rate_unit is not RateUnit.SEGMENTS:
            return units_of_requests(
                capabilities.rate_unit, len(left), capabilities.max_messages_per_request
            )
        chosen = set(left)
        mails = (self._mailer.mail(person) for person in going if person.ordinal in chosen)
        return sum(
            units_of_message(capabilities.rate_unit, mail.text)
            for mail in mails
            if not isinstance(mail, Reason)
        )

    def _ask_domains(
        self, connection: Connection, going: Sequence[Person], made: FlightPermit
    ) -> None:
        """A limited domain gets a second's worth in a flight, and never holds up the others."""
        rates = self._limits.rates()
        by_domain: dict[str, list[int]] = {key: [] for key in rates if key.startswith("domain:")}
        if not by_domain:
            return
        for person in going:
            key = domain_key(person.address.rpartition("@")[2])
            if key in by_domain:
                by_domain[key].append(person.ordinal)
        for key, ordinals in sorted(by_domain.items()):
            some = ordinals[: max(1, int(rates[key]))]
            try:
                if some:
                    reserve(connection, {key: float(len(some))}, timedelta(0))
            except NotYet:
                some = []
            made.later.update(set(ordinals).difference(some))

    def build(self, people: Sequence[Person]) -> Built:
        """The mails of those who may go, and what becomes of the others."""
        made = Built([], [], [])
        for person in people:
            if person.until is not None:
                made.deferred.append(person)
            elif person.verdict:
                made.unattempted.append(skipped(person, Reason(person.verdict)))
            else:
                mail = self._mailer.mail(person)
                if isinstance(mail, Reason):
                    made.unattempted.append(_ended(person, Outcome.REJECTED, mail))
                else:
                    made.mails.append((mail, person))
        return made

    def that_fit(self, mails: Sequence[tuple[Mail, Person]]) -> int:
        """How many of the mails, from the first on, fit into one request by the vendor's size limit.

        Letters count twice: JSON escapes and UTF-8 rarely more than double them; measured 1.1.
        """
        skeletons = self._mailer.skeletons
        if not skeletons:
            return len(mails)
        # Of several locales each has requests of its own; the largest skeleton is sure to fit.
        shared = max(len(each.html) + len(each.text) + len(each.subject) for each in skeletons)
        keys = max(sum(map(len, each.keys)) for each in skeletons)
        left = self._capabilities.max_request_bytes - 2 * shared
        for at, (mail, _) in enumerate(mails):
            left -= _PERSON_BYTES + 2 * sum(map(len, mail.slots)) + keys
            if left < 0 and at:
                return at
        return len(mails)


def skipped(person: Person, reason: Reason) -> NewDelivery:
    """The row of somebody who must not get it; one for whom it is too late has expired."""
    if reason is Reason.EXPIRED:
        return _ended(person, Outcome.EXPIRED, Reason.NONE)
    return _ended(person, Outcome.SKIPPED, reason)


def _ended(person: Person, outcome: Outcome, reason: Reason) -> NewDelivery:
    return NewDelivery(person.ordinal, outcome, reason, contact_point_id=person.contact_point_id)

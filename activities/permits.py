"""Permits for single messages: of one flight, each may be under limits of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from sqlalchemy import Connection

from activities.crew import Crew
from activities.single_flight import Ready
from domain.rate_unit import RateUnit, units_of_message
from domain.send import Channel
from models.database import in_transaction
from models.rate_limit import (
    GLOBAL_KEY,
    RECIPIENT_KEY,
    NotYet,
    domain_key,
    know_recipients,
    recipient_key,
    reserve,
    send_key,
    team_key,
    transactional_key,
)

MAX_WAIT_FOR_PERMIT = timedelta(seconds=1)


@dataclass(slots=True)
class Permit:
    """Who may go after `wait`, and who has to wait longer. Who is in neither is next again."""

    granted: list[Ready] = field(default_factory=list)
    wait: timedelta = timedelta(0)
    waiting: list[tuple[Ready, timedelta]] = field(default_factory=list)


class Permits:
    """Asks for what binds, and for nothing where nothing does."""

    def __init__(self, crew: Crew) -> None:
        """The limits are the worker's, as last seen."""
        self._crew = crew

    def ask(self, account_id: int, unit: RateUnit, members: Sequence[Ready]) -> Permit:
        """Permits for these members of one account: those under the same limits share one."""
        rates = self._crew.limits.rates()
        made = Permit()
        sharing: dict[frozenset[str], list[Ready]] = {}
        for ready in members:
            sharing.setdefault(_binding(ready, account_id, rates), []).append(ready)
        for keys, some in sharing.items():
            if keys:
                self._reserve(keys, rates, unit, some, made)
            else:
                made.granted += some
        return made

    def _reserve(
        self,
        keys: frozenset[str],
        rates: Mapping[str, float],
        unit: RateUnit,
        members: Sequence[Ready],
        made: Permit,
    ) -> None:
        """A second's worth at once, so that nobody's burst is the vendor's."""
        lowest = min((rates[key] for key in keys if rates.get(key)), default=None)
        some = members if lowest is None else members[: max(1, int(lowest))]
        wanted = {key: float(len(some)) for key in keys}
        for key in [key for key in keys if key.startswith("account:")]:
            wanted[key] = sum(units_of_message(unit, ready.message.mail.text) for ready in some)
        try:
            wait = in_transaction(self._crew.engine, lambda c: _reserve(c, wanted, some))
        except NotYet as not_yet:
            made.waiting += [(ready, not_yet.wait) for ready in members]
            return
        made.granted += some
        made.wait = max(made.wait, wait)


def _reserve(
    connection: Connection, wanted: Mapping[str, float], members: Sequence[Ready]
) -> timedelta:
    if any(key.startswith(f"{RECIPIENT_KEY}:") for key in wanted):
        know_recipients(connection, [ready.member.recipient_id for ready in members])
    return reserve(connection, wanted, MAX_WAIT_FOR_PERMIT)


def _binding(ready: Ready, account_id: int, rates: Mapping[str, float]) -> frozenset[str]:
    """The keys under which this message is limited."""
    member = ready.member
    keys = [transactional_key(account_id), GLOBAL_KEY, team_key(member.team_id)]
    keys.append(send_key(member.send_id))
    if member.channel is Channel.EMAIL:
        keys.append(domain_key(member.person.address.rpartition("@")[2]))
    found = {key for key in keys if key in rates}
    if RECIPIENT_KEY in rates:
        found.add(recipient_key(member.recipient_id))
    return frozenset(found)

"""Two thousand people who differ in all that decides about messages, and sends to them; by seed.

Clock times are chosen around `now`, so that the same people are quiet at whatever time a test runs.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

from tests.model_of_sending import Hours, Person, Send, World, fates, zone_of

OPT_IN = {"newsletter": "explicit", "alerts": "implied", "club": "double"}
CHANNELS = ("email", "sms", "in_app", "webhook")
STATES = ("subscribed", "left", "pending", None)
REASONS = ("hard_bounce", "complaint", "manual")
UNKNOWN_ZONE = "Mars/Olympus"

REFUSED_NUMBERS = ("+15005550001", "+15005550002", "+15005550004", "+15005550009")
"""Twilio's own: each is refused, for a reason of its own that is about the number."""

EAST = ("Asia/Tokyo", "Australia/Brisbane", "Asia/Shanghai")
ELSEWHERE = (
    "UTC",
    "Africa/Nairobi",
    "Europe/Vienna",
    "America/New_York",
    "America/Sao_Paulo",
    "Asia/Kathmandu",
    "Pacific/Honolulu",
)
RECEIPT = ("transactional", "normal", None, "email")
SHARES_EVERY = 200
"""Of so many people two share an address that is suppressed."""
_HOUR = timedelta(hours=1)
_NEAR_MIDNIGHT = timedelta(minutes=10)


@dataclass(frozen=True, kw_only=True)
class Changes:
    """What happens to people between a freeze and the first flight; names."""

    leaving: list[str]
    erased: list[str]


class Crowd:
    """Makes one world after the other from a seed; equal seeds and times make equal ones."""

    def __init__(self, seed: int, now: datetime, webhook_url: str) -> None:
        self._chance = random.Random(seed)
        self._now = now
        self._webhook_url = webhook_url
        self._zones = [zone for zone in ELSEWHERE if is_calm(zone, now)]
        self._eastern = [zone for zone in EAST if is_calm(zone, now)]

    def world(self, size: int) -> World:
        """So many people, p-1 and on, with their addresses, consents and clocks."""
        people = [self._person(number) for number in range(1, size + 1)]
        world = World(
            people={person["name"]: person for person in people},
            opt_in=OPT_IN,
            suppressed={},
            refused={("sms", number) for number in REFUSED_NUMBERS},
            zone=self._zones[0],
            quiet=self._eastern_night(),
            one_a_day=("marketing", "email"),
        )
        for person in people:
            self._meet_trouble(world, person)
        for first, second in zip(people[::SHARES_EVERY], people[1::SHARES_EVERY], strict=True):
            first["addresses"]["email"] = second["addresses"]["email"] = (
                f"of-{first['name']}@example.com"
            )
            world["suppressed"]["email", second["addresses"]["email"]] = "hard_bounce"
        return world

    def sends(self, world: World) -> list[Send]:
        """Requests by all kinds of plans; everybody is in one of them at least."""
        made = [
            self._send(world, 600, "receipt", *RECEIPT),
            self._send(world, 400, "code", "transactional", "critical", None, "sms,email"),
            self._send(world, 500, "bell", "marketing", "normal", "alerts", "in_app,email"),
            self._send(
                world, 250, "nudge", "transactional", "high", None, "in_app:read/2s,sms,email"
            ),
            self._send(world, 400, "hook", "transactional", "low", None, "webhook,email"),
            self._send(world, 400, "event", "marketing", "high", "alerts", "webhook,in_app"),
            self._send(world, 500, "offer", "marketing", "normal", "club", "sms,email"),
            self._send(world, 300, "alarm", "marketing", "critical", "alerts", "email"),
            self._send(world, 500, "sale", "marketing", "low", "newsletter", "email"),
        ]
        reached = {name for send in made for name in send["to"]}
        made[0]["to"] += [name for name in world["people"] if name not in reached]
        recalled = self._send(world, 80, "recalled", "transactional", "normal", None, "sms,email")
        return [*made, {**recalled, "ends": "cancelled"}]

    def lapsed(self, world: World) -> Send:
        """A request that expires while all of its people are in their quiet hours."""
        everybody = self._send(world, len(world["people"]), "lapsed", *RECEIPT)
        waiting = [
            everybody["to"][ordinal - 1]
            for (_, ordinal), fate in fates(world, everybody, self._now).items()
            if fate.waits_until
        ]
        return {**everybody, "to": waiting[:60], "ends": "expired"}

    def changes(self, world: World) -> Changes:
        """Who leaves the newsletter and who is erased after the audience was frozen.

        Whose suppressed address somebody else has is erased as well: it must stay suppressed.
        """
        names = list(world["people"])
        sharing = names[::SHARES_EVERY]
        return Changes(
            leaving=self._chance.sample(names, 60),
            erased=sorted({*sharing, *self._chance.sample(names, 40)}),
        )

    def _send(
        self,
        world: World,
        size: int,
        name: str,
        message_class: str,
        priority: str,
        topic: str | None,
        plan: str,
    ) -> Send:
        return Send(
            name=name,
            message_class=message_class,
            priority=priority,
            topic=topic,
            plan=plan,
            to=self._chance.sample(list(world["people"]), size),
            ends=None,
        )

    def _person(self, number: int) -> Person:
        chance = self._chance.random
        addresses = {}
        if chance() < 0.9:
            addresses["email"] = f"p-{number}@example.com"
        if chance() < 0.6:
            is_refused = chance() < 0.1
            own = f"+43660{number:07}"
            addresses["sms"] = self._chance.choice(REFUSED_NUMBERS) if is_refused else own
        if chance() < 0.5:
            addresses["webhook"] = f"{self._webhook_url}/p-{number}"
        zone = self._zone()
        return Person(
            name=f"p-{number}",
            zone=zone,
            quiet=self._quiet(zone),
            addresses=addresses,
            consents=self._consents(),
            is_erased=False,
        )

    def _zone(self) -> str | None:
        kind = self._chance.random()
        if kind < 0.05:
            return None
        if kind < 0.1:
            return UNKNOWN_ZONE
        return self._chance.choice(self._eastern if kind < 0.2 else self._zones)

    def _quiet(self, zone: str | None) -> Hours | None:
        """Of those who have hours of their own half are quiet now, for three hours more."""
        if self._chance.random() < 0.7:
            return None
        there = self._now.astimezone(zone_of(zone, self._zones[0]))
        starts = there + self._chance.choice((-2, 5)) * _HOUR
        return _clock(starts), _clock(starts + 5 * _HOUR)

    def _consents(self) -> dict[tuple[str, str], str]:
        """Most have joined the newsletter; of the rest everything occurs."""
        found = {}
        for topic in OPT_IN:
            for channel in CHANNELS:
                state = self._chance.choices(STATES, (6, 1, 1, 2))[0]
                if state is not None:
                    found[topic, channel] = state
        return found

    def _meet_trouble(self, world: World, person: Person) -> None:
        """Some addresses are suppressed, and the provider refuses some others."""
        for channel, address in person["addresses"].items():
            kind = self._chance.random()
            if address in REFUSED_NUMBERS:
                continue
            if kind < 0.08:
                world["suppressed"][channel, address] = self._chance.choice(REASONS)
            elif kind < 0.1 and channel != "sms":
                world["refused"].add((channel, address))

    def _eastern_night(self) -> Hours:
        """The team's quiet hours: now in the east, and nowhere else that people are."""
        there = self._now.astimezone(UTC) + 9 * _HOUR
        return _clock(there - 2 * _HOUR), _clock(there + 3 * _HOUR)


def is_calm(zone: str, now: datetime) -> bool:
    """Whether no clock is changed there within a day, and it is not about midnight.

    A day's cap begins anew at midnight: in a test that is under way then, two would be right.
    """
    there = now.astimezone(ZoneInfo(zone))
    days = (now + hours * _HOUR for hours in range(-24, 25, 3))
    is_steady = len({day.astimezone(ZoneInfo(zone)).utcoffset() for day in days}) == 1
    return is_steady and there.date() == (there + _NEAR_MIDNIGHT).date()


def _clock(at: datetime) -> time:
    return at.time().replace(second=0, microsecond=0)

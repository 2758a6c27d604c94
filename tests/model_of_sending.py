"""What must come of messages, worked out from the design's words alone, over plain dicts.

It shares no line with the product, on purpose: where both say the same of two thousand mixed people,
neither is likely to be wrong. DESIGN §3 (words), §5 (the channel plan), §7 (caps) and the README are
its sources: a person's own quiet hours hold for everything but what is critical, the team's for
marketing to people who have none; a hard bounce or a manual suppression stops everything to an
address, a complaint marketing; marketing needs consent to its topic on the channel.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, time, timedelta
from typing import TypedDict
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

GOES_ON_AFTER = (
    "skipped:no_contact_point",
    "skipped:suppressed",
    "skipped:left",
    "skipped:pending",
    "skipped:not_subscribed",
    "rejected:recipient_refused",
)
"""What is about the channel alone: the next step of the plan follows."""

Hours = tuple[time, time]
Key = tuple[str, int]
"""A message: its send's name and its ordinal."""


class Person(TypedDict):
    """Somebody who may be told something."""

    name: str
    zone: str | None
    quiet: Hours | None
    addresses: dict[str, str]
    """By channel."""
    consents: dict[tuple[str, str], str]
    """State by topic and channel; none: never joined."""
    is_erased: bool


class Send(TypedDict):
    """What is to be told to whom."""

    name: str
    message_class: str
    priority: str
    topic: str | None
    plan: str
    """As requests write it: in_app:read/2s,email"""
    to: list[str]
    """Names of people; the first is ordinal 1."""
    ends: str | None
    """cancelled or expired: before anybody could be sent to."""


class World(TypedDict):
    """All that is known when the workers start."""

    people: dict[str, Person]
    opt_in: dict[str, str]
    """implied, explicit or double, by topic."""
    suppressed: dict[tuple[str, str], str]
    """Reason by channel and address."""
    refused: set[tuple[str, str]]
    """Channels and addresses that the provider refuses."""
    zone: str
    """The team's."""
    quiet: Hours | None
    """The team's."""
    one_a_day: tuple[str, str]
    """Class and channel of which a person gets at most one a day; one more is skipped."""


@dataclass(frozen=True, kw_only=True)
class Fate:
    """What comes of one message."""

    rows: Mapping[int, str]
    """Outcome and reason of each step that was decided."""
    waits_until: datetime | None = None
    """It stands at the step after these rows and waits for the end of quiet hours."""
    counts_at: int = 0
    """The step that counts against the cap; 0: none does."""

    def rows_while_it_waits(self) -> dict[int, str]:
        """A later step has a row from when it is entered on; the first has none."""
        has_owed = self.waits_until is not None and self.rows
        return {**self.rows, **({len(self.rows) + 1: "owed"} if has_owed else {})}

    def when_cancelled(self) -> Fate:
        """The same after its send was cancelled while it waited."""
        if self.waits_until is None:
            return self
        rows = {**self.rows, len(self.rows) + 1: "cancelled"}
        return replace(self, rows=rows, waits_until=None)


def fates(world: World, send: Send, now: datetime) -> dict[Key, Fate]:
    """What comes of each message of the send, as if nobody got anything else."""
    return {
        (send["name"], ordinal): _fate(world, send, world["people"][name], now)
        for ordinal, name in enumerate(send["to"], 1)
    }


def contests(sends: list[Send], all_fates: Mapping[Key, Fate]) -> list[list[Key]]:
    """The messages that want one person's only place under the cap; each list has two or more.

    Which of them gets it depends on who comes first, and any order is right.
    """
    wanting: dict[str, list[Key]] = defaultdict(list)
    for send in sends:
        for ordinal, name in enumerate(send["to"], 1):
            if all_fates[send["name"], ordinal].counts_at:
                wanting[name].append((send["name"], ordinal))
    return [keys for keys in wanting.values() if len(keys) > 1]


def problems(
    expected: Mapping[Key, Fate],
    contested: list[list[Key]],
    found: Mapping[Key, Mapping[int, str]],
) -> Iterator[str]:
    """A sentence for each message that did not end as it must."""
    free = {key for keys in contested for key in keys}
    for key, fate in expected.items():
        rows, wanted = found.get(key, {}), fate.rows_while_it_waits()
        if rows != wanted and not (key in free and rows == _capped(fate)):
            yield f"{key}: it must be {wanted}, and is {rows}"
    for keys in contested:
        yield from _problems_of_contest(keys, expected, found)


def _problems_of_contest(
    keys: list[Key], expected: Mapping[Key, Fate], found: Mapping[Key, Mapping[int, str]]
) -> Iterator[str]:
    """One was sent, no other; an address that is refused uses nothing up, so more may have tried."""
    went = [key for key in keys if found.get(key) == expected[key].rows]
    fate = expected[keys[0]]
    is_refused = fate.rows[fate.counts_at] != "accepted"
    if not (went if is_refused else len(went) == 1):
        yield f"{keys}: of one a day, {went} went"


def _capped(fate: Fate) -> dict[int, str]:
    return {**fate.rows, fate.counts_at: "skipped:capped"}


def _fate(world: World, send: Send, person: Person, now: datetime) -> Fate:
    """Step by step, until one of them ends the message."""
    if send["ends"]:
        return Fate(rows={1: send["ends"]})
    rows: dict[int, str] = {}
    for step, part in enumerate(send["plan"].split(","), 1):
        channel, _, waits_for = part.partition(":")
        reason = _reason_against(world, send, person, channel)
        until = None if reason else _quiet_until(world, send, person, now)
        if until:
            return Fate(rows=rows, waits_until=until)
        is_refused = (channel, person["addresses"].get(channel)) in world["refused"]
        went = "rejected:recipient_refused" if is_refused else "accepted"
        rows[step] = f"skipped:{reason}" if reason else went
        if not reason and _is_counted(world, send, channel):
            return Fate(rows=rows, counts_at=step)
        # Nobody in this world reads, so whoever waits for a reader goes on.
        if rows[step] not in GOES_ON_AFTER and not (rows[step] == "accepted" and waits_for):
            break
    return Fate(rows=rows)


def _reason_against(world: World, send: Send, person: Person, channel: str) -> str | None:
    """Why the person must not be told on the channel; None: they may, as far as consent goes."""
    is_marketing = send["message_class"] == "marketing"
    address = person["addresses"].get(channel)
    if person["is_erased"]:
        return "erased"
    if address is None and channel != "in_app":
        return "no_contact_point"
    suppressed = world["suppressed"].get((channel, address or ""))
    if suppressed and (is_marketing or suppressed != "complaint"):
        return "suppressed"
    return _lacks_consent(world, send, person, channel) if is_marketing else None


def _lacks_consent(world: World, send: Send, person: Person, channel: str) -> str | None:
    topic = send["topic"] or ""
    state = person["consents"].get((topic, channel))
    if state in ("left", "pending"):
        return state
    is_joined = state == "subscribed" or world["opt_in"][topic] == "implied"
    return None if is_joined else "not_subscribed"


def _is_counted(world: World, send: Send, channel: str) -> bool:
    """Critical messages pass caps and are not counted."""
    return (send["message_class"], channel) == world["one_a_day"] and send["priority"] != "critical"


def _quiet_until(world: World, send: Send, person: Person, now: datetime) -> datetime | None:
    if send["priority"] == "critical":
        return None
    is_marketing = send["message_class"] == "marketing"
    hours = person["quiet"] or (world["quiet"] if is_marketing else None)
    return quiet_until(hours, zone_of(person["zone"], world["zone"]), now) if hours else None


def quiet_until(hours: Hours, zone: ZoneInfo, now: datetime) -> datetime | None:
    """When hours that are quiet now end, in UTC; None: they are not quiet now.

    For days on which no clock is changed.
    """
    start, end = hours
    local = now.astimezone(zone)
    shown = local.time()
    is_quiet = start <= shown < end if start < end else shown >= start or shown < end
    if not is_quiet:
        return None
    day = local.date() + timedelta(days=shown >= end)
    return datetime.combine(day, end, zone).astimezone(UTC)


def zone_of(name: str | None, default: str) -> ZoneInfo:
    """The zone of the name; of one that there is not, the default."""
    try:
        return ZoneInfo(name or default)
    except (ZoneInfoNotFoundError, ValueError):
        return ZoneInfo(default)

"""Times of day where people are: quiet hours, windows, and the days on which clocks are changed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo

_HOURS = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d)")
_SECOND = timedelta(seconds=1)
# The zones that are furthest ahead of UTC (Kiritimati) and behind it (ships, Baker Island).
_EARLIEST_ZONE = timedelta(hours=14)
_LATEST_ZONE = timedelta(hours=12)


@dataclass(frozen=True, slots=True)
class Window:
    """A part of each local day: from `start` on, until before `until`. It may cross midnight."""

    start: time
    until: time

    def __post_init__(self) -> None:
        """Raises ValueError for a window that is either nothing or the whole day."""
        if self.start == self.until:
            raise ValueError("A window must not end when it begins.")

    @classmethod
    def parse(cls, words: str) -> Window:
        """The window of "22:00-08:00". Raises ValueError with a sentence."""
        found = _HOURS.fullmatch(words.strip())
        if found is None:
            raise ValueError(f"'{words}' is no part of a day; write it as 22:00-08:00.")
        from_hour, from_minute, hour, minute = map(int, found.groups())
        return cls(time(from_hour, from_minute), time(hour, minute))

    @classmethod
    def of(cls, start: time | None, until: time | None) -> Window | None:
        """The window of two columns; None where they are empty."""
        return None if start is None or until is None else cls(start, until)

    def __str__(self) -> str:
        """As `parse` reads it."""
        return f"{self.start:%H:%M}-{self.until:%H:%M}"


def local_moment(day: date, at: time, zone: tzinfo) -> datetime:
    """The instant (UTC) at which the clocks of the zone show that time on that day.

    A time that occurs twice means the first; one that does not exist moves to the end of the gap,
    also where a whole day was left out.
    """
    shown = datetime.combine(day, at)
    moment = shown.replace(tzinfo=zone).astimezone(UTC)
    if moment.astimezone(zone).replace(tzinfo=None) == shown:
        return moment
    return _end_of_gap(shown, zone)


def moment_of(shown: datetime, zone: tzinfo) -> datetime:
    """The instant (UTC) at which the clocks of the zone show `shown` (naive); see `local_moment`."""
    return local_moment(shown.date(), shown.time(), zone)


def first_moment(shown: datetime) -> datetime:
    """The instant (UTC) at which the first clocks on earth show `shown` (naive)."""
    return shown.replace(tzinfo=UTC) - _EARLIEST_ZONE


def last_moment(shown: datetime) -> datetime:
    """The instant (UTC) at which the last clocks on earth show `shown` (naive)."""
    return shown.replace(tzinfo=UTC) + _LATEST_ZONE


def parse_local(words: str) -> datetime:
    """The local time (naive) of "2026-12-24T18:00". Raises ValueError with a sentence."""
    shown: datetime | None = None
    with suppress(ValueError):
        shown = datetime.fromisoformat(words)
    if shown is None or shown.tzinfo is not None or not 1970 < shown.year < 3000:
        raise ValueError(
            f"'{words}' is no time on everybody's own clock; write it as 2026-12-24T18:00,"
            " without a zone."
        )
    return shown


def _end_of_gap(shown: datetime, zone: tzinfo) -> datetime:
    """The instant of the change that left `shown` out. Changes are at whole seconds."""
    # PEP 495: in a gap, fold 1 counts with the offset after it, which gives an instant before it.
    before = shown.replace(tzinfo=zone, fold=1).astimezone(UTC).replace(microsecond=0)
    after = shown.replace(tzinfo=zone, fold=0).astimezone(UTC).replace(microsecond=0) + _SECOND
    offset = before.astimezone(zone).utcoffset()
    while after - before > _SECOND:
        middle = before + (after - before) // _SECOND // 2 * _SECOND
        if middle.astimezone(zone).utcoffset() == offset:
            before = middle
        else:
            after = middle
    return after


def _stretches(at: datetime, window: Window, zone: tzinfo) -> Iterator[tuple[datetime, datetime]]:
    """The instants between which the window is open, from yesterday's on, in their order.

    Three days ahead are enough: one of them may not exist in the zone.
    """
    today = at.astimezone(zone).date()
    crosses_midnight = window.until < window.start
    for days in range(-1, 4):
        day = today + timedelta(days=days)
        last = day + timedelta(days=1) if crosses_midnight else day
        yield local_moment(day, window.start, zone), local_moment(last, window.until, zone)


def quiet_until(at: datetime, window: Window, zone: tzinfo) -> datetime | None:
    """When the window that is open at `at` (aware) ends, in UTC; None: it is not open then.

    Where a gap takes away all that is between two nights, it is the second that ends.
    """
    reached = at
    for start, end in _stretches(at, window, zone):
        if start <= reached < end:
            reached = end
    return reached if reached > at else None


def next_open(at: datetime, window: Window, zone: tzinfo) -> datetime:
    """The earliest instant ≥ `at` (aware) inside the window, in UTC."""
    return next(
        max(start, at.astimezone(UTC))
        for start, end in _stretches(at, window, zone)
        if start < end and at < end
    )


@lru_cache(maxsize=2048)
def zone_of(name: str | None, default: str = "UTC") -> tzinfo:
    """The time zone of this IANA name; an unknown one is the default, and that failing, UTC."""
    for candidate in (name, default):
        if candidate:
            try:
                return ZoneInfo(candidate)
            except (ValueError, KeyError, OSError):  # no name, no such zone, or a folder of zones
                continue
    return UTC

"""Digests: how often somebody is told, and which period a moment belongs to."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, tzinfo
from enum import StrEnum

from domain.local_time import local_moment


class Cadence(StrEnum):
    """How often a member of a topic is told: at each event, or of all of a day or week at once."""

    IMMEDIATE = "immediate"
    DAILY = "daily"
    WEEKLY = "weekly"


DIGESTED = (Cadence.DAILY, Cadence.WEEKLY)
"""Cadences that have periods, in the order in which their rows are locked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """A day or week on the clocks of a zone."""

    name: str
    """2026-11-28, or 2026-W48 by ISO 8601: weeks begin on Monday."""
    ends_on: date
    """The first day that is no longer in it."""
    ends_at: datetime
    """The instant (UTC) at which it ends."""


def period_of(cadence: Cadence, at: datetime, zone: tzinfo) -> Period:
    """The period in which `at` (aware) is. Raises ValueError for immediate, which has none."""
    day = at.astimezone(zone).date()
    match cadence:
        case Cadence.DAILY:
            name, ends_on = day.isoformat(), day + timedelta(days=1)
        case Cadence.WEEKLY:
            week = day.isocalendar()
            name = f"{week.year}-W{week.week:02}"
            ends_on = day + timedelta(days=8 - week.weekday)
        case Cadence.IMMEDIATE:
            raise ValueError("What is told at once has no period.")
    return Period(name=name, ends_on=ends_on, ends_at=local_moment(ends_on, time(0), zone))

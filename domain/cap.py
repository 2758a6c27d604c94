"""Frequency caps: how many messages one person may get in a day or in so many hours."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta, tzinfo
from enum import StrEnum

from domain.eligibility import OverCap
from domain.local_time import local_moment

ROLLING = "rolling"
"""Key of the one count that a cap of rolling hours has for a person."""

_MIDNIGHT = time(0)


class Over(StrEnum):
    """What becomes of a message that would be one too many."""

    DEFER = "defer"
    SKIP = "skip"


def over_of(cap: Over, topic: Over | None) -> Over:
    """What becomes of it: as its topic says, else as the cap does.

    A cap over several topics cannot know that of one tomorrow's news is as good as today's, and of
    another worth nothing.
    """
    return topic or cap


@dataclass(frozen=True, slots=True, kw_only=True)
class Cap:
    """At most `most` messages to one person."""

    id: int
    most: int
    hours: int | None
    """In so many hours, whenever they begin; None: on one calendar day where the person is."""
    over: Over

    def key(self, now: datetime, zone: tzinfo) -> str:
        """Which of a person's counts is asked now: the local day, or the only one."""
        return now.astimezone(zone).date().isoformat() if self.hours is None else ROLLING

    def since(self, now: datetime) -> datetime | None:
        """Uses before then count no more; None: all uses of the count do."""
        return None if self.hours is None else now - timedelta(hours=self.hours)

    def over_with(
        self, used: int, used_at: Sequence[datetime], now: datetime, zone: tzinfo
    ) -> OverCap | None:
        """How one more message would be too many; None: it would not.

        `used`, and for rolling hours `used_at` (in any order), are the person's count under `key`.
        """
        if self.hours is None:
            if used < self.most:
                return None
            tomorrow = now.astimezone(zone).date() + timedelta(days=1)
            return self._over(local_moment(tomorrow, _MIDNIGHT, zone))
        window = timedelta(hours=self.hours)
        counting = sorted(at for at in used_at if at > now - window)
        if len(counting) < self.most:
            return None
        return self._over(counting[len(counting) - self.most] + window)

    def _over(self, until: datetime) -> OverCap:
        return OverCap(until=until if self.over is Over.DEFER else None)


def parse_per(words: str) -> int | None:
    """The hours of "24h"; None for "day". Raises ValueError with a sentence."""
    if words == "day":
        return None
    found = re.fullmatch(r"(\d{1,4})h", words)
    if found is None or not int(found[1]):
        raise ValueError(f"'{words}' is no window of a cap; write day, or hours such as 24h.")
    return int(found[1])


def worst(found: Sequence[OverCap]) -> OverCap | None:
    """Of several caps that are over, the one that decides: a skip, else the latest end."""
    if not found:
        return None
    ends = [over.until for over in found if over.until is not None]
    return OverCap(until=max(ends) if len(ends) == len(found) else None)

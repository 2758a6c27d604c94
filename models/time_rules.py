"""Which rules of time a send has: quiet hours, its own window, frequency caps."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from domain.cap import Cap
from domain.eligibility import quiet_window
from domain.local_time import Window
from domain.send import MessageClass
from models.cap import caps_from, caps_sql


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeRules:
    """What of a send and its team the rules of time need."""

    time_zone: str
    """Of recipients whose zone is not known."""
    quiet: Window | None
    """Of recipients without quiet hours of their own."""
    has_own_quiet: bool
    """Somebody of the team has quiet hours of their own."""
    window: Window | None
    """When, where the recipient is, the send may go."""
    caps: tuple[Cap, ...] = ()
    local_at: datetime | None = None
    """Naive: when, where the recipient is, it may begin to go."""
    local_grace: timedelta = timedelta.max
    """How long after that moment it may begin."""

    @property
    def is_by_local_time(self) -> bool:
        """Whether it matters to the minute when the clocks show something."""
        return self.window is not None or self.local_at is not None

    @property
    def may_apply(self) -> bool:
        """Whether any rule of time can concern anybody of the send."""
        return bool(self.quiet or self.has_own_quiet or self.window or self.caps or self.local_at)


def grace_of(stored: timedelta | None) -> timedelta:
    """The grace of a send's row; one that is by no local time needs none."""
    return timedelta.max if stored is None else stored


TIME_RULES = (
    "s.window_from, s.window_until, s.local_at, s.local_grace, e.time_zone AS team_zone, e.quiet_from, e.quiet_until,"  # noqa: S608  constants
    " EXISTS (SELECT 1 FROM recipient q WHERE q.team_id = s.team_id AND q.quiet_from IS NOT NULL)"
    f" AS has_own_quiet, {caps_sql('s.team_id', 's.topic_id', 's.message_class', 's.channel')} AS caps"
)
"""The columns that `time_rules_from` reads, of send s and its team e."""


def time_rules_from(row: Any) -> TimeRules:
    """The rules of time that hold for the send now. `row` has `TIME_RULES` and `message_class`."""
    team_quiet = Window.of(row["quiet_from"], row["quiet_until"])
    return TimeRules(
        time_zone=row["team_zone"],
        quiet=quiet_window(None, team_quiet, MessageClass(row["message_class"])),
        has_own_quiet=row["has_own_quiet"],
        window=Window.of(row["window_from"], row["window_until"]),
        caps=caps_from(row["caps"]),
        local_at=row["local_at"],
        local_grace=grace_of(row["local_grace"]),
    )

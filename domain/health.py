"""Health of accounts: weights leave an erring or slow one step by step, and a breaker stops it.

The numbers are GOV.UK Notify's, which left an earlier design because it moved all traffic at once
on one error, and flapped (RELIABILITY.md §4.1).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from domain.send import Channel

JUDGED = frozenset({Channel.EMAIL, Channel.SMS, Channel.PUSH, Channel.WEB_PUSH})
"""Channels with a vendor behind them. A webhook's errors are about its endpoint, not the account."""
MOST_WEIGHT = 1000
"""Of an account; 0: it is used only when no other is up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthRules:
    """When weights move and breakers open; all times count in `minute`, which tests make short."""

    minute: timedelta = timedelta(minutes=1)
    step: int = 10
    """Points that move at once."""
    errors: int = 50
    """Errors in a minute that are too many, whatever their share."""
    few_errors: int = 10
    error_share: float = 0.2
    """So large a share is too much, from `few_errors` in a minute on."""
    slow_share: float = 0.15
    """Too slow: so large a share of the answers of 15 minutes took longer than `slow_after`."""
    few_answers: int = 20
    breaker_share: float = 0.5
    """An open breaker: so large a share of the answers of half a minute were errors."""

    @property
    def bucket(self) -> timedelta:
        """The grain in which answers are counted."""
        return self.minute / 6

    @property
    def slow_window(self) -> timedelta:
        """Over which slowness is looked at, and for which it must be quiet before weights return."""
        return self.minute * 15

    @property
    def breaker_window(self) -> timedelta:
        """Over which errors open a breaker."""
        return self.minute / 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """Answers of a provider within some time."""

    answers: int = 0
    errors: int = 0
    slow: int = 0


class Trouble(StrEnum):
    """What is wrong with an account."""

    NONE = ""
    ERRORS = "errors"
    SLOW = "slow"


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """An account among those of its channel."""

    id: int
    weight: int
    configured: int
    changed_at: datetime | None
    """When its weight was last moved; null: never."""
    is_up: bool
    minute: Seen
    quarter: Seen
    """Of the last 15 minutes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """Points that move from one account to another: the total of a channel stays as it is."""

    giver: int
    taker: int
    points: int
    why: Trouble


def trouble_of(account: Standing, rules: HealthRules) -> Trouble:
    """What is wrong with the account now."""
    minute, quarter = account.minute, account.quarter
    is_erring = minute.errors >= rules.errors or (
        minute.errors >= rules.few_errors and minute.errors >= rules.error_share * minute.answers
    )
    if is_erring:
        return Trouble.ERRORS
    is_slow = quarter.answers >= rules.few_answers and (
        quarter.slow >= rules.slow_share * quarter.answers
    )
    return Trouble.SLOW if is_slow else Trouble.NONE


def next_change(pool: Sequence[Standing], now: datetime, rules: HealthRules) -> Change | None:
    """The one change that the accounts of a channel need now; None: none, or it is too early.

    Away from errors at most once a minute, from slowness once in five; back towards the configured
    weight only after 15 quiet minutes, a step each time.
    """
    last = max((a.changed_at for a in pool if a.changed_at), default=None)
    since = now - last if last else timedelta.max
    waits = {Trouble.ERRORS: rules.minute, Trouble.SLOW: rules.minute * 5}
    for trouble, wait in waits.items():
        if since >= wait and (change := _away(pool, trouble, rules)):
            return change
    if since < rules.slow_window or any(not _is_quiet(account, rules) for account in pool):
        return None
    return _back(pool, rules)


def _away(pool: Sequence[Standing], trouble: Trouble, rules: HealthRules) -> Change | None:
    """From the heaviest in this trouble to who is well and furthest below its configured weight."""
    troubled = [a for a in pool if a.weight > 0 and trouble_of(a, rules) is trouble]
    well = [a for a in pool if a.is_up and a.configured > 0 and not trouble_of(a, rules)]
    if not troubled or not well:
        return None
    giver = max(troubled, key=lambda a: (a.weight, -a.id))
    taker = max(well, key=lambda a: (a.configured - a.weight, -a.id))
    points = min(rules.step, giver.weight)
    return Change(giver=giver.id, taker=taker.id, points=points, why=trouble)


def _is_quiet(account: Standing, rules: HealthRules) -> bool:
    return not trouble_of(account, rules) and account.quarter.errors < rules.errors


def _back(pool: Sequence[Standing], rules: HealthRules) -> Change | None:
    taker = max(pool, key=lambda a: (a.configured - a.weight, -a.id), default=None)
    giver = max(pool, key=lambda a: (a.weight - a.configured, -a.id), default=None)
    if taker is None or giver is None:
        return None
    points = min(rules.step, taker.configured - taker.weight, giver.weight - giver.configured)
    if points <= 0:
        return None
    return Change(giver=giver.id, taker=taker.id, points=points, why=Trouble.NONE)


def breaker_opens(seen: Seen, rules: HealthRules) -> bool:
    """Whether so much failed within the breaker's window that asking on makes no sense."""
    return seen.errors >= rules.few_errors and seen.errors >= rules.breaker_share * seen.answers


def breaker_wait(before: timedelta, rules: HealthRules) -> timedelta:
    """How long until a probe: half a minute at first, doubled after each failed one, at most five."""
    return min(max(before * 2, rules.minute / 2), rules.minute * 5)

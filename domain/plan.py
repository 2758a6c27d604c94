"""The channel plan of a send: by which channels, in which order, and what each step waits for."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from domain.outcome import Progress, Reason
from domain.send import Channel

MAX_STEPS = 5
FALLS_BACK: frozenset[Reason] = frozenset(
    {
        Reason.NO_CONTACT_POINT,
        Reason.SUPPRESSED,
        Reason.LEFT,
        Reason.PENDING,
        Reason.NOT_SUBSCRIBED,
        Reason.NO_ACCOUNT,
    }
)
"""Skips that are about the channel: the next step is tried. Erased and capped end the message."""

_STEP = re.compile(
    r"(?P<channel>[a-z_]+)(?:@(?P<accounts>[\w.-]+(?:\+[\w.-]+)*))?"
    r"(?::(?P<for>[a-z]+)/(?P<n>\d+)(?P<unit>[smhd]))?"
)
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


class PlanRefused(ValueError):
    """Not a channel plan; the message is one sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step: send on `channel`; when `wait_for` is not reached `within`, the next step follows."""

    channel: Channel
    accounts: tuple[str, ...] = ()
    """Keys of the accounts to use, in the order of fallback; empty: chosen among the channel's."""
    wait_for: Progress | None = None
    within: timedelta = timedelta(0)

    def as_json(self) -> dict[str, Any]:
        """As stored in `send.plan`."""
        made: dict[str, Any] = {"channel": self.channel.value}
        if self.accounts:
            made["accounts"] = list(self.accounts)
        if self.wait_for is not None:
            made |= {"wait_for": self.wait_for.word, "within": self.within.total_seconds()}
        return made


def parse_plan(given: str) -> tuple[Step, ...]:
    """The plan in "in_app:read/1h,sms@one+two,email": channel, the accounts to use in the order of
    fallback, then what to wait for and how long.

    Raises PlanRefused.
    """
    return check_plan([_parse_step(part.strip()) for part in given.split(",")])


def check_plan(steps: Sequence[Step]) -> tuple[Step, ...]:
    """The steps, if they can be a plan. Raises PlanRefused."""
    if not 1 <= len(steps) <= MAX_STEPS:
        raise PlanRefused(f"A channel plan has 1 to {MAX_STEPS} steps.")
    if steps[-1].wait_for is not None:
        raise PlanRefused("The last step of a channel plan has nothing to wait for: none follows.")
    return tuple(steps)


def plan_from_json(stored: Sequence[Mapping[str, Any]]) -> tuple[Step, ...]:
    """The plan as `send.plan` holds it."""
    return tuple(
        Step(
            channel=Channel(step["channel"]),
            accounts=tuple(step.get("accounts", ())),
            wait_for=Progress[step["wait_for"].upper()] if "wait_for" in step else None,
            within=timedelta(seconds=step.get("within", 0)),
        )
        for step in stored
    )


def _parse_step(given: str) -> Step:
    found = _STEP.fullmatch(given)
    if found is None:
        raise PlanRefused(
            f"'{given}' is no step of a channel plan; write it like sms or in_app:read/1h."
        )
    try:
        channel = Channel(found["channel"])
    except ValueError as error:
        known = ", ".join(Channel)
        raise PlanRefused(
            f"There is no channel '{found['channel']}'; there are: {known}."
        ) from error
    accounts = tuple(found["accounts"].split("+")) if found["accounts"] else ()
    if found["for"] is None:
        return Step(channel=channel, accounts=accounts)
    return Step(
        channel=channel,
        accounts=accounts,
        wait_for=_progress(found["for"]),
        within=timedelta(seconds=int(found["n"]) * _UNITS[found["unit"]]),
    )


def _progress(word: str) -> Progress:
    waited = {p.word: p for p in (Progress.DELIVERED, Progress.OPENED, Progress.READ)}
    if word not in waited:
        raise PlanRefused(f"A step can wait for {', '.join(waited)}; not for '{word}'.")
    return waited[word]

"""Trip wires: a share of trouble from which on a send is held, before it does more harm."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """What came of some messages of a send."""

    accepted: int = 0
    errors: int = 0
    """Rejected. Lost answers are not among them: a worker that dies must not hold a send."""
    hard_bounces: int = 0
    complaints: int = 0


class Trouble(StrEnum):
    """What a wire watches; the word of its reason."""

    HARD_BOUNCES = "hard bounces"
    COMPLAINTS = "complaints"
    ERRORS = "errors"


_COUNTS: Final[dict[Trouble, tuple[Callable[[Tally], int], Callable[[Tally], int]]]] = {
    Trouble.HARD_BOUNCES: (lambda tally: tally.hard_bounces, lambda tally: tally.accepted),
    Trouble.COMPLAINTS: (lambda tally: tally.complaints, lambda tally: tally.accepted),
    Trouble.ERRORS: (lambda tally: tally.errors, lambda tally: tally.accepted + tally.errors),
}
"""How many there were, and of how many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wires:
    """From which shares on a send is held; 0 turns a wire off."""

    hard_bounces: float = 0.05
    complaints: float = 0.003
    errors: float = 0.2
    first: int = 1000
    """The messages of a send that are looked at from its beginning on."""
    window: timedelta = timedelta(hours=1)
    """And what came of it lately."""
    least: int = 100
    """Fewer messages say nothing."""

    def share_of(self, trouble: Trouble) -> float:
        """The share that trips this wire."""
        shares = {
            Trouble.HARD_BOUNCES: self.hard_bounces,
            Trouble.COMPLAINTS: self.complaints,
            Trouble.ERRORS: self.errors,
        }
        return shares[trouble]


def reason_to_hold(wires: Wires, *, first: Tally | None, lately: Tally) -> str | None:
    """Why the send is to be held, in words; None: nothing trips.

    `first`: of its first messages; None where these were looked at and let pass by an operator.
    """
    looked_at = [(f"its first {wires.first:,} messages", first)] if first else []
    looked_at.append((f"the last {_minutes(wires.window)}", lately))
    for where, tally in looked_at:
        for trouble, (count, of) in _COUNTS.items():
            n, messages, most = count(tally), of(tally), wires.share_of(trouble)
            if most and messages >= wires.least and n > most * messages:
                share = f"{100 * n / messages:.2g} %"
                return f"{n:,} {trouble} of {messages:,} ({share}, over {most:.2%}) in {where}"
    return None


def _minutes(window: timedelta) -> str:
    return f"{window.total_seconds() / 60:g} minutes"

"""What a pass over a batch still has to do, in memory: whom to claim next, and who waits for a later
pass. The rows are the truth; this lives as long as one lease."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Sequence
from datetime import datetime, timedelta

from activities.contract import Stop
from domain.outcome import Reason
from models.facts import Owed

MAX_UNAVAILABLE_IN_A_ROW = 3


class Work:
    """The owed members of a batch, in the order they are claimed."""

    def __init__(self, owed: Owed) -> None:
        """`owed`: as read when no attempt of the batch was open."""
        self._have_row = set(owed.again)
        # Repeats go last: a message that takes its worker down must not stand before all others.
        self._owed = deque([*owed.fresh, *owed.again])
        self._halves: deque[Sequence[int]] = deque()
        self._unavailable_in_a_row = 0
        self.stop = Stop.NONE
        self.is_ending = False
        """Nothing is claimed any more in this pass; what is on the wire is still waited for."""
        self.met_unavailable = False
        self.resume_in: timedelta | None = None
        """A later pass is wanted then, for those set aside."""
        self.deferred: Counter[str] = Counter()
        """Who may not get it yet, by the reason's word."""
        self.deferred_until: datetime | None = None
        """When the first of them may."""

    @property
    def is_left(self) -> bool:
        """Whether somebody is to be claimed in this pass."""
        return not self.is_ending and bool(self._owed or self._halves)

    def next_members(self, most: int) -> list[int]:
        """Up to `most` members for the next flight, ascending: first a half of a refused request."""
        if self._halves:
            return list(self._halves.popleft())
        return sorted(self._owed.popleft() for _ in range(min(most, len(self._owed))))

    def put_back(self, members: Sequence[int]) -> None:
        """Members that were taken and not claimed: they are next again."""
        self._owed.extendleft(reversed(members))

    def put_last(self, members: Sequence[int]) -> None:
        """Members whose request was certainly not written because we were too slow: again, last."""
        self._owed.extend(members)

    def split(self, members: Sequence[int]) -> None:
        """A request of many was refused and nobody accepted: claim its halves, as attempts of their own."""
        middle = (len(members) + 1) // 2
        self._halves.append(members[:middle])
        self._halves.append(members[middle:])

    def defer(self, reason: Reason, until: datetime) -> None:
        """Somebody who was taken may not get it before then: for a later pass."""
        self.deferred[reason.word] += 1
        self.deferred_until = min(until, self.deferred_until or until)

    def having_row(self, members: Sequence[int]) -> list[int]:
        """Those that have a delivery row."""
        return [ordinal for ordinal in members if ordinal in self._have_row]

    def set_aside(self, wait: timedelta | None) -> None:
        """A request was certainly not accepted: its members wait for a later pass.

        Several in a row mean that it is the provider, not the message: the pass ends.
        """
        self.met_unavailable = True
        self._unavailable_in_a_row += 1
        self._resume_within(wait)
        if self._unavailable_in_a_row >= MAX_UNAVAILABLE_IN_A_ROW:
            self.is_ending = True

    def postpone(self, wait: timedelta) -> None:
        """Members that were taken are for a later pass: their recipients got something lately."""
        self._resume_within(wait)

    def accepted_some(self) -> None:
        """The provider answers: unavailable ones before were about single messages."""
        self._unavailable_in_a_row = 0

    def end(self, *, stop: Stop = Stop.NONE, resume_in: timedelta | None = None) -> None:
        """Claim nobody any more in this pass."""
        self.is_ending = True
        self.stop = self.stop or stop
        self._resume_within(resume_in)

    def _resume_within(self, wait: timedelta | None) -> None:
        if wait is not None:
            self.resume_in = max(wait, self.resume_in or wait)


class FlightPace:
    """How many single requests to claim at once: those that start within 200 ms, as seen lately.

    A claimed message is unknown after a kill even if it never left, so a slow provider must not have
    a long queue of claimed ones.
    """

    AHEAD_SECONDS = 0.2

    def __init__(self, at_first: int) -> None:
        """`at_first`: as many as the session keeps on the wire."""
        self._at_first = at_first
        self._since = time.monotonic()
        self._answered = 0
        self._per_second = 0.0

    def answered(self, messages: int) -> None:
        """Messages were answered; the rate is looked at every 200 ms."""
        self._answered += messages
        elapsed = time.monotonic() - self._since
        if elapsed >= self.AHEAD_SECONDS:
            seen = self._answered / elapsed
            self._per_second = seen if not self._per_second else (self._per_second + seen) / 2
            self._since, self._answered = time.monotonic(), 0

    @property
    def size(self) -> int:
        """Messages to claim next."""
        return max(self._at_first, int(self._per_second * self.AHEAD_SECONDS))

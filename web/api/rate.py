"""Requests a second, of a key, a team and an address: in this process, so nobody waits for a row."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

BURST_SECONDS = 2.0
"""What may come at once after a rest."""
_MOST_KEPT = 50_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowance:
    """What is left after one request."""

    is_granted: bool
    limit: int
    """Requests that may come at once."""
    remaining: int
    seconds: float
    """Not granted: until asking again makes sense. Else: until all of it is there again."""


class Rates:
    """GCRA. Each process of several grants its share of a rate."""

    def __init__(self, *, processes: int = 1, clock: Callable[[], float] = time.monotonic) -> None:
        """`processes`: among how many a rate is shared."""
        self._processes = processes
        self._clock = clock
        self._tat: OrderedDict[str, float] = OrderedDict()
        self._lock = threading.Lock()

    def take(self, key: str, rate: float, units: int = 1) -> Allowance:
        """Take `units` of what `key` may have at `rate` a second, or nothing."""
        gap = self._processes / rate
        burst = max(BURST_SECONDS, gap)
        with self._lock:
            now = self._clock()
            tat = max(now, self._tat.get(key, now))
            after = tat + units * gap
            is_granted = after - now <= burst + gap / 1000
            if is_granted:
                self._keep(key, after)
                tat = after
        ahead = tat - now
        return Allowance(
            is_granted=is_granted,
            limit=int(burst / gap + 0.001),
            remaining=max(0, int((burst - ahead) / gap + 0.001)),
            seconds=ahead if is_granted else max(0.0, ahead + units * gap - burst),
        )

    def _keep(self, key: str, tat: float) -> None:
        self._tat[key] = tat
        self._tat.move_to_end(key)
        while len(self._tat) > _MOST_KEPT:
            self._tat.popitem(last=False)

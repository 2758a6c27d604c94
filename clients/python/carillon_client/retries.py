"""When a call is made again, and how long to wait before it. No clock is read but through `Turns`."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

import httpx

from carillon_client.errors import Unreachable, kind_of

log = logging.getLogger("carillon_client")

_STATUSES = frozenset({429, 502, 503, 504})
# Our own first attempt may still be worked on there after its connection was lost.
_STILL_RUNNING = "still-running"
CONNECTION_ERRORS = (
    httpx.NetworkError,
    httpx.TimeoutException,
    httpx.RemoteProtocolError,
    httpx.ProxyError,
)
_LONGEST_ASKED = timedelta(days=1)
_SPREAD = 0.2
"""So much of what Retry-After asks for is added at most: not all callers shall come back at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Retries:
    """How often, how soon and for how long a call is made again.

    Waits double from `first_wait` to `longest_wait`, each shortened by chance to half of it at most.
    What the server asks for by Retry-After is waited whole. Once the next attempt could only begin
    later than `for_at_most` after the first, the error is raised at once.
    """

    max_attempts: int = 10
    first_wait: timedelta = timedelta(milliseconds=200)
    longest_wait: timedelta = timedelta(seconds=10)
    for_at_most: timedelta = timedelta(seconds=60)

    def __post_init__(self) -> None:
        """Raises ValueError for what cannot be."""
        if self.max_attempts < 1 or min(self.first_wait, self.longest_wait) <= timedelta(0):
            raise ValueError("Retries need one attempt or more, and waits longer than nothing.")

    def wait(self, failures: int, asked: timedelta | None, chance: float) -> timedelta:
        """How long to wait after so many failures. `chance`: from 0 to 1."""
        # Twenty doublings are a million times: more would only overflow.
        step = min(self.longest_wait, self.first_wait * (1 << min(failures - 1, 20)))
        own = step * (0.5 + chance / 2)
        return own if asked is None else max(own, asked * (1 + _SPREAD * chance))


DEFAULT_RETRIES = Retries()
NO_RETRIES = Retries(max_attempts=1)


class Turns:
    """The attempts of one call."""

    def __init__(
        self,
        retries: Retries,
        *,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        """Begins now."""
        self._retries = retries
        self._clock = clock
        self._chance = chance
        self._failures = 0
        self._until = clock() + retries.for_at_most.total_seconds()

    def after_error(self, error: httpx.HTTPError, key: str | None) -> float:
        """Seconds to wait before the next attempt. Raises Unreachable when there is none."""
        seconds = self._next(None, type(error).__name__)
        if seconds is None:
            why = str(error) or type(error).__name__
            times = "once" if self._failures == 1 else f"{self._failures} times"
            raise Unreachable(f"Carillon did not answer, asked {times}: {why}", key) from error
        return seconds

    def after_answer(self, response: httpx.Response) -> float | None:
        """Seconds to wait before the next attempt; None: this is the answer."""
        if not _is_retried(response):
            return None
        return self._next(retry_after(response), str(response.status_code))

    def _next(self, asked: timedelta | None, reason: str) -> float | None:
        self._failures += 1
        if self._failures >= self._retries.max_attempts:
            return None
        seconds = self._retries.wait(self._failures, asked, self._chance()).total_seconds()
        if self._clock() + seconds > self._until:
            return None
        log.info(
            "carillon.retry",
            extra={"failures": self._failures, "seconds": round(seconds, 3), "reason": reason},
        )
        return seconds


def retry_after(response: httpx.Response) -> timedelta | None:
    """What Retry-After asks for, in seconds or as a date; None where it asks for nothing readable.

    Never negative, and a day at most.
    """
    given = response.headers.get("Retry-After", "").strip()
    try:
        if given.isascii() and given.isdigit():
            wait = timedelta(seconds=int(given[:9]))
        else:
            wait = parsedate_to_datetime(given).astimezone(UTC) - datetime.now(UTC)
    except (ValueError, OverflowError):
        return None
    return max(timedelta(0), min(wait, _LONGEST_ASKED))


def _is_retried(response: httpx.Response) -> bool:
    if response.status_code in _STATUSES:
        return True
    if response.status_code != 409:
        return False
    try:
        return kind_of(response.json()) == _STILL_RUNNING
    except ValueError:
        return False

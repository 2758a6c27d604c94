"""A limit of so many requests in each second of the clock."""

from __future__ import annotations

import time
from typing import NamedTuple


class Standing(NamedTuple):
    """How an account stands after a request, in SendGrid's words."""

    is_allowed: bool
    limit: int
    remaining: int
    reset: int
    """Unix time, in seconds, at which the count starts anew."""


class RateLimit:
    """Requests a second; the second is the clock's, as with `X-RateLimit-Reset`."""

    def __init__(self) -> None:
        self._second = 0
        self._used = 0

    def take(self, limit: int) -> Standing:
        """Count one request against `limit`."""
        second = int(time.time())
        if second != self._second:
            self._second, self._used = second, 0
        self._used += 1
        return self.standing(limit)

    def standing(self, limit: int) -> Standing:
        """How it stands after the last request, which is not counted again."""
        return Standing(self._used <= limit, limit, max(0, limit - self._used), self._second + 1)


def exhausted(seconds: int) -> Standing:
    """A limit that is used up for so many seconds more."""
    return Standing(False, 1, 0, int(time.time()) + seconds)

"""The rate limits that there are, as this process last saw them: a limit that does not exist costs
one look a second, not a query a message."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping

from sqlalchemy import Engine

from models.rate_limit import all_limits

FRESH_SECONDS = 1.0


class LimitBook:
    """Shared by the threads of a worker."""

    def __init__(self, engine: Engine) -> None:
        """Nothing is read before somebody asks."""
        self._engine = engine
        self._lock = threading.Lock()
        self._rates: Mapping[str, float] = {}
        self._stale_from = 0.0

    def rates(self) -> Mapping[str, float]:
        """Rate by key, at most a second old; 0: closed for now, at the provider's wish."""
        if time.monotonic() >= self._stale_from:
            with self._lock:
                if time.monotonic() >= self._stale_from:
                    self._read()
        return self._rates

    def forget(self) -> None:
        """This process has changed a limit itself: read them anew when they are asked for."""
        self._stale_from = 0.0

    def _read(self) -> None:
        with self._engine.connect() as connection:
            self._rates = all_limits(connection)
        self._stale_from = time.monotonic() + FRESH_SECONDS

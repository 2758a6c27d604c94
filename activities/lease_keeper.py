"""Keeps a batch: a thread renews its lease and the activity's heartbeat while flights make progress."""

from __future__ import annotations

import contextvars
import logging
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from types import TracebackType

log = logging.getLogger(__name__)


class LeaseKeeper:
    """While entered, renews every `every`; `is_mine` turns False for good once a renewal failed.

    It stops renewing by itself when nothing made progress for `no_progress`: a driver that hangs
    must lose its batch. The heartbeat goes on only with the lease, so Temporal notices too.
    """

    def __init__(
        self,
        renew: Callable[[], bool],
        heartbeat: Callable[[], None],
        *,
        every: timedelta,
        no_progress: timedelta,
    ) -> None:
        """`renew` says whether the lease is still ours; it may raise while the database is away."""
        self._renew = renew
        self._heartbeat = heartbeat
        self._every = every.total_seconds()
        self._no_progress = no_progress.total_seconds()
        self._last_progress = time.monotonic()
        self._done = threading.Event()
        self._is_mine = True
        # The heartbeat finds its activity by context variables.
        context = contextvars.copy_context()
        self._thread = threading.Thread(target=context.run, args=(self._keep,), daemon=True)

    @property
    def is_mine(self) -> bool:
        """Whether calls may still be made under this lease."""
        return self._is_mine

    def progressed(self) -> None:
        """A flight was claimed, answered or settled."""
        self._last_progress = time.monotonic()

    def __enter__(self) -> LeaseKeeper:
        """Begin renewing."""
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop renewing; the lease itself is freed by who took it."""
        self._done.set()
        self._thread.join(timeout=30)

    def _keep(self) -> None:
        while not self._done.wait(self._every):
            if time.monotonic() - self._last_progress > self._no_progress:
                log.warning("lease.no_progress")
                self._is_mine = False
                return
            try:
                self._is_mine = self._renew()
            except Exception:  # the edge of this thread: any failure to renew ends the lease
                log.exception("lease.renewal_failed")
                self._is_mine = False
            if not self._is_mine:
                return
            self._heartbeat()

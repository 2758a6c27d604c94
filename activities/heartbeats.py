"""Heartbeats from a thread, while an activity waits for one long statement."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from temporalio import activity


@contextmanager
def heartbeats(every: timedelta) -> Iterator[None]:
    """Tell Temporal every so often that this activity lives: a killed worker is noticed soon."""
    done = threading.Event()

    def beat() -> None:
        while not done.wait(every.total_seconds()):
            activity.heartbeat()

    # The heartbeat finds its activity by context variables.
    context = contextvars.copy_context()
    thread = threading.Thread(target=context.run, args=(beat,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()

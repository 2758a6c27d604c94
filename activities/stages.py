"""Where a pass spends its time: CPU of the driver's thread and seconds, by stage, once a flight."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager


class Stages:
    """Sums by stage; a few calls a flight, none a recipient."""

    def __init__(self) -> None:
        """Nothing was done yet."""
        self.cpu_seconds: defaultdict[str, float] = defaultdict(float)
        self.seconds: defaultdict[str, float] = defaultdict(float)

    @contextmanager
    def of(self, stage: str) -> Iterator[None]:
        """Add what happens inside to `stage`."""
        started, cpu = time.perf_counter(), time.thread_time()
        try:
            yield
        finally:
            self.seconds[stage] += time.perf_counter() - started
            self.cpu_seconds[stage] += time.thread_time() - cpu

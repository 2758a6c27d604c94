"""CPU seconds and memory of the processes of a run, from the operating system."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Mapping

import psutil


def cpu_seconds(pid: int) -> float:
    """User and system CPU of a process, its living children, and those it has waited for."""
    process = psutil.Process(pid)
    total = sum(process.cpu_times()[:4])
    for child in process.children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            total += sum(child.cpu_times()[:2])
    return float(total)


class MemoryWatch:
    """Samples the resident memory of processes five times a second; `peak_mb` is of their sum."""

    def __init__(self, pids: Mapping[str, int]) -> None:
        """`pids` by name."""
        self._processes = [psutil.Process(pid) for pid in pids.values()]
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.peak_mb = 0.0

    def __enter__(self) -> MemoryWatch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._done.wait(0.2):
            with contextlib.suppress(psutil.NoSuchProcess):
                resident = sum(process.memory_info().rss for process in self._processes)
                self.peak_mb = max(self.peak_mb, resident / 1e6)

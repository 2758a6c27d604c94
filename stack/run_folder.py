"""`<data_dir>/run`: one supervisor at a time, and who it left behind when it was killed."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from io import TextIOWrapper
from pathlib import Path

import psutil

from stack.errors import StackError
from stack.running import forget_running_stack, lock_path, run_dir

log = logging.getLogger(__name__)

# A command that only looks whether a stack runs (`is_supervised`) holds the lock for an instant.
LOCK_TRIES, LOCK_PAUSE_SECONDS = 10, 0.1
# psutil derives start times from the clock, which is set now and then.
SAME_START_SECONDS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Leftover:
    """A child of a supervisor that is gone."""

    name: str
    process: psutil.Process
    stop_signal: int


class RunFolder:
    """The lock and the pid files of one data folder."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        self._folder = run_dir(data_dir)
        self._lock: TextIOWrapper | None = None

    def acquire(self) -> None:
        """Become the only supervisor of the data folder. Raises StackError naming the one that is."""
        self._folder.mkdir(parents=True, exist_ok=True)
        lock = lock_path(self._data_dir).open("a+", encoding="utf-8")
        for _ in range(LOCK_TRIES):
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                time.sleep(LOCK_PAUSE_SECONDS)
            else:
                lock.truncate(0)
                lock.write(f"{os.getpid()}\n")
                lock.flush()
                self._lock = lock
                return
        lock.seek(0)
        holder = lock.read().strip() or "unknown"
        lock.close()
        raise StackError(
            f"Another Carillon stack (pid {holder}) already runs on {self._data_dir}. "
            "Stop it with Ctrl-C where it runs, or choose another folder with CARILLON_DATA_DIR."
        )

    def release(self) -> None:
        """Let the next supervisor in."""
        forget_running_stack(self._data_dir)
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def record(self, name: str, pid: int, stop_signal: signal.Signals) -> None:
        """Remember a child, so that a later start can end it if we are killed."""
        try:
            process = psutil.Process(pid)
            argv, started = process.cmdline(), process.create_time()
        except psutil.NoSuchProcess:  # it ended at once: nothing is left behind
            return
        known = {"pid": pid, "argv": argv, "started": started, "stop_signal": int(stop_signal)}
        self._pid_file(name).write_text(json.dumps(known), encoding="utf-8")

    def forget(self, name: str) -> None:
        """The child is gone."""
        self._pid_file(name).unlink(missing_ok=True)

    def end_leftovers(self, patience_seconds: float, say: Callable[[str], None]) -> None:
        """End children of a killed supervisor; on Linux the kernel has already asked them to stop."""
        found = [left for file in sorted(self._folder.glob("*.pid")) if (left := _leftover(file))]
        for left in found:
            say(f"{left.name} (pid {left.process.pid}) was left by a killed stack: ending it")
            _signal(left.process, left.stop_signal)
        _, stubborn = psutil.wait_procs([left.process for left in found], patience_seconds)
        for process in stubborn:
            _signal(process, signal.SIGKILL)
        psutil.wait_procs(stubborn, patience_seconds)
        for file in self._folder.glob("*.pid"):
            file.unlink(missing_ok=True)

    def _pid_file(self, name: str) -> Path:
        return self._folder / f"{name}.pid"


def _leftover(file: Path) -> Leftover | None:
    """The process that the pid file means, unless it has ended and its pid belongs to somebody else."""
    try:
        known = json.loads(file.read_text(encoding="utf-8"))
        process = psutil.Process(known["pid"])
        is_same = (
            process.status() != psutil.STATUS_ZOMBIE
            and process.cmdline() == known["argv"]
            and abs(process.create_time() - known["started"]) < SAME_START_SECONDS
        )
    except (ValueError, KeyError, psutil.NoSuchProcess, psutil.AccessDenied):
        return None
    return (
        Leftover(name=file.stem, process=process, stop_signal=known["stop_signal"])
        if is_same
        else None
    )


def _signal(process: psutil.Process, number: int) -> None:
    try:
        process.send_signal(number)
    except psutil.NoSuchProcess:
        log.debug("stack.leftover.gone", extra={"pid": process.pid})

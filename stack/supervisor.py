"""Starts the parts of the stack in order, starts them again when they die, stops them in reverse.

One thread does all of it: the kernel ends a child when the thread that forked it ends.
"""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from types import FrameType

from stack.child import Child, Phase, Service
from stack.errors import StackError
from stack.run_folder import RunFolder

log = logging.getLogger(__name__)

LOOK_EVERY_SECONDS = 0.05
LEFTOVERS_MAY_TAKE_SECONDS = 15.0


def say_to_log(sentence: str) -> None:
    """Where the supervisor's sentences go unless the caller wants them."""
    log.info("stack.supervisor", extra={"sentence": sentence})


class Supervisor:
    """The parent of a stack's processes. Use `run()` at a terminal, `start()` and `stop()` in a process."""

    def __init__(
        self,
        data_dir: Path,
        services: Callable[[], Sequence[Service]],
        say: Callable[[str], None] = say_to_log,
    ) -> None:
        """`services` is asked once the data folder is ours and leftovers have ended; it may raise StackError."""
        self._folder = RunFolder(data_dir)
        self._services = services
        self._say = say
        self._children: list[Child] = []
        self._thread: threading.Thread | None = None
        self._settled = threading.Event()
        self._stop_asked = threading.Event()
        self._is_urgent = threading.Event()
        self._failure: BaseException | None = None

    def start(self) -> None:
        """Return when every service is ready. Raises StackError, with all stopped again, if one cannot."""
        self._launch()
        self._settled.wait()
        if self._stop_asked.is_set():
            self.stop()
            self._raise_failure()
            raise StackError("The stack was stopped while it started.")

    def stop(self) -> None:
        """Stop every service, the last started first; returns when all have ended. Harmless if repeated."""
        self._stop_asked.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def run(self, on_ready: Callable[[], None]) -> None:
        """Start, call `on_ready`, and stay until SIGINT, SIGTERM or SIGHUP; a second one hurries the stop.

        For the main thread. Raises StackError as `start` does.
        """
        before = {number: signal.signal(number, self._on_signal) for number in _ending()}
        try:
            self._launch()
            _wait(self._settled)
            if self._failure is None and not self._stop_asked.is_set():
                on_ready()
            _wait(self._stop_asked)
            self.stop()
            self._raise_failure()
        finally:
            self.stop()
            for number, handler in before.items():
                signal.signal(number, handler)

    def pid_of(self, name: str) -> int | None:
        """The pid of a service's living process; None while it has none."""
        return self._child(name).pid

    def is_running(self, name: str) -> bool:
        """Whether a service is ready, as far as the supervisor has seen."""
        return self._child(name).phase is Phase.RUNNING

    def wait_restarted(
        self, name: str, old_pid: int, timeout: timedelta = timedelta(seconds=60)
    ) -> int:
        """The pid of the process that took the place of `old_pid`, once it is ready."""
        deadline = time.monotonic() + timeout.total_seconds()
        child = self._child(name)
        while time.monotonic() < deadline:
            pid = child.pid
            if child.phase is Phase.RUNNING and pid is not None and pid != old_pid:
                return pid
            time.sleep(0.01)
        raise StackError(f"{name} was not started again within {timeout.total_seconds():.0f} s")

    def _launch(self) -> None:
        if self._thread is not None:
            raise StackError("This supervisor has been started already.")
        self._settled.clear()
        self._stop_asked.clear()
        self._is_urgent.clear()
        self._failure = None
        # A daemon: a process that ends without stop() takes its children with it instead of hanging.
        self._thread = threading.Thread(target=self._live, name="carillon-supervisor", daemon=True)
        self._thread.start()

    def _live(self) -> None:
        try:
            self._folder.acquire()
            try:
                self._folder.end_leftovers(LEFTOVERS_MAY_TAKE_SECONDS, self._say)
                self._children = [
                    Child(service, self._folder, self._say) for service in self._services()
                ]
                self._watch()
            finally:
                self._end_all()
                self._folder.release()
        except BaseException as error:  # the thread's edge: start() or run() raises it again
            self._failure = error
            if self._settled.is_set():
                log.exception("stack.supervisor.failed")
        finally:
            self._stop_asked.set()
            self._settled.set()

    def _watch(self) -> None:
        while not self._stop_asked.is_set():
            for child in self._open_to_start():
                child.step()
                if self._stop_asked.is_set():
                    return
            if not self._settled.is_set() and all(child.has_been_ready for child in self._children):
                self._settled.set()
            self._stop_asked.wait(LOOK_EVERY_SECONDS)

    def _open_to_start(self) -> list[Child]:
        """Children whose earlier tiers have all been ready once: later a part starts again on its own."""
        tiers = [child.service.tier for child in self._children if not child.has_been_ready]
        lowest = min(tiers, default=None)
        return [child for child in self._children if lowest is None or child.service.tier <= lowest]

    def _end_all(self) -> None:
        for tier in sorted({child.service.tier for child in self._children}, reverse=True):
            peers = [child for child in self._children if child.service.tier == tier]
            for child in peers:
                child.ask_to_stop()
            for child in peers:
                child.see_off(self._is_urgent.is_set)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self._stop_asked.is_set():
            self._is_urgent.set()
        self._stop_asked.set()

    def _raise_failure(self) -> None:
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure

    def _child(self, name: str) -> Child:
        for child in self._children:
            if child.service.name == name:
                return child
        raise StackError(f"There is no part named {name} in this stack.")


def _ending() -> list[signal.Signals]:
    """The signals that end the stack; under nohup a closed terminal is not one of them."""
    ignores_hangup = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    return [signal.SIGINT, signal.SIGTERM, *([] if ignores_hangup else [signal.SIGHUP])]


def _wait(event: threading.Event) -> None:
    """Event.wait without a limit cannot be interrupted by a signal's handler on every platform."""
    while not event.wait(0.5):
        pass

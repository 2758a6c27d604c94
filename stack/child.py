"""One supervised process: what it is (Service) and the course of its life (Child)."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import assert_never

from stack.errors import StackError
from stack.run_folder import RunFolder
from stack.spawn import last_lines, spawn
from stack.unprivileged import Account

log = logging.getLogger(__name__)

FIRST_REST_SECONDS = 0.2
LOOP_DEATHS, LOOP_WITHIN_SECONDS, LOOP_REST_SECONDS = 5, 30.0, 10.0
ASK_EVERY_SECONDS = 2.0
HARDER_SECONDS = 8.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A part of the stack that runs as a process of its own."""

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str]
    log_path: Path
    is_ready: Callable[[], bool]
    # Called before every start, also before those after a death.
    prepare: Callable[[], None] | None = None
    # Asked now and then while it runs: a part that stays silent for `silence_limit` is killed.
    is_answering: Callable[[], bool] | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    stop_timeout: timedelta = timedelta(seconds=10)
    # Sent after `stop_timeout`, before it is killed.
    harder_signal: signal.Signals | None = None
    start_timeout: timedelta = timedelta(seconds=60)
    # So many deaths before it was ever ready end the stack's start.
    first_tries: int = 1
    silence_limit: timedelta = timedelta(seconds=60)
    # Parts of a tier start side by side, once all earlier tiers are ready; they stop before those.
    tier: int = 0
    # It does a task and ends; it is ready when it has ended with 0.
    runs_once: bool = False
    account: Account | None = None
    # What helps when it keeps dying.
    advice: str = ""


class Phase(StrEnum):
    """Where a child is in its life."""

    WAITING = "waiting"
    STARTING = "starting"
    RUNNING = "running"
    RESTING = "resting"
    DONE = "done"


class Child:
    """The process of a service, started again when it dies. Every method belongs to the supervisor's thread."""

    def __init__(self, service: Service, folder: RunFolder, say: Callable[[str], None]) -> None:
        self.service = service
        self.phase = Phase.WAITING
        self.has_been_ready = False
        self._folder = folder
        self._say = say
        self._process: subprocess.Popen[bytes] | None = None
        self._deaths: deque[float] = deque(maxlen=LOOP_DEATHS)
        self._since = 0.0
        self._rest_until = 0.0
        self._heard = 0.0
        self._asked = 0.0

    @property
    def pid(self) -> int | None:
        """The pid of the living process."""
        return self._process.pid if self._process is not None else None

    def step(self) -> None:
        """Look at the process once and do what its phase asks. Raises StackError if its first start fails."""
        now = time.monotonic()
        match self.phase:
            case Phase.WAITING:
                self._launch(now)
            case Phase.STARTING:
                self._look_whether_ready(now)
            case Phase.RUNNING:
                self._look_whether_well(now)
            case Phase.RESTING:
                if now >= self._rest_until:
                    self._launch(now)
            case Phase.DONE:
                pass
            case _ as never:
                assert_never(never)

    def ask_to_stop(self) -> None:
        """Send the stop signal, if there is a process; `see_off` follows."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(self.service.stop_signal)

    def see_off(self, is_urgent: Callable[[], bool]) -> None:
        """Wait until the process has ended, and kill it when its time is over or it is urgent."""
        process = self._process
        if process is None:
            return
        ended = _ends_within(process, self.service.stop_timeout.total_seconds(), is_urgent)
        if not ended and self.service.harder_signal is not None:
            log.warning("stack.child.pressed", extra={"child": self.service.name})
            process.send_signal(self.service.harder_signal)
            ended = _ends_within(process, HARDER_SECONDS, is_urgent)
        if not ended:
            log.warning("stack.child.killed", extra={"child": self.service.name})
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        self._gone()

    def _launch(self, now: float) -> None:
        service = self.service
        try:
            if service.prepare is not None:
                service.prepare()
            self._process = spawn(
                service.argv,
                env=service.env,
                log_path=service.log_path,
                account=service.account,
                death_signal=service.stop_signal,
            )
        except (StackError, OSError) as error:
            self._failed(f"{service.name} cannot start: {error}", now)
            return
        self._folder.record(service.name, self._process.pid, service.stop_signal)
        self._since = self._heard = self._asked = time.monotonic()
        self.phase = Phase.STARTING

    def _look_whether_ready(self, now: float) -> None:
        service, code = self.service, self._exit_code()
        if code is not None:
            if service.runs_once and code == 0:
                self._become_ready(Phase.DONE)
                self._gone()
            else:
                self._failed(f"{service.name} {_how(code)} while starting{self._log_end()}", now)
        elif not service.runs_once and service.is_ready():
            self._become_ready(Phase.RUNNING)
        elif now - self._since > service.start_timeout.total_seconds():
            self._start_takes_long(now)

    def _start_takes_long(self, now: float) -> None:
        seconds = f"{self.service.start_timeout.total_seconds():.0f} s"
        if not self.has_been_ready:
            raise StackError(f"{self.service.name} was not ready within {seconds}{self._log_end()}")
        # A database in recovery must not be killed for taking long, or it would never come up.
        self._say(
            f"{self.service.name} is not ready {seconds} after it was started again; waiting on"
        )
        self._since = now

    def _look_whether_well(self, now: float) -> None:
        code = self._exit_code()
        if code is not None:
            self._failed(f"{self.service.name} {_how(code)}", now)
        elif self.service.is_answering is not None and now - self._asked > ASK_EVERY_SECONDS:
            self._ask(self.service.is_answering)

    def _ask(self, is_answering: Callable[[], bool]) -> None:
        heard = is_answering()
        self._asked = time.monotonic()
        if heard:
            self._heard = self._asked
        elif self._asked - self._heard > self.service.silence_limit.total_seconds():
            self._say(
                f"{self.service.name} runs but has not answered for "
                f"{self.service.silence_limit.total_seconds():.0f} s: ending it"
            )
            self.ask_to_stop()
            self.see_off(is_urgent=lambda: False)
            self._failed(f"{self.service.name} was ended", self._asked)

    def _become_ready(self, phase: Phase) -> None:
        if self.has_been_ready or self._deaths:
            self._say(f"{self.service.name} is back")
        self.phase, self.has_been_ready = phase, True
        self._heard = time.monotonic()

    def _failed(self, what: str, now: float) -> None:
        """A death is answered with a rest and another start, unless it never came up."""
        self._gone()
        self._deaths.append(now)
        if not self.has_been_ready and len(self._deaths) >= self.service.first_tries:
            raise StackError(what)
        in_a_loop = len(self._deaths) == LOOP_DEATHS and now - self._deaths[0] < LOOP_WITHIN_SECONDS
        rest = LOOP_REST_SECONDS if in_a_loop else self._rest_seconds(now)
        self._rest_until, self.phase = now + rest, Phase.RESTING
        log.info("stack.child.died", extra={"child": self.service.name, "rest": rest})
        self._say(
            f"{what}; starting it again in {rest:.1f} s{self._loop_end() if in_a_loop else ''}"
        )

    def _rest_seconds(self, now: float) -> float:
        recent = sum(now - death < LOOP_WITHIN_SECONDS for death in self._deaths)
        return FIRST_REST_SECONDS * 2.0 ** (recent - 1)

    def _loop_end(self) -> str:
        advice = f" {self.service.advice}" if self.service.advice else ""
        return f". It keeps dying.{advice}{self._log_end()}"

    def _log_end(self) -> str:
        lines = last_lines(self.service.log_path)
        return f". The end of {self.service.log_path}:\n{lines}" if lines else ""

    def _exit_code(self) -> int | None:
        return self._process.poll() if self._process is not None else None

    def _gone(self) -> None:
        self._process = None
        self._folder.forget(self.service.name)


def _ends_within(
    process: subprocess.Popen[bytes], seconds: float, is_urgent: Callable[[], bool]
) -> bool:
    deadline = time.monotonic() + seconds
    while process.poll() is None:
        if time.monotonic() > deadline or is_urgent():
            return False
        time.sleep(0.02)
    return True


def _how(code: int) -> str:
    if code < 0:
        return f"was ended by {signal.Signals(-code).name}"
    return f"ended with exit code {code}"

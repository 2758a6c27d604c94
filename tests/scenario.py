"""A campaign against the real parts: worker processes that can be killed, and the simulator's log.

The log, the ledger and the report are compared by `Scenario.check`; that is what the chaos and
fail-point tests stand on.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
from sqlalchemy import Engine, text

from activities.fail_points import FailPoint
from domain.identifier import BadIdentifier, decode_reference
from domain.send import SendState
from models.database import connect
from settings import Settings
from stack.development import DevelopmentStack
from starter import campaigns, reports
from tests.builders import Draft, a_draft

ROOT = Path(__file__).parent.parent

# The protocol's times in tests: seconds instead of minutes, the same rules.
QUICK = {
    "lease": 2.0,
    "lease_renewal": 0.5,
    "heartbeat_timeout": 2.0,
    "no_progress": 20.0,
    "unknown_wait": 1.0,
    "transactional_unknown_wait": 1.0,
    "sweep_every": 0.5,
    "resume_grid": 0.5,
    "request_timeout": 5.0,
    "backoff_first": 0.3,
    "backoff_most": 2.0,
    "look_every": 2.0,
    "health_minute": 4.0,
    "reconcile_every": 1.0,
    "reconcile_send_every": 2.0,
    "messages_per_request": 100,
}


class Workers:
    """Worker processes of one test."""

    def __init__(self, environment: dict[str, str], folder: Path) -> None:
        self._environment = environment
        self._folder = folder
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._started = 0

    def start(
        self,
        name: str,
        roles: str,
        *,
        fail_at: tuple[FailPoint, int] | None = None,
        settings: Mapping[str, object] | None = None,
    ) -> None:
        """Start a worker process; with `fail_at` it kills itself when that point is reached."""
        self._started += 1
        ready = self._folder / f"{name}-{self._started}.ready"
        command = [sys.executable, "-m", "tests.failing_worker", "--roles", roles]
        if fail_at:
            command += ["--fail-at", fail_at[0].value, "--times", str(fail_at[1])]
        environment = self._environment | {"CARILLON_READY_FILE": str(ready)}
        environment |= {
            f"CARILLON_{key.upper()}": str(value) for key, value in (settings or {}).items()
        }
        log = (self._folder / f"worker-{name}-{self._started}.log").open("wb")
        self._running[name] = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
        log.close()
        wait_until(lambda: ready.exists() or self._running[name].poll() is not None, 60)

    def pid(self, name: str) -> int:
        return self._running[name].pid

    def kill(self, name: str) -> None:
        """kill -9."""
        self._running[name].kill()
        self._running[name].wait()

    def signal(self, name: str, number: signal.Signals) -> None:
        os.kill(self._running[name].pid, number)

    def wait_dead(self, name: str, seconds: float = 30) -> None:
        self._running[name].wait(seconds)

    def stop_all(self) -> None:
        for process in self._running.values():
            if process.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process.pid, signal.SIGCONT)
                process.terminate()
        for process in self._running.values():
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


class Simulator:
    """The simulator's control endpoint and what was added to its log since this was made."""

    def __init__(self, settings: Settings) -> None:
        self._url = f"http://127.0.0.1:{settings.simulator_port}"
        self._log = settings.data_dir / "simulator" / "received.jsonl"
        # The log belongs to the whole run: it is read once, not at every look.
        self._read_to = self._log.stat().st_size if self._log.exists() else 0
        self._received: dict[int, list[dict[str, Any]]] = {}

    def faults(self, *rules: dict[str, Any]) -> None:
        httpx.post(f"{self._url}/control/faults", json=list(rules)).raise_for_status()

    def no_faults(self) -> None:
        httpx.delete(f"{self._url}/control/faults").raise_for_status()

    def received(self, send_id: int) -> list[dict[str, Any]]:
        """What arrived of a send, in order; `ordinal` and `step` added."""
        self._read_on()
        return list(self._received.get(send_id, ()))

    def all_received(self) -> dict[int, list[dict[str, Any]]]:
        """The same by send."""
        self._read_on()
        return self._received

    def _read_on(self) -> None:
        """Take in the log's whole lines that were not there at the last look."""
        if not self._log.exists():
            return
        with self._log.open("rb") as log:
            log.seek(self._read_to)
            added = log.read()
        added = added[: added.rfind(b"\n") + 1]
        self._read_to += len(added)
        for line in added.splitlines():
            entry = json.loads(line)
            with contextlib.suppress(BadIdentifier):
                reference = decode_reference(entry["message_id"])
                entries = self._received.setdefault(reference.send_id, [])
                entries.append(entry | {"ordinal": reference.ordinal, "step": reference.step})


class Scenario:
    """One campaign in a database of its own, on the shared stack."""

    def __init__(
        self, stack: DevelopmentStack, database_url: str, folder: Path, **times: object
    ) -> None:
        update = {**QUICK, **times, "database_url": database_url}
        self.settings = stack.settings().model_copy(update=update)
        environment = stack.environment() | {
            f"CARILLON_{key.upper()}": str(value) for key, value in update.items()
        }
        self.stack = stack
        self.folder = folder
        self.engine: Engine = connect(database_url, pool_size=10)
        self.workers = Workers(environment, folder)
        self.simulator = Simulator(self.settings)
        self.send_id = 0

    def start_workers(self, campaign_workers: int = 1, **settings: object) -> None:
        self.workers.start("main", "orchestration,upkeep", settings=settings)
        for number in range(1, campaign_workers + 1):
            self.workers.start(f"campaign-{number}", "campaign", settings=settings)

    def draft(self, draft: Draft) -> int:
        self.send_id = a_draft(self.engine, draft)
        return self.send_id

    def begin(self, draft: Draft | None = None, *, at: datetime | None = None) -> int:
        """Make (unless there is one) and start the campaign, now or by itself."""
        if draft is not None:
            self.draft(draft)
        asyncio.run(campaigns.start(self.engine, self.settings, self.send_id, at))
        return self.send_id

    def change(self, state: str) -> None:
        """Pause ("paused"), resume ("running") or cancel ("cancelled") like an operator."""
        wanted = SendState(state)
        asyncio.run(campaigns.change(self.engine, self.settings, self.send_id, wanted))

    def report(self) -> dict[str, Any]:
        return reports.report(self.engine, self.send_id)

    def wait_closed(self, seconds: float = 60) -> dict[str, Any]:
        """The report, once the campaign is closed."""
        wait_until(lambda: self.value("SELECT closed_at FROM send") is not None, seconds)
        return self.report()

    def wait_received(self, messages: int, seconds: float = 30) -> None:
        wait_until(lambda: len(self.simulator.received(self.send_id)) >= messages, seconds)

    def value(self, sql: str) -> Any:
        with self.engine.connect() as connection:
            return connection.execute(text(sql)).scalar()

    def values(self, sql: str) -> list[Any]:
        with self.engine.connect() as connection:
            return list(connection.execute(text(sql)).scalars())

    def copies(self) -> Counter[int]:
        """How often each ordinal arrived at the provider."""
        return Counter(entry["ordinal"] for entry in self.simulator.received(self.send_id))

    def ordinals(self, *outcomes: int) -> set[int]:
        wanted = ",".join(str(int(outcome)) for outcome in outcomes)
        return set(self.values(f"SELECT ordinal FROM delivery WHERE outcome IN ({wanted})"))

    def explained_repeats(self) -> Counter[int]:
        """How often each ordinal was in an attempt that ended abandoned or unknown."""
        explained: Counter[int] = Counter()
        with self.engine.connect() as connection:
            rows = connection.execute(text("SELECT lo, members, state FROM attempt"))
            for lo, members, state in rows:
                for at, letter in enumerate(members):
                    if letter == "u" or (state == "abandoned" and letter in "?a"):
                        explained[lo + at] += 1
        return explained

    def close(self) -> None:
        self.workers.stop_all()
        self.simulator.no_faults()
        self.engine.dispose()


def wait_until(is_so: Callable[[], object], seconds: float) -> None:
    """Return when it is so; fail after `seconds`."""
    end = time.monotonic() + seconds
    while not is_so():
        if time.monotonic() > end:
            raise AssertionError(f"did not come true within {seconds} s")
        time.sleep(0.05)


@contextlib.contextmanager
def scenario(
    stack: DevelopmentStack, database_url: str, folder: Path, **times: object
) -> Iterator[Scenario]:
    """A scenario that stops its workers, whatever happens."""
    made = Scenario(stack, database_url, folder, **times)
    try:
        yield made
    finally:
        made.close()

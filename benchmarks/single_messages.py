"""Single messages: callers in processes of their own, accepted to handed over, measured from outside."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import httpx
from sqlalchemy import Engine, text

from benchmarks.meter import cpu_seconds
from benchmarks.workers import running_workers
from domain.identifier import decode_reference
from stack.development import DevelopmentStack

ROOT = Path(__file__).parent.parent
WORKERS = {"orchestration": "orchestration,upkeep", "transactional": "transactional"}
CALLERS = 4


@dataclass(frozen=True, kw_only=True)
class Load:
    """How much is asked for: by 32 threads in 4 processes."""

    rate: float
    """Requests a second in all; 0: as many as go in."""
    seconds: float


LOADS = {
    "calm": Load(rate=10, seconds=20),
    "steady": Load(rate=300, seconds=20),
    "flat_out": Load(rate=0, seconds=15),
}


@dataclass(frozen=True, kw_only=True)
class SingleRound:
    """What a load came to. Times in ms, from the return of the call to the provider's log."""

    per_second: float
    """Messages from the first request to the last close."""
    p50_ms: float
    p99_ms: float
    call_p50_ms: float
    cpu_us: dict[str, float]
    groups: int


class SingleBench:
    """Runs loads on a stack that is up."""

    def __init__(self, stack: DevelopmentStack, folder: Path, engine: Engine, people: int) -> None:
        """`people`: how many `bN` there are."""
        self._stack = stack
        self._folder = folder
        self._engine = engine
        self._people = people
        self._caller_cpu = 0.0

    def run(self, load: Load) -> SingleRound:
        """One load until everything is closed."""
        with running_workers(WORKERS, self._stack.environment(), self._folder) as pids:
            callers = [self._caller(load) for _ in range(CALLERS)]
            for caller in callers:
                assert caller.stdout is not None
                caller.stdout.readline()
            everything = pids | {
                name: self._stack.supervisor.pid_of(name) or 0
                for name in ("postgres", "temporal", "simulator")
            }
            time.sleep(1.0)
            groups = self._count("message_group")
            before = {name: cpu_seconds(pid) for name, pid in everything.items()}
            started = time.time()
            accepted = self._call(callers)
            self._wait_closed()
            seconds = time.time() - started
            cpu = {name: cpu_seconds(pid) - before[name] for name, pid in everything.items()}
            cpu["callers"] = self._caller_cpu
            groups = self._count("message_group") - groups
        made = self._measured(load, accepted, seconds, cpu, groups)
        port = self._stack.settings().simulator_port
        httpx.post(f"http://127.0.0.1:{port}/control/reset", timeout=60)
        return made

    def _caller(self, load: Load) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "benchmarks.caller", "--people", str(self._people)]
        command += ["--threads", "8", "--seconds", str(load.seconds)]
        command += ["--rate", str(load.rate / CALLERS)]
        return subprocess.Popen(
            command,
            cwd=ROOT,
            env=self._stack.environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def _call(self, callers: list[subprocess.Popen[str]]) -> dict[int, tuple[float, float]]:
        """When each send was accepted and how long its call took, once all callers have ended."""
        for caller in callers:
            assert caller.stdin is not None
            caller.stdin.write("go\n")
            caller.stdin.flush()
        said = [caller.communicate()[0].splitlines() for caller in callers]
        self._caller_cpu = sum(float(lines[0]) for lines in said)
        parts = [line.split() for lines in said for line in lines[1:]]
        return {int(send): (float(at), float(took)) for send, at, took in parts}

    def _wait_closed(self) -> None:
        while True:
            with self._engine.connect() as connection:
                if not connection.execute(text("SELECT EXISTS (SELECT 1 FROM outbox)")).scalar():
                    return
            time.sleep(0.05)

    def _count(self, table: str) -> int:
        with self._engine.connect() as connection:
            return int(connection.execute(text(f"SELECT count(*) FROM {table}")).scalar_one())

    def _measured(
        self,
        load: Load,
        accepted: dict[int, tuple[float, float]],
        seconds: float,
        cpu: dict[str, float],
        groups: int,
    ) -> SingleRound:
        received = self._received()
        missing = set(accepted) - set(received)
        if missing:
            raise SystemExit(f"{len(missing)} accepted messages never arrived")
        waits = sorted((received[send] - at) * 1000 for send, (at, _) in accepted.items())
        count = len(accepted)
        cpu_us = {name: spent / count * 1e6 for name, spent in cpu.items()}
        return SingleRound(
            per_second=count / seconds,
            p50_ms=waits[count // 2],
            p99_ms=waits[int(count * 0.99)],
            call_p50_ms=statistics.median(took for _, took in accepted.values()) * 1000,
            cpu_us=cpu_us | {"total": sum(cpu_us.values())},
            groups=groups,
        )

    def _received(self) -> dict[int, float]:
        """When each send's message was in the provider's log, seconds since 1970."""
        log = self._stack.settings().data_dir / "simulator" / "received.jsonl"
        found = {}
        for line in log.read_bytes().splitlines():
            entry = json.loads(line)
            found[decode_reference(entry["message_id"]).send_id] = _seconds(entry["at"])
        return found


def single_summary(rounds: list[SingleRound]) -> dict[str, object]:
    """Medians of the rounds, and the range of their rates."""
    rates = [made.per_second for made in rounds]
    return {
        "median_per_s": round(statistics.median(rates)),
        "min_per_s": round(min(rates)),
        "max_per_s": round(max(rates)),
        "p50_ms": round(statistics.median(made.p50_ms for made in rounds), 1),
        "p99_ms": round(statistics.median(made.p99_ms for made in rounds), 1),
        "call_p50_ms": round(statistics.median(made.call_p50_ms for made in rounds), 1),
        "cpu_us_per_message": {
            name: round(statistics.median(made.cpu_us[name] for made in rounds), 1)
            for name in rounds[0].cpu_us
        },
    }


def _seconds(at: object) -> float:
    from datetime import datetime

    return float(at) if isinstance(at, int | float) else datetime.fromisoformat(str(at)).timestamp()

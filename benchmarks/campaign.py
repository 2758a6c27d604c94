"""One campaign of a benchmark: real workers, ledger, Temporal and simulator, measured from outside."""

from __future__ import annotations

import asyncio
import json
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import httpx
from sqlalchemy import text

import examples
from benchmarks.meter import MemoryWatch, cpu_seconds
from benchmarks.people import TOPIC, make_people
from benchmarks.workers import running_workers
from models.database import connect
from models.progress import progress
from stack.development import DevelopmentStack
from starter import campaigns
from starter.accounts import keep_accounts
from starter.reports import report
from starter.templates import publish

ROOT = Path(__file__).parent.parent
WORKERS = {
    "orchestration": "orchestration,upkeep",
    "campaign-1": "campaign",
    "campaign-2": "campaign",
}


@dataclass(frozen=True, kw_only=True)
class Mode:
    """A way of sending."""

    template: str
    account: str
    messages_per_request: int


MODES = {
    "merge_simple": Mode(template="bench-simple", account="simulator", messages_per_request=1000),
    "merge_demo": Mode(template="november-letter", account="simulator", messages_per_request=1000),
    "single": Mode(template="november-letter", account="simulator", messages_per_request=1),
    "smtp": Mode(template="november-letter", account="simulator-smtp", messages_per_request=1),
}


@dataclass(frozen=True, kw_only=True)
class Round:
    """What one campaign cost."""

    per_second: float
    stage_us: dict[str, float]
    """µs a recipient: CPU of the sending threads by stage; `freeze` is wall clock."""
    cpu_us: dict[str, float]
    """CPU µs a recipient by process, and in all."""
    peak_mb: float


class Bench:
    """The parts that stay up between rounds."""

    def __init__(self, stack: DevelopmentStack, folder: Path) -> None:
        """`stack` runs PostgreSQL, Temporal and the simulator; logs go to `folder`."""
        self._stack = stack
        self._folder = folder
        self._settings = stack.settings()
        self.engine = connect(self._settings.database_url)

    def prepare(self, people: int) -> None:
        """People, accounts and templates."""
        make_people(self.engine, people)
        with self.engine.begin() as connection:
            keep_accounts(connection, self._settings)
        publish(self.engine, Path(examples.__file__).parent / "newsletter")
        for folder in ("simple", "single"):
            publish(self.engine, ROOT / "benchmarks" / folder)

    def run(self, mode: str, people: int) -> Round:
        """One campaign to everybody (`people` says how many that is, or at least so many)."""
        environment = self._stack.environment() | {
            "CARILLON_MESSAGES_PER_REQUEST": str(MODES[mode].messages_per_request),
        }
        with running_workers(WORKERS, environment, self._folder) as pids:
            servers = {
                name: self._stack.supervisor.pid_of(name) or 0
                for name in ("postgres", "temporal", "simulator")
            }
            everything = {**pids, **servers}
            before = {name: cpu_seconds(pid) for name, pid in everything.items()}
            with MemoryWatch(pids) as memory:
                send_id, seconds = self._send(MODES[mode])
            after = {name: cpu_seconds(pid) for name, pid in everything.items()}
        made = report(self.engine, send_id)
        sent = int(made["messages"])
        if not (made["balanced"] and made["accepted"] == sent):
            raise SystemExit(f"{mode}: not everybody was sent to: {made}")
        cpu_us = {name: (after[name] - before[name]) / sent * 1e6 for name in everything}
        httpx.post(f"http://127.0.0.1:{self._settings.simulator_port}/control/reset", timeout=60)
        return Round(
            per_second=sent / seconds,
            stage_us=self._stages(sent),
            cpu_us=cpu_us | {"total": sum(cpu_us.values())},
            peak_mb=memory.peak_mb,
        )

    def _send(self, mode: Mode) -> tuple[int, float]:
        """A campaign from start to close: its id and seconds by the database's clock."""
        wish = campaigns.Wish(
            name="bench", topic=TOPIC, template=mode.template, account=mode.account
        )
        campaign = campaigns.create(self.engine, self._settings, wish)
        asyncio.run(campaigns.start(self.engine, self._settings, campaign.id))
        while True:
            with self.engine.connect() as connection:
                seconds = connection.execute(
                    text(
                        "SELECT extract(epoch FROM closed_at - started_at) FROM send WHERE id = :id"
                    ),
                    {"id": campaign.id},
                ).scalar()
                progress(connection, campaign.id)
            if seconds is not None:
                return campaign.id, float(seconds)
            time.sleep(0.2)

    def _stages(self, sent: int) -> dict[str, float]:
        """From the workers' own events."""
        stages: dict[str, float] = defaultdict(float)
        for name in WORKERS:
            for line in (self._folder / f"{name}.log").read_text().splitlines():
                event = json.loads(line)
                if event["event"] == "audience.frozen":
                    stages["freeze"] = event["seconds"] / sent * 1e6
                elif event["event"] == "batch.passed":
                    for stage, seconds in event["cpu_seconds"].items():
                        stages[stage] += seconds / sent * 1e6
        return dict(stages)

"""Who gets what when all want the same: critical messages under a campaign, and two teams' campaigns."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import httpx
from sqlalchemy import Engine, text

from benchmarks.people import TOPIC
from benchmarks.workers import running_workers
from domain.identifier import BadIdentifier, decode_reference
from stack.development import DevelopmentStack
from starter import campaigns
from starter.limits import set_rate

ROOT = Path(__file__).parent.parent
WORKERS = {
    "orchestration": "orchestration,upkeep",
    "transactional": "transactional",
    "campaign-1": "campaign",
    "campaign-2": "campaign",
}
ACCOUNT = "simulator"
CRITICAL_PER_SECOND = 20.0
OTHER_TEAM = "bench-other"


@dataclass(frozen=True, kw_only=True)
class UnderCampaign:
    """Critical messages while campaigns run flat out on the same account. Times in ms."""

    account_rate: float
    """0: no limit."""
    messages: int
    p50_ms: float
    p99_ms: float
    within_a_second: float
    """Share of the critical messages that reached the provider within one second."""
    campaign_per_second: float


@dataclass(frozen=True, kw_only=True)
class TwoTeams:
    """Messages a second of two equal campaigns of two teams while both ran."""

    first_per_second: float
    second_per_second: float

    @property
    def difference(self) -> float:
        """By which share the slower one stays behind the faster."""
        faster = max(self.first_per_second, self.second_per_second)
        return abs(self.first_per_second - self.second_per_second) / faster if faster else 0.0


class ContentionBench:
    """Runs on a stack that is up, with people in it."""

    def __init__(self, stack: DevelopmentStack, folder: Path, engine: Engine, people: int) -> None:
        """`people`: how many `bN` there are; each campaign tells all of them."""
        self._stack = stack
        self._settings = stack.settings()
        self._folder = folder
        self._engine = engine
        self._people = people

    def under_campaign(self, seconds: float, account_rate: float = 0.0) -> UnderCampaign:
        """Critical messages at 20 a second; campaigns follow each other as long as they come."""
        set_rate(self._engine, f"account:{ACCOUNT}", account_rate or None)
        sends: list[int] = []
        is_over = threading.Event()
        with running_workers(WORKERS, self._stack.environment(), self._folder):
            flat_out = threading.Thread(target=self._keep_sending, args=(sends, is_over))
            flat_out.start()
            while not any(self._arrived(sends)):
                time.sleep(0.1)
            accepted = self._call(seconds)
            is_over.set()
            flat_out.join()
            self._wait_closed()
        made = self._waits(sends, accepted, account_rate)
        set_rate(self._engine, f"account:{ACCOUNT}", None)
        self._forget()
        return made

    def two_teams(self, head_start: float = 2.0) -> TwoTeams:
        """Two campaigns to the same people, the second of another team and a moment later."""
        first, second = self._campaign(), self._campaign()
        self._give_to_other_team(second)
        with running_workers(WORKERS, self._stack.environment(), self._folder):
            self._start(first)
            time.sleep(head_start)
            self._start(second)
            self._wait_closed()
        at: dict[int, list[float]] = {first: [], second: []}
        for send, moment in self._arrived([first, second]):
            at[send].append(moment)
        since = min(at[second])
        until = min(max(at[first]), max(at[second]))
        rates = [sum(since <= m <= until for m in at[send]) / (until - since) for send in at]
        self._forget()
        return TwoTeams(first_per_second=rates[0], second_per_second=rates[1])

    # -- campaigns

    def _campaign(self) -> int:
        wish = campaigns.Wish(name="bench", topic=TOPIC, template="bench-simple", account=ACCOUNT)
        return campaigns.create(self._engine, self._settings, wish).id

    def _start(self, send_id: int) -> None:
        asyncio.run(campaigns.start(self._engine, self._settings, send_id))

    def _keep_sending(self, sends: list[int], is_over: threading.Event) -> None:
        while not is_over.is_set():
            sends.append(self._campaign())
            self._start(sends[-1])
            while not is_over.is_set() and not self._is_closed(sends[-1]):
                time.sleep(0.1)
        with self._engine.begin() as connection:
            connection.execute(
                text("UPDATE send SET state = 'cancelled' WHERE closed_at IS NULL AND id = :id"),
                {"id": sends[-1]},
            )

    def _give_to_other_team(self, send_id: int) -> None:
        """Only the campaign is theirs: what it sends is the first team's, so that both are equal."""
        with self._engine.begin() as connection:
            connection.execute(
                text("INSERT INTO team (key, name) VALUES (:key, :key) ON CONFLICT DO NOTHING"),
                {"key": OTHER_TEAM},
            )
            connection.execute(
                text(
                    "UPDATE send SET team_id = (SELECT id FROM team WHERE key = :key) WHERE id = :id"
                ),
                {"key": OTHER_TEAM, "id": send_id},
            )

    def _is_closed(self, send_id: int) -> bool:
        with self._engine.connect() as connection:
            sql = text("SELECT closed_at IS NOT NULL FROM send WHERE id = :id")
            return bool(connection.execute(sql, {"id": send_id}).scalar())

    def _wait_closed(self) -> None:
        while True:
            with self._engine.connect() as connection:
                sql = text("SELECT EXISTS (SELECT 1 FROM send WHERE closed_at IS NULL)")
                if not connection.execute(sql).scalar():
                    return
            time.sleep(0.2)

    # -- critical messages

    def _call(self, seconds: float) -> dict[int, float]:
        """When each critical request was accepted, seconds since 1970."""
        command = [sys.executable, "-m", "benchmarks.caller", "--people", str(self._people)]
        command += ["--threads", "4", "--seconds", str(seconds), "--priority", "critical"]
        command += ["--rate", str(CRITICAL_PER_SECOND)]
        caller = subprocess.Popen(
            command,
            cwd=ROOT,
            env=self._stack.environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        lines = caller.communicate("go\n")[0].splitlines()
        return {int(line.split()[0]): float(line.split()[1]) for line in lines[2:]}

    def _waits(
        self, sends: list[int], accepted: dict[int, float], account_rate: float
    ) -> UnderCampaign:
        since, until = min(accepted.values()), max(accepted.values())
        found = dict(self._arrived(accepted))
        if missing := set(accepted) - set(found):
            raise SystemExit(f"{len(missing)} accepted messages never arrived")
        waits = sorted((found[send] - at) * 1000 for send, at in accepted.items())
        meanwhile = sum(since <= at <= until for _, at in self._arrived(sends))
        return UnderCampaign(
            account_rate=account_rate,
            messages=len(waits),
            p50_ms=waits[len(waits) // 2],
            p99_ms=waits[int(len(waits) * 0.99)],
            within_a_second=sum(wait <= 1000 for wait in waits) / len(waits),
            campaign_per_second=meanwhile / (until - since),
        )

    def _arrived(self, sends: list[int] | dict[int, float]) -> Iterator[tuple[int, float]]:
        """Send and moment of what is in the provider's log, of these sends."""
        wanted, path = set(sends), self._settings.data_dir / "simulator" / "received.jsonl"
        if not wanted or not path.exists():
            return
        with path.open("rb") as lines:
            for line in lines:
                entry = json.loads(line)
                try:
                    send_id = decode_reference(entry["message_id"]).send_id
                except BadIdentifier:
                    continue
                if send_id in wanted:
                    yield send_id, datetime.fromisoformat(entry["at"]).timestamp()

    def _forget(self) -> None:
        port = self._settings.simulator_port
        httpx.post(f"http://127.0.0.1:{port}/control/reset", timeout=60)

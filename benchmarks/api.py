"""Requests over HTTP: `python -m web` with one and with two processes, asked by 1 and by 16 callers.

The callers are threads of one process of their own (this file, run as a module), each with a
connection that it keeps; no worker runs, so what is measured is a request until it is committed.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from sqlalchemy import Connection, Engine, text

from benchmarks.meter import cpu_seconds
from models.database import in_transaction
from models.team import default_team_id
from models.topic import topic_id
from stack.development import DevelopmentStack
from stack.ports import free_ports
from starter.api_keys import KeyWish, create_key
from starter.topics import JoinWish, TopicWish, create_topic, join
from web.api.openapi import document

ROOT = Path(__file__).parent.parent
CALLERS = (1, 16)
PROCESSES = (1, 2)
REQUESTS = ("single", "bulk", "event")
PATHS = {"single": "/v1/messages", "bulk": "/v1/messages/bulk", "event": "/v1/events"}
TOPIC = "bench-events"


@dataclass(frozen=True, kw_only=True)
class ApiRound:
    """What one kind of request came to."""

    request: str
    processes: int
    callers: int
    per_second: float
    p50_ms: float
    p99_ms: float
    web_cpu_ms: float
    """CPU of the web processes a request."""


class ApiBench:
    """Runs rounds on a stack that is up, with `people` of `bN` and the template `bench-single`."""

    def __init__(self, stack: DevelopmentStack, folder: Path, engine: Engine, people: int) -> None:
        """Logs go to `folder`."""
        self._stack = stack
        self._folder = folder
        self._people = people
        in_transaction(engine, _a_topic)
        secret = stack.settings().api_secret.get_secret_value().encode()
        wish = KeyWish(name="bench", scopes=["admin"], rate=1e6)
        self._key = in_transaction(
            engine, lambda c: create_key(c, secret, default_team_id(c), wish)
        ).text

    def run(self, names: list[str], seconds: float) -> Iterator[ApiRound]:
        """Each request of those that this version has, by each number of processes and callers."""
        paths = json.loads(document())["paths"]
        for processes in PROCESSES:
            with self._serving(processes) as (url, pid):
                for name in names:
                    if PATHS[name] in paths:
                        for callers in CALLERS:
                            yield self._round(url, pid, name, processes, callers, seconds)

    def _round(
        self, url: str, pid: int, name: str, processes: int, callers: int, seconds: float
    ) -> ApiRound:
        command = [sys.executable, "-m", "benchmarks.api", url, name]
        command += ["--callers", str(callers), "--seconds", str(seconds)]
        command += ["--people", str(self._people)]
        before = cpu_seconds(pid)
        environment = {**self._stack.environment(), "BENCH_KEY": self._key}
        said = subprocess.run(
            command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=True
        ).stdout
        cpu = cpu_seconds(pid) - before
        measured = json.loads(said)
        took = sorted(measured["milliseconds"])
        return ApiRound(
            request=name,
            processes=processes,
            callers=callers,
            per_second=len(took) / measured["seconds"],
            p50_ms=statistics.median(took),
            p99_ms=took[int(len(took) * 0.99)],
            web_cpu_ms=cpu / len(took) * 1000,
        )

    @contextlib.contextmanager
    def _serving(self, processes: int) -> Iterator[tuple[str, int]]:
        (port,) = free_ports(1)
        environment = self._stack.environment() | {
            "CARILLON_WEB_PORT": str(port),
            "CARILLON_API_PROCESSES": str(processes),
            "CARILLON_API_RATE_PER_TEAM": "1000000",
        }
        with (self._folder / f"web-{processes}.log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "web"],
                cwd=ROOT,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        url = f"http://127.0.0.1:{port}"
        try:
            while not _is_ready(url):
                time.sleep(0.1)
            yield url, process.pid
        finally:
            process.terminate()
            process.wait(60)


def _a_topic(connection: Connection) -> None:
    """The topic of the events, with ten members."""
    team = default_team_id(connection)
    create_topic(connection, team, TopicWish(key=TOPIC, name="Bench", template="bench-single"))
    people = connection.execute(text("SELECT id FROM recipient ORDER BY id LIMIT 10")).scalars()
    for recipient in people.all():
        join(connection, topic_id(connection, team, TOPIC), recipient, JoinWish())


def _is_ready(url: str) -> bool:
    with contextlib.suppress(httpx.HTTPError):
        return httpx.get(f"{url}/readyz").status_code == 200
    return False


def _body(name: str, number: int, people: int, key: str) -> dict[str, Any]:
    if name == "event":
        return {"topic": TOPIC, "key": key, "data": {"order": number}}
    count = 1000 if name == "bulk" else 1
    orders = [
        {
            "template": "bench-single",
            "to": f"b{(number + at) % people + 1}",
            "variables": {"order": number},
        }
        for at in range(count)
    ]
    return {"messages": orders} if name == "bulk" else orders[0]


def main() -> None:
    """One process of callers: prints how long each request took, as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("request", choices=REQUESTS)
    parser.add_argument("--callers", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--people", type=int, required=True)
    given = parser.parse_args()
    took: list[float] = []
    failed: list[str] = []
    client = httpx.Client(
        base_url=given.url,
        headers={"Authorization": f"Bearer {os.environ['BENCH_KEY']}"},
        timeout=60,
        limits=httpx.Limits(max_connections=given.callers),
    )
    started = time.monotonic()
    end = started + given.seconds

    def call(caller: int) -> None:
        number = caller
        while time.monotonic() < end and not failed:
            key = f"{os.getpid()}-{number}"
            body = _body(given.request, number, given.people, key)
            began = time.monotonic()
            answer = client.post(PATHS[given.request], json=body, headers={"Idempotency-Key": key})
            took.append((time.monotonic() - began) * 1000)
            if answer.status_code != 202:
                failed.append(f"{answer.status_code}: {answer.text[:300]}")
            number += given.callers

    threads = [threading.Thread(target=call, args=(n,)) for n in range(given.callers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise SystemExit(failed[0])
    # With what was under way when the time was over: a bulk may take longer than the rest of it.
    print(json.dumps({"milliseconds": took, "seconds": time.monotonic() - started}))


if __name__ == "__main__":
    main()

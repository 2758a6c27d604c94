"""A campaign under kill -9 of workers, Temporal and PostgreSQL, and the model it must agree with."""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from dataclasses import dataclass, field

from domain.outcome import Outcome
from domain.send import OnUnknown
from tests.builders import Draft
from tests.scenario import Scenario, wait_until

CAMPAIGN_WORKERS = ("campaign-1", "campaign-2")


@dataclass(frozen=True, kw_only=True)
class Storm:
    """How much of it."""

    people: int
    rate: float
    worker_kills: int
    server_kills: int
    """Of Temporal, and as many of PostgreSQL."""
    least_with_claim: int
    """So many of the worker kills must have left an open claim, or the test proves nothing."""
    seed: int


@dataclass(kw_only=True)
class Toll:
    """What the kills did."""

    kills: int = 0
    with_claim: int = 0
    open_at_kills: int = 0
    """Messages claimed and not settled when a process was killed."""
    log: list[str] = field(default_factory=list)


def rage(made: Scenario, storm: Storm, policy: OnUnknown) -> Toll:
    """Run the campaign through the storm until it is closed."""
    print(f"\nseed {storm.seed}, policy {policy}, {storm.people:,} people at {storm.rate:g}/s")
    chance, toll = random.Random(storm.seed), Toll()
    made.start_workers(len(CAMPAIGN_WORKERS))
    made.begin(Draft(people=storm.people, rate=storm.rate, on_unknown=policy))
    kills = ["worker"] * storm.worker_kills
    for server in ("temporal", "postgres") * storm.server_kills:
        kills.insert(chance.randrange(1, len(kills) + 1), server)
    apart = storm.people / storm.rate / (len(kills) + 2)
    for kill in kills:
        time.sleep(apart * chance.uniform(0.5, 1.0))
        if kill == "worker":
            kill_worker(made, chance, toll)
        else:
            kill_server(made, kill, toll)
    made.wait_closed(storm.people / storm.rate * 3 + 120)
    print(
        f"  {toll.kills} kills of workers, {toll.with_claim} with an open claim;"
        f" {toll.open_at_kills} messages were claimed and not settled; {', '.join(toll.log)}"
    )
    return toll


def open_messages(made: Scenario, pid: int | None = None) -> int:
    """Messages claimed and not answered, of one worker process or of all."""
    mine = f" AND split_part(worker, chr(58), 2) = '{pid}'" if pid else ""
    return int(
        made.value(
            "SELECT coalesce(sum(length(members) - length(replace(members, '?', ''))), 0)"
            f" FROM attempt WHERE state = 'claimed'{mine}"
        )
    )


def kill_worker(made: Scenario, chance: random.Random, toll: Toll) -> None:
    """kill -9 one campaign worker, at a moment when it has an attempt claimed."""
    name = chance.choice(CAMPAIGN_WORKERS)
    pid = made.workers.pid(name)
    end = time.monotonic() + 20
    while not open_messages(made, pid) and time.monotonic() < end:
        if made.value("SELECT closed_at FROM send"):
            return
        other = CAMPAIGN_WORKERS[1 - CAMPAIGN_WORKERS.index(name)]
        if open_messages(made, made.workers.pid(other)):
            name, pid = other, made.workers.pid(other)
        time.sleep(0.005)
    made.workers.kill(name)
    left = open_messages(made, pid)
    toll.kills += 1
    toll.with_claim += bool(left)
    toll.open_at_kills += left
    toll.log.append(f"{name} ({left} open)")
    made.workers.start(name, "campaign")


def kill_server(made: Scenario, name: str, toll: Toll) -> None:
    """kill -9 Temporal or PostgreSQL; the supervisor brings it back on its data."""
    pid = made.stack.supervisor.pid_of(name)
    assert pid is not None
    toll.open_at_kills += open_messages(made)
    os.kill(pid, signal.SIGKILL)
    made.stack.supervisor.wait_restarted(name, pid)
    toll.log.append(name)


def check(made: Scenario, storm: Storm, policy: OnUnknown, toll: Toll) -> None:
    """The simulator's log, the ledger and the report agree; nobody is in none of them."""
    report, copies = made.report(), made.copies()
    everybody = set(range(1, storm.people + 1))
    repeats = Counter({ordinal: n - 1 for ordinal, n in copies.items() if n > 1})
    explained = made.explained_repeats()
    unconfirmed = made.ordinals(Outcome.UNCONFIRMED)

    assert toll.with_claim >= storm.least_with_claim, (
        "too few kills left a claim: nothing is proven"
    )
    assert report["balanced"], report["problems"]
    assert report["messages"] == storm.people
    assert made.ordinals(Outcome.ACCEPTED) <= set(copies), "called accepted and never sent"
    assert all(n <= explained[ordinal] for ordinal, n in repeats.items()), "unexplained repeats"
    assert repeats.total() <= toll.open_at_kills
    if policy is OnUnknown.LEAVE:
        assert not repeats
        assert set(copies) | unconfirmed == everybody
    else:
        assert set(copies) == everybody
    print(
        f"  accepted {report['accepted']:,}, unconfirmed {len(unconfirmed):,},"
        f" repeats {repeats.total():,}: balanced"
    )


def wipe_temporal(made: Scenario) -> None:
    """Stop Temporal, delete its file, and let the supervisor start it on nothing."""
    database = made.stack.settings().data_dir / "temporal" / "temporal.db"
    pid = made.stack.supervisor.pid_of("temporal")
    assert pid is not None
    for file in database.parent.glob("temporal.db*"):
        file.unlink()
    os.kill(pid, signal.SIGKILL)
    made.stack.supervisor.wait_restarted("temporal", pid)
    wait_until(lambda: made.stack.supervisor.is_running("temporal"), 30)

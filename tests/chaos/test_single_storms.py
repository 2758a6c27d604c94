"""kill -9 of workers, callers and servers while services ask for single messages under load."""

from __future__ import annotations

import contextlib
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from sqlalchemy import text

from domain.outcome import Outcome
from models.request_audit import request_imbalances
from models.team import default_team_id
from tests.chaos.storm import Toll, kill_server
from tests.requests import a_shop
from tests.scenario import ROOT, Scenario, wait_until

MakeScenario = Callable[..., Scenario]
CUSTOMERS = 200
WORKERS = ("single-1", "single-2")


@dataclass(frozen=True, kw_only=True)
class SingleStorm:
    """How much of it."""

    seconds: float
    rate: float
    worker_kills: int
    caller_kills: int
    server_kills: int
    least_with_claim: int


SIZES = [
    pytest.param(
        SingleStorm(
            seconds=15, rate=60, worker_kills=4, caller_kills=2, server_kills=1, least_with_claim=2
        ),
        id="small",
    ),
    pytest.param(
        SingleStorm(
            seconds=60,
            rate=200,
            worker_kills=10,
            caller_kills=5,
            server_kills=2,
            least_with_claim=6,
        ),
        id="full",
        marks=pytest.mark.chaos,
    ),
]


@dataclass
class Callers:
    """Two calling services, which may be killed and started again."""

    made: Scenario
    rate: float
    running: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def accepted(self) -> Path:
        return self.made.folder / "accepted.txt"

    def start(self) -> None:
        command = [sys.executable, "-m", "tests.calling_service"]
        command += ["--accepted", str(self.accepted), "--customers", str(CUSTOMERS)]
        command += ["--rate", str(self.rate / 2)]
        environment = self.made.stack.environment() | {
            "CARILLON_DATABASE_URL": self.made.settings.database_url
        }
        with (self.made.folder / "callers.log").open("ab") as log:
            self.running.append(
                subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log)
            )

    def kill_one(self) -> None:
        caller = self.running.pop(0)
        caller.kill()
        caller.wait()

    def told(self) -> set[int]:
        """Sends of which a caller was told that they are committed; a torn last line is none."""
        whole = self.accepted.read_text().rpartition("\n")[0].splitlines()
        return {int(line) for line in whole if line.isdigit() and len(line) == 19}


@contextlib.contextmanager
def calling(made: Scenario, rate: float) -> Iterator[Callers]:
    callers = Callers(made, rate)
    try:
        for _ in range(2):
            callers.start()
        yield callers
    finally:
        while callers.running:
            callers.kill_one()


@pytest.mark.parametrize("storm", SIZES)
def test_what_was_committed_arrives_and_every_repeat_is_explained(
    make_scenario: MakeScenario, storm: SingleStorm
) -> None:
    seed = random.SystemRandom().randrange(10**6)
    print(f"\nseed {seed}, {storm}")
    chance, toll = random.Random(seed), Toll()
    made = make_scenario(max_tries=10, connections=8)
    a_shop(made.engine, customers=CUSTOMERS)
    made.workers.start("upkeep", "upkeep")
    for name in WORKERS:
        made.workers.start(name, "transactional")

    with calling(made, storm.rate) as callers:
        wait_until(lambda: callers.accepted.exists() and len(callers.told()) > 20, 30)
        rage(made, storm, callers, chance, toll)
    wait_until(lambda: made.value("SELECT count(*) FROM outbox") == 0, 120)

    check(made, callers, toll, storm)


def rage(
    made: Scenario, storm: SingleStorm, callers: Callers, chance: random.Random, toll: Toll
) -> None:
    kills = ["worker"] * storm.worker_kills + ["caller"] * storm.caller_kills
    kills += ["temporal", "postgres"] * storm.server_kills
    chance.shuffle(kills)
    for kill in kills:
        time.sleep(storm.seconds / len(kills) * chance.uniform(0.5, 1.0))
        if kill == "worker":
            kill_worker(made, chance, toll)
        elif kill == "caller":
            callers.kill_one()
            callers.start()
        else:
            kill_server(made, kill, toll)


def kill_worker(made: Scenario, chance: random.Random, toll: Toll) -> None:
    """kill -9 one worker, at a moment when it has an attempt claimed if one comes soon."""
    name = chance.choice(WORKERS)
    pid = made.workers.pid(name)
    mine = (
        "SELECT coalesce(sum(length(members) - length(replace(members, '?', ''))), 0) FROM attempt"
        f" WHERE state = 'claimed' AND split_part(worker, chr(58), 2) = '{pid}'"
    )
    end = time.monotonic() + 5
    while not made.value(mine) and time.monotonic() < end:
        time.sleep(0.002)
    made.workers.kill(name)
    left = int(made.value(mine))
    toll.kills += 1
    toll.with_claim += bool(left)
    toll.open_at_kills += left
    toll.log.append(f"{name} ({left} open)")
    made.workers.start(name, "transactional")


def check(made: Scenario, callers: Callers, toll: Toll, storm: SingleStorm) -> None:
    """Callers, ledger and the provider's log agree; nobody is in none of them."""
    committed = set(made.values("SELECT id FROM send"))
    told = callers.told()
    copies = arrived(made)
    repeats = Counter({send: n - 1 for send, n in copies.items() if n > 1})
    explained = explained_repeats(made)
    print(
        f"  told {len(told):,}, committed {len(committed):,}, arrived {len(copies):,},"
        f" repeats {repeats.total()}; {toll.kills} kills of workers, {toll.with_claim} with an open"
        f" claim, {toll.open_at_kills} open; {', '.join(toll.log)}"
    )
    assert toll.with_claim >= storm.least_with_claim, "too few kills left a claim"
    assert told <= committed, "told that it is committed, and it is not"
    assert set(copies) == committed, "committed and never sent"
    assert made.values("SELECT DISTINCT outcome FROM delivery") == [int(Outcome.ACCEPTED)]
    assert all(n <= explained[send] for send, n in repeats.items()), "unexplained repeats"
    with made.engine.connect() as connection:
        assert request_imbalances(connection, default_team_id(connection)) == {}


def arrived(made: Scenario) -> Counter[int]:
    """How often each send's one message arrived at the provider."""
    received = made.simulator.all_received()
    return Counter({send: len(entries) for send, entries in received.items()})


def explained_repeats(made: Scenario) -> Counter[int]:
    """How often each send's message was in an attempt that ended abandoned or unknown."""
    found: Counter[int] = Counter()
    with made.engine.connect() as connection:
        for sends, members, state in connection.execute(
            text("SELECT sends, members, state FROM attempt")
        ):
            for send, letter in zip(sends, members, strict=True):
                if letter == "u" or (state == "abandoned" and letter in "?a"):
                    found[send] += 1
    return found

"""Health in rows: answers are summed, one process a period moves weights, breakers open and close."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from itertools import pairwise

from sqlalchemy import Engine, text

from domain.health import HealthRules, Seen
from models.account import NamedAccount, keep_account
from models.account_health import drop_old_buckets, move_weights, record_answers, set_weight
from models.breaker import (
    close_breaker,
    open_breaker_if_failing,
    opens_in,
    probe_failed,
    take_probe,
)
from models.database import in_transaction
from models.team import default_team_id
from tests.builders import scalar

# A minute of the rules takes 0.6 s, so 15 quiet ones take nine.
QUICK = HealthRules(minute=timedelta(seconds=0.6))
SLOW_CLOCK = HealthRules()


def accounts(engine: Engine, *keys: str) -> list[int]:
    """Ids of accounts of one channel, each with the weight 50."""
    with engine.begin() as connection:
        for key in keys:
            named = NamedAccount(key=key, provider="smtp", channel="email", is_real=False, rate=0)
            keep_account(connection, default_team_id(connection), named)
        rows = connection.execute(text("SELECT id FROM provider_account ORDER BY id"))
        ids = list(rows.scalars())
        for account_id in ids:
            set_weight(connection, account_id, 50)
        connection.execute(text("UPDATE provider_account SET weight_changed_at = NULL"))
    return ids


def answer(engine: Engine, rules: HealthRules, **seen: Seen) -> None:
    """Answers by account id, named `a1`, `a2`."""
    sums = {int(name[1:]): counts for name, counts in seen.items()}
    in_transaction(engine, lambda c: record_answers(c, sums, rules))


def weights(engine: Engine) -> list[int]:
    with engine.connect() as connection:
        rows = connection.execute(text("SELECT weight FROM provider_account ORDER BY id"))
        return list(rows.scalars())


def test_answers_of_many_processes_are_one_row_a_bucket(engine: Engine) -> None:
    (account,) = accounts(engine, "a")
    a_day = HealthRules(minute=timedelta(days=6))

    with ThreadPoolExecutor(8) as processes:
        for _ in range(16):
            processes.submit(
                answer, engine, a_day, **{f"a{account}": Seen(answers=10, errors=2, slow=1)}
            )

    with engine.connect() as connection:
        rows = connection.execute(text("SELECT answers, errors, slow FROM account_health")).all()
    assert [tuple(row) for row in rows] == [(160, 32, 16)]


def test_of_sixteen_processes_that_look_at_once_one_moves_a_weight(engine: Engine) -> None:
    first, second = accounts(engine, "a", "b")
    answer(
        engine,
        SLOW_CLOCK,
        **{f"a{first}": Seen(answers=100, errors=60), f"a{second}": Seen(answers=100)},
    )

    with ThreadPoolExecutor(16) as processes:
        looks = [
            processes.submit(in_transaction, engine, lambda c: move_weights(c, SLOW_CLOCK))
            for _ in range(16)
        ]

    assert sum(len(look.result()) for look in looks) == 1
    assert weights(engine) == [40, 60]


def test_traffic_leaves_an_erring_account_step_by_step_and_returns_slowly(engine: Engine) -> None:
    first, second = accounts(engine, "a", "b")
    seen: list[list[int]] = [weights(engine)]
    moved_at: list[float] = []
    end = time.monotonic() + 40
    while time.monotonic() < end and seen.count([50, 50]) < 2:
        # It errs as long as anything is sent to it, until it has lost three steps.
        errors = 60 if [20, 80] not in seen else 0
        answer(
            engine,
            QUICK,
            **{f"a{first}": Seen(answers=100, errors=errors), f"a{second}": Seen(answers=100)},
        )
        if in_transaction(engine, lambda c: move_weights(c, QUICK)):
            seen.append(weights(engine))
            moved_at.append(time.monotonic())
        time.sleep(0.05)

    assert seen == [[50, 50], [40, 60], [30, 70], [20, 80], [30, 70], [40, 60], [50, 50]]
    gaps = [later - before for before, later in pairwise(moved_at)]
    assert min(gaps[:2]) >= 0.55
    assert min(gaps[2:]) >= 8.9


def test_a_breaker_opens_once_and_what_it_was_opened_for_does_not_open_it_again(
    engine: Engine,
) -> None:
    (account,) = accounts(engine, "a")
    answer(engine, QUICK, **{f"a{account}": Seen(answers=20, errors=20)})

    with ThreadPoolExecutor(8) as processes:
        opened = [
            processes.submit(
                in_transaction, engine, lambda c: open_breaker_if_failing(c, account, QUICK)
            )
            for _ in range(8)
        ]
    in_transaction(engine, lambda c: close_breaker(c, account))

    assert sum(future.result() for future in opened) == 1
    assert not in_transaction(engine, lambda c: open_breaker_if_failing(c, account, QUICK))


def test_one_probe_goes_when_its_time_has_come_and_a_failed_one_doubles_the_wait(
    engine: Engine,
) -> None:
    (account,) = accounts(engine, "a")
    answer(engine, QUICK, **{f"a{account}": Seen(answers=20, errors=20)})
    within = timedelta(seconds=5)

    def probe() -> bool:
        return in_transaction(engine, lambda c: take_probe(c, account, within))

    in_transaction(engine, lambda c: open_breaker_if_failing(c, account, QUICK))
    too_early = probe()
    time.sleep(0.35)
    with ThreadPoolExecutor(8) as processes:
        taken = [processes.submit(probe) for _ in range(8)]
    in_transaction(engine, lambda c: probe_failed(c, account, QUICK))

    assert not too_early
    assert sum(future.result() for future in taken) == 1
    assert scalar(engine, "SELECT breaker_wait FROM provider_account") == 0.6
    with engine.connect() as connection:
        wait = opens_in(connection, account)
    assert wait is not None
    assert timedelta(seconds=0.3) < wait <= timedelta(seconds=0.6)


def test_buckets_that_no_window_reaches_are_dropped(engine: Engine) -> None:
    (account,) = accounts(engine, "a")
    answer(engine, QUICK, **{f"a{account}": Seen(answers=1)})
    with engine.begin() as connection:
        connection.execute(text("UPDATE account_health SET bucket = bucket - interval '1 hour'"))

    assert in_transaction(engine, lambda c: drop_old_buckets(c, QUICK)) == 1

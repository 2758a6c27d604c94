"""Weights follow real traffic: away from an account that errs step by step, back slowly, no flapping."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import text

from composition import health_rules
from models.account_health import set_weight
from models.request_audit import request_imbalances
from models.team import default_team_id
from tests.requests import a_client, a_shop
from tests.scenario import Scenario, wait_until

MakeScenario = Callable[..., Scenario]

CUSTOMERS = 100
AT_ONCE = 25

# Every change of a weight, whoever makes it: nobody has to look in time.
_LOG = """
    CREATE TABLE weight_log (id SERIAL, key TEXT, points INTEGER, weight INTEGER, at TIMESTAMPTZ);
    CREATE FUNCTION log_weight() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        INSERT INTO weight_log (key, points, weight, at)
        VALUES (NEW.key, NEW.weight - OLD.weight, NEW.weight, NEW.weight_changed_at);
        RETURN NEW; END $$;
    CREATE TRIGGER log_weight AFTER UPDATE OF weight ON provider_account
        FOR EACH ROW WHEN (OLD.weight <> NEW.weight) EXECUTE FUNCTION log_weight();
"""


class Moved(NamedTuple):
    """A change of the weight of the account that errs."""

    points: int
    weight: int
    at: datetime


def moved(made: Scenario) -> list[Moved]:
    with made.engine.connect() as connection:
        rows = connection.execute(
            text("SELECT points, weight, at FROM weight_log WHERE key = 'simulator' ORDER BY id")
        )
        return [Moved(*row) for row in rows]


def share_between_two(made: Scenario) -> None:
    """SendGrid's stand-in and the SMTP server's have one half of the channel each."""
    with made.engine.begin() as connection:
        for key in ("simulator", "simulator-smtp"):
            account_id = connection.execute(
                text("SELECT id FROM provider_account WHERE key = :key"), {"key": key}
            ).scalar_one()
            set_weight(connection, account_id, 50)
        connection.exec_driver_sql(_LOG)


@contextmanager
def traffic(made: Scenario) -> Iterator[None]:
    """About 200 single messages a second while it lasts."""
    client, is_over = a_client(made.engine, made.settings), threading.Event()
    everybody = [f"person-{n}" for n in range(1, CUSTOMERS + 1)]
    groups = [everybody[at : at + AT_ONCE] for at in range(0, CUSTOMERS, AT_ONCE)]

    def send() -> None:
        for number in itertools.count():
            client.send_blocking(
                "order-shipped", to=groups[number % len(groups)], variables={"order": number}
            )
            if is_over.wait(0.12):
                return

    sender = threading.Thread(target=send)
    sender.start()
    try:
        yield
    finally:
        is_over.set()
        sender.join()


def test_the_weight_of_an_erring_account_falls_step_by_step_and_comes_back_slowly(
    make_scenario: MakeScenario,
) -> None:
    made = make_scenario(health_minute=0.6)
    rules = health_rules(made.settings)
    a_shop(made.engine, customers=CUSTOMERS)
    made.workers.start("upkeep", "upkeep")
    share_between_two(made)
    made.workers.start("single", "transactional")

    with traffic(made):
        made.simulator.faults(
            {"provider": "sendgrid", "kind": "status", "status": 503, "probability": 0.35}
        )
        wait_until(lambda: len(moved(made)) >= 2, 20)
        made.simulator.no_faults()
        wait_until(lambda: moved(made)[-1].points > 0, 20)
    wait_until(lambda: made.value("SELECT count(*) FROM send WHERE closed_at IS NULL") == 0, 30)

    steps = moved(made)
    away = [step for step in steps if step.points < 0]
    back = steps[len(away) :]
    assert len(away) >= 2
    assert {step.points for step in away} == {-rules.step}
    assert steps[: len(away)] == away, "once it is well it is not left again"
    assert {step.points for step in back} == {rules.step}
    assert gaps(away, least=rules.minute)
    assert gaps([away[-1], *back], least=rules.slow_window)
    both = "key IN ('simulator', 'simulator-smtp')"
    assert made.value(f"SELECT sum(weight) FROM provider_account WHERE {both}") == 100
    used = "SELECT DISTINCT a.key FROM attempt t JOIN provider_account a ON a.id = t.account_id"
    assert set(made.values(used)) == {"simulator", "simulator-smtp"}
    with made.engine.connect() as connection:
        assert request_imbalances(connection, default_team_id(connection)) == {}
    accepted = made.value("SELECT count(*) FROM delivery WHERE outcome = 2")
    assert accepted == made.value("SELECT count(*) FROM message")


def gaps(steps: list[Moved], *, least: timedelta) -> bool:
    """Whether between each two changes lay at least so long, by the rows."""
    return all(later.at - sooner.at >= least for sooner, later in itertools.pairwise(steps))

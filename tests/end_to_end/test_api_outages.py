"""What the API does while another part is away: without Temporal it accepts, without PostgreSQL it says so."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from sqlalchemy import Engine

import settings as settings_module
from models.database import connect
from models.schema import upgrade
from models.team import default_team_id
from settings import Settings
from stack.development import DevelopmentStack
from starter.api_keys import KeyWish, create_key
from tests.builders import scalar
from tests.requests import a_shop
from tests.scenario import Scenario, wait_until
from tests.web_process import WebProcess

ORDER = {"template": "order-shipped", "to": "person-1", "variables": {"order": "A-17"}}


def a_key(engine: Engine, settings: Settings) -> dict[str, str]:
    """The headers of a new key of the team `default`."""
    secret = settings.api_secret.get_secret_value().encode()
    with engine.begin() as connection:
        wish = KeyWish(name="tests", scopes=["admin"])
        made = create_key(connection, secret, default_team_id(connection), wish)
    return {"Authorization": f"Bearer {made.text}"}


def order(web: WebProcess, headers: dict[str, str], key: str) -> httpx.Response:
    named = {**headers, "Idempotency-Key": key}
    return httpx.post(f"{web.url}/v1/messages", json=ORDER, headers=named, timeout=60)


@contextmanager
def stopped(stack: DevelopmentStack, name: str) -> Iterator[None]:
    """The part answers nothing meanwhile, and goes on afterwards where it stood."""
    pid = stack.supervisor.pid_of(name)
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def test_without_temporal_requests_are_accepted_and_sent_when_it_is_back(
    make_scenario: Callable[..., Scenario], tmp_path: Path
) -> None:
    made = make_scenario()
    a_shop(made.engine)
    headers = a_key(made.engine, made.settings)
    made.workers.start("single", "transactional,upkeep")

    with WebProcess(made.settings.database_url, tmp_path) as web:
        with stopped(made.stack, "temporal"):
            web.start()
            answers = [order(web, headers, f"k-{number}") for number in range(5)]
            left = made.value("SELECT count(*) FROM outbox")
        wait_until(lambda: made.value("SELECT count(*) FROM send WHERE closed_at IS NULL") == 0, 90)

    assert [answer.status_code for answer in answers] == [202] * 5
    assert left == 5
    received = made.simulator.all_received()
    assert sorted(len(entries) for entries in received.values()) == [1] * 5


@pytest.fixture
def own_postgres(run_dir: Path, tmp_path: Path) -> Iterator[DevelopmentStack]:
    """A PostgreSQL that this test may stop."""
    folder = run_dir / f"own-{tmp_path.name}"[:60]
    settings = settings_module.load(data_dir=folder, _env_file=None)
    with DevelopmentStack(settings, parts={"postgres"}, free_ports=True) as made:
        yield made


def test_without_postgresql_it_says_when_to_ask_again_and_recovers(
    own_postgres: DevelopmentStack, tmp_path: Path
) -> None:
    url = own_postgres.settings().database_url
    engine = connect(url)
    upgrade(engine)
    a_shop(engine)
    headers = a_key(engine, own_postgres.settings())
    engine.dispose()

    with WebProcess(url, tmp_path) as web:
        web.start()
        before = order(web, headers, "before")
        own_postgres.stop()
        away = [order(web, headers, "while-away") for _ in range(3)]
        alive = httpx.get(f"{web.url}/livez")
        not_ready = httpx.get(f"{web.url}/readyz")
        own_postgres.start()
        assert own_postgres.settings().database_url == url
        after = order(web, headers, "while-away")
        again = order(web, headers, "before")

    assert before.status_code == after.status_code == again.status_code == 202
    assert again.json() == before.json()
    assert {answer.status_code for answer in away} == {503}
    assert {answer.headers["retry-after"] for answer in away} == {"5"}
    assert {answer.headers["content-type"] for answer in away} == {"application/problem+json"}
    assert (alive.status_code, not_ready.status_code) == (200, 503)
    assert scalar(engine, "SELECT count(*) FROM send") == 2
    engine.dispose()

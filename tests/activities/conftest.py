"""What the tests of activities share: a desk on real PostgreSQL, against the simulator."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import Engine

from activities.account_book import AccountBook
from activities.crew import Crew
from activities.fail_points import pass_by
from activities.groups import GroupActivities
from activities.health_log import HealthLog
from activities.limit_book import LimitBook
from activities.look_up import LookUp
from activities.mailer import Links
from activities.sessions import Sessions
from activities.single_mailer import SingleMailer
from composition import health_rules, pace_of
from models.cap_audit import cap_imbalances
from models.claim import AttemptIds
from models.request_audit import request_imbalances
from models.team import default_team_id
from stack.development import DevelopmentStack
from starter.accounts import keep_accounts
from starter.stored_accounts import KnownAccounts
from tests.activities.desk import Desk
from tests.requests import a_client, a_shop


@pytest.fixture
def desk(engine: Engine, stack: DevelopmentStack) -> Iterator[Desk]:
    settings = stack.settings().model_copy(
        update={
            "database_url": engine.url.render_as_string(hide_password=False),
            "messages_per_request": 1,
            "unknown_wait": 0.1,
            "transactional_unknown_wait": 0.1,
            "backoff_first": 0.1,
        }
    )
    a_shop(engine)
    with engine.begin() as connection:
        keep_accounts(connection, settings)
    sessions = Sessions(AccountBook(engine, KnownAccounts(settings).read))
    crew = Crew(
        engine=engine,
        pace=pace_of(settings),
        attempt_ids=AttemptIds(3),
        worker="test",
        reached=pass_by,
        limits=LimitBook(engine),
        health=HealthLog(
            engine,
            health_rules(settings),
            slow_after=timedelta(seconds=5),
            probe_for=timedelta(seconds=5),
        ),
    )
    links = Links(public_url="https://news.example.org", secret=b"secret")
    mailer = SingleMailer(engine, links)
    activities = GroupActivities(crew, sessions, mailer)
    look_up = LookUp(engine, sessions, mailer)
    made = Desk(engine, a_client(engine, settings), settings, activities, look_up)
    yield made
    sessions.drop_all()
    with engine.connect() as connection:
        assert request_imbalances(connection, default_team_id(connection)) == {}
        assert cap_imbalances(connection, default_team_id(connection)) == []


@pytest.fixture
def faults(stack: DevelopmentStack) -> Iterator[Callable[[dict[str, Any]], None]]:
    """Makes the simulator misbehave until the test ends."""
    url = f"http://127.0.0.1:{stack.settings().simulator_port}/control/faults"

    def arm(rule: dict[str, Any]) -> None:
        httpx.post(url, json=[rule]).raise_for_status()

    yield arm
    httpx.delete(url).raise_for_status()

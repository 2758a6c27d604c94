"""The pages of a process for machines, and what its errors tell Temporal."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import IntegrityError
from temporalio.api.failure.v1 import Failure
from temporalio.converter import PayloadConverter

from models.database import connect
from observability.failures import FailureWithoutPeople
from observability.metrics import REGISTRY
from observability.pages import CannotListen, Page, health_pages, metrics_page, serve
from observability.rows import FAMILIES, RowCollector
from observability.worker_health import database_problem
from stack.ports import free_port
from tests.observability.exposed import names, value
from tests.requests import a_shop

Serve = Callable[[dict[str, Callable[[], Page]]], str]


@pytest.fixture
def served() -> Iterator[Serve]:
    """Serves pages; the address."""
    servers = []

    def start(pages: dict[str, Callable[[], Page]]) -> str:
        port = free_port()
        servers.append(serve("127.0.0.1", port, pages))
        return f"http://127.0.0.1:{port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def asked(url: str) -> tuple[int, dict[str, str]]:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def test_a_process_is_ready_when_the_database_answers_with_its_schema(
    served: Serve, engine: Engine
) -> None:
    url = served(health_pages(lambda: False, [lambda: database_problem(engine)]))
    ready = asked(f"{url}/readyz")

    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '0000'"))

    assert ready == (200, {"status": "ready"})
    assert asked(f"{url}/readyz") == (503, {"status": "not ready", "why": "SchemaNotAtHead"})
    assert asked(f"{url}/livez") == (200, {"status": "alive"})


def test_a_database_that_is_away_is_said_in_a_word(served: Serve) -> None:
    gone = connect(f"postgresql+psycopg2://carillon@127.0.0.1:{free_port()}/carillon")
    url = served(health_pages(lambda: False, [lambda: database_problem(gone)]))

    assert asked(f"{url}/readyz") == (503, {"status": "not ready", "why": "DatabaseUnreachable"})


def test_a_process_whose_loop_stands_is_not_alive(served: Serve) -> None:
    url = served(health_pages(lambda: True, []))

    assert asked(f"{url}/livez") == (503, {"status": "wedged"})


def test_a_port_that_is_taken_is_said_in_a_sentence(served: Serve) -> None:
    port = int(served({}).rpartition(":")[2])

    with pytest.raises(CannotListen, match=f"CARILLON_METRICS_PORT.*{port}"):
        serve("127.0.0.1", port, {})


def test_metrics_go_on_where_the_sdk_does_not_answer() -> None:
    page = metrics_page(f"127.0.0.1:{free_port()}")

    assert page.status == 200
    assert b"process_cpu_seconds_total" in page.body


def test_the_rows_are_shown_and_asked_for_once_for_scrapes_at_one_time(engine: Engine) -> None:
    collector = RowCollector(engine)
    REGISTRY.register(collector)
    try:
        before = metrics_page().body.decode()
        a_shop(engine)
        again = metrics_page().body.decode()
    finally:
        REGISTRY.unregister(collector)

    shown = {name.removeprefix("carillon_") for name in names(before)}
    assert {
        "queue_age_seconds",
        "outbox_messages",
        "event_lag_seconds",
        "campaign_messages",
    } <= shown
    assert shown & FAMILIES.keys()
    assert value(before, "carillon_rows_readable") == 1
    assert "carillon_account_up{" not in again


def test_what_cannot_be_read_is_left_out_and_said() -> None:
    gone = connect(f"postgresql+psycopg2://carillon@127.0.0.1:{free_port()}/carillon")
    collector = RowCollector(gone)
    REGISTRY.register(collector)
    try:
        page = metrics_page().body.decode()
    finally:
        REGISTRY.unregister(collector)

    assert value(page, "carillon_rows_readable") == 0
    assert "carillon_rows_readable 0.0" in page
    assert "carillon_queue_age_seconds" not in page


def test_a_failure_in_temporal_does_not_quote_the_row_that_it_is_about(engine: Engine) -> None:
    insert = text(
        "INSERT INTO recipient (team_id, external_id, first_name)"
        " SELECT id, 'anna@example.com', :name FROM team"
    )
    failure = Failure()

    with pytest.raises(IntegrityError) as raised, engine.begin() as connection:
        for name in ("Anna", "Berta"):  # a traceback shows the line of the call
            connection.execute(insert, {"name": name})
    error = RuntimeError("not written for anna@example.com")
    error.__cause__ = raised.value
    FailureWithoutPeople().to_failure(error, PayloadConverter.default, failure)

    said = str(failure)
    assert "recipient" in said
    assert "IntegrityError" in said
    for word in ("anna@", "Anna", "Berta"):
        assert word not in said

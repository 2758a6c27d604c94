"""What the tests of the client share: the real API process, a shop behind it, and keys for it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine

from carillon_client import Carillon, Retries
from domain.api_key import Scope
from models.database import connect
from models.team import default_team_id
from settings import load
from starter.api_keys import KeyWish, create_key
from tests.conftest import ADDRESS_KEY, databases
from tests.requests import a_shop
from tests.web_process import WebProcess

SENDER = (Scope.MESSAGES_SEND.value, Scope.MESSAGES_READ.value)
SOON = Retries(
    max_attempts=200,
    first_wait=timedelta(milliseconds=50),
    longest_wait=timedelta(milliseconds=200),
)
"""For tests that end something and start it again."""


@dataclass(frozen=True, kw_only=True)
class Served:
    """A shop with ten customers and the template `order-shipped`, served by the API process."""

    engine: Engine
    web: WebProcess

    def key(self, scopes: Sequence[str] = SENDER, *, rate: float | None = None) -> str:
        """A new API key."""
        secret = load(_env_file=None).api_secret.get_secret_value().encode()
        wish = KeyWish(name="tests", scopes=list(scopes), rate=rate)
        with self.engine.begin() as connection:
            return create_key(connection, secret, default_team_id(connection), wish).text

    def client(self, retries: Retries = SOON) -> Carillon:
        """A client with a key that may send and read messages."""
        return Carillon(self.web.url, self.key(), retries=retries)


@contextmanager
def serve(database_url: str, folder: Path) -> Iterator[Served]:
    """The shop on a migrated, empty database."""
    engine = connect(database_url, address_key=ADDRESS_KEY)
    a_shop(engine)
    with WebProcess(database_url, folder) as web:
        web.start()
        yield Served(engine=engine, web=web)
    engine.dispose()


@pytest.fixture(scope="package")
def one_served(postgres_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One for all tests: starting the process takes longer than all that they ask of it."""
    folder = tmp_path_factory.mktemp("served")
    with databases(postgres_url) as make, serve(make(), folder) as made:
        yield made


@pytest.fixture
def served(one_served: Served) -> Served:
    """It, running; each test sends under keys of its own."""
    one_served.web.start()
    return one_served


class Retried(logging.Handler):
    """Hears of every call that is made again."""

    def __init__(self) -> None:
        super().__init__()
        self.reasons: list[str] = []
        self.happened = threading.Event()

    def emit(self, record: logging.LogRecord) -> None:
        self.reasons.append(vars(record)["reason"])
        self.happened.set()


@pytest.fixture
def retried() -> Iterator[Retried]:
    """Why calls were made again in this test."""
    log, heard = logging.getLogger("carillon_client"), Retried()
    log.addHandler(heard)
    yield heard
    log.removeHandler(heard)

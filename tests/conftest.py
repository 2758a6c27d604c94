"""Fixtures that all rings share: a real PostgreSQL for the run, a migrated database for each test."""

from __future__ import annotations

import itertools
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, make_url, text

import settings as settings_module
from domain.address_key import address_key
from models.database import connect
from models.schema import upgrade
from stack.development import DevelopmentStack
from workflows.contract import SEARCH_ATTRIBUTES

_numbers = itertools.count(1)

# What commands and workers of the tests derive from the default link secret.
ADDRESS_KEY = address_key(b"development-only")


@pytest.fixture(scope="session", autouse=True)
def _no_settings_from_outside() -> Iterator[None]:
    """A developer's own CARILLON_… variables must not reach the tests."""
    kept = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith("CARILLON_")}
    yield
    os.environ.update(kept)


@pytest.fixture(scope="session")
def run_dir() -> Iterator[Path]:
    """A folder for this run: short, because sockets live in it, and open to the database's user."""
    folder = Path(tempfile.mkdtemp(prefix="carillon-test-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres_url(run_dir: Path) -> Iterator[str]:
    """URL of a real PostgreSQL server, whose database is migrated and serves as the template."""
    settings = settings_module.load(data_dir=run_dir / "shared", _env_file=None)
    with DevelopmentStack(settings, parts={"postgres"}, free_ports=True) as stack:
        url = stack.settings().database_url
        engine = connect(url)
        upgrade(engine)
        engine.dispose()
        yield url


@contextmanager
def databases(postgres_url: str) -> Iterator[Callable[[], str]]:
    """Makes databases that are migrated and empty but for the team `default`; drops them after."""
    template = make_url(postgres_url).database
    admin = create_engine(
        make_url(postgres_url).set(database="postgres"), isolation_level="AUTOCOMMIT"
    )
    made = []

    def make() -> str:
        name = f"test_{os.getpid()}_{next(_numbers)}"
        with admin.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {name} TEMPLATE {template}"))
        made.append(name)
        return make_url(postgres_url).set(database=name).render_as_string(hide_password=False)

    yield make
    with admin.connect() as connection:
        for name in made:
            connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    admin.dispose()


@pytest.fixture
def make_database(postgres_url: str) -> Iterator[Callable[[], str]]:
    """Makes databases of the test's own; see `databases`."""
    with databases(postgres_url) as make:
        yield make


@pytest.fixture
def engine(make_database: Callable[[], str]) -> Iterator[Engine]:
    """An engine on a migrated database that is this test's own."""
    made = connect(make_database(), pool_size=20, address_key=ADDRESS_KEY)
    yield made
    made.dispose()


@pytest.fixture(scope="session")
def stack(run_dir: Path) -> Iterator[DevelopmentStack]:
    """Temporal and the simulator; the database server is the one all tests share."""
    settings = settings_module.load(data_dir=run_dir / "stack", _env_file=None)
    names = [attribute.name for attribute in SEARCH_ATTRIBUTES]
    with DevelopmentStack(
        settings, parts={"temporal", "simulator"}, free_ports=True, search_attributes=names
    ) as made:
        yield made

"""What the tests of tables and queries share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, create_engine, make_url, text

from models.database import connect
from models.team import default_team_id


@pytest.fixture(scope="module")
def module_engine(postgres_url: str) -> Iterator[Engine]:
    """An engine on a migrated database for tests that leave nothing behind."""
    url = make_url(postgres_url)
    admin = create_engine(url.set(database="postgres"), isolation_level="AUTOCOMMIT")
    name = "test_of_a_module"
    with admin.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name} TEMPLATE {url.database}"))
    made = connect(url.set(database=name).render_as_string(hide_password=False))
    yield made
    made.dispose()
    with admin.connect() as connection:
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    admin.dispose()


@pytest.fixture
def team(engine: Engine) -> int:
    """Id of the default team."""
    with engine.connect() as connection:
        return default_team_id(connection)

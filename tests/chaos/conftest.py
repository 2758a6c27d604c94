"""A stack of its own for each storm: its PostgreSQL and Temporal are killed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

import settings as settings_module
from models.database import connect
from models.schema import upgrade
from stack.development import DevelopmentStack
from tests.scenario import Scenario, scenario
from workflows.contract import SEARCH_ATTRIBUTES


@pytest.fixture
def make_scenario(run_dir: Path, tmp_path: Path) -> Iterator[Callable[..., Scenario]]:
    """Makes a scenario on a PostgreSQL, Temporal and simulator that are this test's own."""
    folder = run_dir / f"storm-{tmp_path.name}"[:60]
    folder.mkdir()
    settings = settings_module.load(data_dir=folder, _env_file=None)
    names = [attribute.name for attribute in SEARCH_ATTRIBUTES]
    with ExitStack() as made:
        stack = made.enter_context(
            DevelopmentStack(
                settings,
                parts={"postgres", "temporal", "simulator"},
                free_ports=True,
                search_attributes=names,
            )
        )
        url = stack.settings().database_url
        engine = connect(url)
        upgrade(engine)
        engine.dispose()

        def make(**times: object) -> Scenario:
            return made.enter_context(scenario(stack, url, tmp_path, **times))

        yield make

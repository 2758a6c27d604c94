"""Scenarios on the shared real stack: PostgreSQL, Temporal, simulator."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from stack.development import DevelopmentStack
from tests.scenario import Scenario, scenario


@pytest.fixture
def make_scenario(
    stack: DevelopmentStack, make_database: Callable[[], str], tmp_path: Path
) -> Iterator[Callable[..., Scenario]]:
    """Makes a scenario in a database of its own; its workers are stopped after the test."""
    with ExitStack() as made:

        def make(**times: object) -> Scenario:
            return made.enter_context(scenario(stack, make_database(), tmp_path, **times))

        yield make

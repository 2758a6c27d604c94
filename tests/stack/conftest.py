"""A data folder that PostgreSQL's user reaches, and stacks that are always stopped."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

import pytest

from settings import Settings, load
from stack.development import DevelopmentStack
from stack.reset import reset


@pytest.fixture
def data_dir() -> Iterator[Path]:
    """Pytest's own folders are closed to other users, as which PostgreSQL runs when we are root."""
    top = Path(tempfile.mkdtemp(prefix="carillon-test-"))
    top.chmod(0o755)
    folder = top / "data"
    yield folder
    reset(folder)
    shutil.rmtree(top)


@pytest.fixture
def settings(data_dir: Path) -> Settings:
    return load(data_dir=data_dir)


@pytest.fixture
def said() -> list[str]:
    """What the stack says to the person who watches."""
    return []


@pytest.fixture
def running(settings: Settings, said: list[str]) -> Iterator[Callable[..., DevelopmentStack]]:
    """Starts an isolated stack of the parts named; it is stopped when the test ends."""
    started: list[DevelopmentStack] = []

    def run(parts: Collection[str], folder: Path | None = None) -> DevelopmentStack:
        given = settings.model_copy(update={"data_dir": folder or settings.data_dir})
        stack = DevelopmentStack(
            given,
            parts=parts,
            isolated=True,
            search_attributes=["SendId", "Team"],
            say=said.append,
        )
        started.append(stack)
        stack.start()
        return stack

    yield run
    for stack in started:
        stack.stop()

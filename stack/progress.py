"""How far a long task is: a bar at a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)

LINE_EVERY_SECONDS = 30.0


class Stages(Protocol):
    """A task that goes through named stages, each with a number of steps (None: unknown)."""

    def begin(self, stage: str, steps: int | None = None) -> None:
        """A new stage begins; the one before is complete."""
        ...

    def reached(self, steps: int) -> None:
        """So many steps of the stage are done."""
        ...


@contextmanager
def stages(say: Callable[[str], None]) -> Iterator[Stages]:
    """Stages shown on standard error where that is a terminal, else by `say`."""
    if not sys.stderr.isatty():
        yield _Lines(say)
        return
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        yield _Bars(progress)


class _Lines:
    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._stage = ""
        self._steps: int | None = None
        self._said = 0.0

    def begin(self, stage: str, steps: int | None = None) -> None:
        self._stage, self._steps, self._said = stage, steps, time.monotonic()
        self._say(f"  {stage}")

    def reached(self, steps: int) -> None:
        if time.monotonic() - self._said > LINE_EVERY_SECONDS:
            self._said = time.monotonic()
            self._say(f"  {self._stage}: {steps}" + (f" of {self._steps}" if self._steps else ""))


class _Bars:
    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._task: TaskID | None = None

    def begin(self, stage: str, steps: int | None = None) -> None:
        if self._task is not None:
            done = self._progress.tasks[self._task].completed
            self._progress.update(self._task, completed=done, total=done)
        self._task = self._progress.add_task(stage, total=steps)

    def reached(self, steps: int) -> None:
        if self._task is not None:
            self._progress.update(self._task, completed=steps)

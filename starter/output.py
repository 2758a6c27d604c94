"""How the CLI speaks: results on standard output, all else on standard error; tables or JSON.

rich is imported when something is printed, so that `carillon --help` stays quick.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

# Where nobody watches there is no width to keep to: ids and addresses stay whole, for grep.
_PIPE_WIDTH = 240


@dataclass(slots=True)
class _Manner:
    """How this process was asked to speak."""

    json: bool = False
    debug: bool = False


_manner = _Manner()


def configure(*, json: bool = False, debug: bool = False) -> None:
    """Speak like this from now on; called by the CLI's edge."""
    _manner.json, _manner.debug = json, debug


def wants_json() -> bool:
    """Whether standard output gets JSON and nothing else."""
    return _manner.json


def wants_debug() -> bool:
    """Whether an unexpected error shows its traceback."""
    return _manner.debug


def show(value: object, for_people: Callable[[], RenderableType]) -> None:
    """A command's result: `value` as JSON where that is asked for, else what `for_people` makes.

    `value` is anything orjson takes: plain values, dataclasses, enums, datetimes. A text of
    `for_people` is printed as it is: brackets in it are no markup, and lines are not wrapped.
    """
    if wants_json():
        write_json(value)
        return
    made = for_people()
    if isinstance(made, str):
        sys.stdout.write(made + "\n")
    else:
        console().print(made)


def write_json(value: object) -> None:
    """One JSON document on standard output, indented."""
    import orjson

    sys.stdout.write(orjson.dumps(value, option=orjson.OPT_INDENT_2, default=str).decode() + "\n")


def say(sentence: str) -> None:
    """Progress and remarks: a line on standard error, also where JSON is asked for."""
    sys.stderr.write(sentence + "\n")
    sys.stderr.flush()


def fail(sentence: str) -> None:
    """What went wrong: one sentence on standard error; as {"error": …} on standard output too with --json."""
    if wants_json():
        write_json({"error": sentence})
    say(f"carillon: {sentence}")


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], none: str) -> RenderableType:
    """A plain table; `none` is said when there are no rows. Numbers stand to the right."""
    from rich.table import Table
    from rich.text import Text

    cells = [list(row) for row in rows]
    if not cells:
        return none
    made = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for number, column in enumerate(columns):
        is_number = all(isinstance(row[number], int | float) for row in cells)
        made.add_column(column, justify="right" if is_number else "left", overflow="fold")
    for row in cells:
        # As Text: a topic named "[bold]" is shown, not obeyed.
        made.add_row(*(Text(_cell(value)) for value in row))
    return made


@lru_cache(maxsize=2)
def console(*, stderr: bool = False) -> Console:
    """The terminal. rich itself keeps to NO_COLOR and leaves colour out of files and pipes."""
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else _PIPE_WIDTH
    return Console(stderr=stderr, highlight=False, width=width, soft_wrap=False)


def _cell(value: object) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case int():
            return f"{value:,}"
        case float():
            return f"{value:g}"
        case _:
            return str(value)

"""A progress bar for imports: the bytes of the file, and rows a second."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from starter import output


@contextmanager
def import_progress(path: Path) -> Iterator[Callable[[int, int], None]]:
    """Shows (bytes done, rows done) on standard error; nothing with --json or without a terminal."""
    if output.wants_json() or not sys.stderr.isatty():
        yield lambda bytes_done, rows_done: None
        return
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
    )
    began = time.monotonic()
    size = path.stat().st_size if path.is_file() else None
    with Progress(*columns, console=output.console(stderr=True), transient=True) as progress:
        task = progress.add_task(path.name, total=size, rate="")

        def show(bytes_done: int, rows_done: int) -> None:
            rate = rows_done / max(time.monotonic() - began, 0.001)
            progress.update(task, completed=bytes_done, rate=f"{rate:,.0f} rows/s")

        yield show

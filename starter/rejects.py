"""The rows of an import that were not taken, in a CSV file beside the imported one."""

from __future__ import annotations

import csv
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from starter.csv_file import ImportRefused

_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


class Rejects:
    """A context: writes FILE.rejects.csv, but only if a row is rejected and the block succeeds.

    An older file of that name is replaced, or removed when nothing is rejected any more. Its columns
    are line, reason, and those of the imported file.
    """

    def __init__(self, imported: Path) -> None:
        self.count = 0
        self.header: list[str] = []
        self._target = imported.with_name(f"{imported.stem}.rejects.csv")
        self._part = self._target.with_name(f"{self._target.name}.part")
        self._open = ExitStack()
        self._writer: Any = None

    @property
    def path(self) -> Path | None:
        """Where the rejected rows are; None: there are none."""
        return self._target if self.count else None

    def reject(self, line: int, reason: str, cells: list[str]) -> None:
        """Write a bad row. Raises ImportRefused where the file cannot be written."""
        try:
            if self._writer is None:
                file = self._open.enter_context(self._part.open("w", encoding="utf-8", newline=""))
                self._writer = csv.writer(file, lineterminator="\n")
                self._writer.writerow(["line", "reason", *map(as_text_cell, self.header)])
            self._writer.writerow([line, reason, *map(as_text_cell, cells)])
        except OSError as error:
            raise ImportRefused(
                f"Cannot write the rejected rows to {self._target}: {error.strerror}."
            ) from error
        self.count += 1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with suppress(OSError):
            self._open.close()
        if kind is not None:
            self._part.unlink(missing_ok=True)
        elif self.count:
            self._part.replace(self._target)
        else:
            self._target.unlink(missing_ok=True)


def as_text_cell(cell: str) -> str:
    """The cell, so that a spreadsheet takes it for text and never for a formula."""
    return f"'{cell}" if cell.startswith(_FORMULA_STARTS) else cell

"""Reading a CSV file that people made: in a stream, with the line of everything that is wrong.

A row that is wrong goes to the rejects and stops nothing; a file that is wrong as a whole is refused.
"""

from __future__ import annotations

import codecs
import csv
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

MAX_COLUMNS = 200
MAX_CELL_LENGTH = 10_000
"""In characters. A longer cell is one bad row."""

MAX_RECORD_LENGTH = 4_000_000
"""In characters: more than a row of legal cells can have. Bounds what is held in memory at once."""

_QUOTE_LOST_AFTER = 1_000_000
"""A quoted cell that has not ended after so many characters lacks its closing quotation mark."""

_DELIMITERS = ",;\t"
_CELL_TOO_LONG = f"A cell has more than {MAX_CELL_LENGTH:,} characters."

Reject = Callable[[int, str, list[str]], None]
"""Takes a bad row: the number of its first line, the reason, its cells."""


class ImportRefused(Exception):
    """The file cannot be imported and nothing was changed; the message is one sentence or two."""


class CsvFile:
    """The rows of one open file. Make it with `open_csv`."""

    def __init__(self, file: TextIO, path: Path, encoding: str) -> None:
        self._file, self._path, self._encoding = file, path, encoding
        self._again: deque[str] = deque()
        self._taken: list[str] = []
        self._line = 0
        self._delimiter = ","
        self.characters_read = 0
        self.header: list[str] = self._read_header()

    def bytes_read(self) -> int:
        """How far the file has been read; some of it may still wait in a buffer."""
        return self._file.buffer.tell()

    def rows(self, reject: Reject) -> Iterator[tuple[int, list[str]]]:
        """The rows that have a cell for each column, each with the number of its first line."""
        width = len(self.header)
        for line, cells in self._records(reject):
            if len(cells) != width:
                reject(line, f"The row has {len(cells)} cells, the header {width}.", cells)
            elif (problem := self._problem_of(cells)) is None:
                yield line, cells
            else:
                reject(line, problem, cells)

    def _problem_of(self, cells: list[str]) -> str | None:
        text = self._taken[0] if len(self._taken) == 1 else "".join(self._taken)
        if "\0" in text:
            return "The row contains the character NUL."
        if len(text) > MAX_CELL_LENGTH and any(len(cell) > MAX_CELL_LENGTH for cell in cells):
            return _CELL_TOO_LONG
        return None

    def _records(self, reject: Reject) -> Iterator[tuple[int, list[str]]]:
        """What the csv module makes of the file, line by line; empty lines are passed over."""
        while True:
            reader = csv.reader(self._lines(), delimiter=self._delimiter, strict=True)
            try:
                for cells in reader:
                    if cells:
                        yield self._line - len(self._taken) + 1, cells
                    self._taken.clear()
                return
            except csv.Error as error:
                self._reject_first_line(reject, error)

    def _reject_first_line(self, reject: Reject, error: Exception) -> None:
        """Give up the line on which a broken record begins, and read those after it anew."""
        first, *others = self._taken
        self._line -= len(others)
        self._again.extendleft(reversed(others))
        self._taken.clear()
        if others or "unexpected end" in str(error):
            reason = "A quotation mark is opened and not closed."
        elif len(first) > _QUOTE_LOST_AFTER:
            reason = _CELL_TOO_LONG
        else:
            reason = "A quotation mark inside a quoted cell must be written twice."
        reject(self._line, reason, [first.rstrip("\r\n")[:MAX_CELL_LENGTH]])

    def _lines(self) -> Iterator[str]:
        """Physical lines, those of the current record kept in `_taken`."""
        taken_length = 0
        while True:
            line = self._again.popleft() if self._again else self._read_line()
            if not line:
                return
            self._line += 1
            taken_length = taken_length + len(line) if self._taken else len(line)
            self.characters_read += len(line)
            self._taken.append(line)
            if taken_length > MAX_RECORD_LENGTH:
                raise csv.Error("field larger than a record")
            yield line

    def _read_line(self) -> str:
        try:
            line = self._file.readline(MAX_RECORD_LENGTH)
        except UnicodeError as error:
            raise self._undecodable() from error
        if len(line) == MAX_RECORD_LENGTH and not line.endswith(("\n", "\r")):
            raise ImportRefused(
                f"{self._path.name}: line {self._line + 1} has more than {MAX_RECORD_LENGTH:,}"
                " characters. Is this a CSV file?"
            )
        return line

    def _undecodable(self) -> ImportRefused:
        line, offset = _first_undecodable(self._path, self._encoding)
        name = "UTF-16" if self._encoding == "utf-16" else "UTF-8"
        return ImportRefused(
            f"{self._path.name}: line {line}, byte {offset + 1} of the file, is not {name}."
            " Save the file as UTF-8 (in Excel: CSV UTF-8)."
        )

    def _read_header(self) -> list[str]:
        """The names of the columns, trimmed; also finds out the delimiter."""
        while (line := self._read_line()) and not line.strip():
            self._line += 1
        if not line:
            raise ImportRefused(f"{self._path.name} is empty.")
        if "\0" in line:
            raise ImportRefused(
                f"{self._path.name} is no text: it contains the character NUL. UTF-16 needs a byte"
                " order mark; better save the file as UTF-8."
            )
        self._delimiter = max(_DELIMITERS, key=line.count)
        try:
            names = next(csv.reader([line], delimiter=self._delimiter, strict=True))
        except csv.Error as error:
            raise ImportRefused(
                f"{self._path.name}: the header has a quotation mark that is not closed."
            ) from error
        self._line += 1
        if len(names) > MAX_COLUMNS:
            raise ImportRefused(
                f"{self._path.name} has {len(names):,} columns; {MAX_COLUMNS} are the most."
            )
        return [name.strip() for name in names]


@contextmanager
def open_csv(path: Path) -> Iterator[CsvFile]:
    """The file, open, with its header read. Raises ImportRefused, now and while its rows are read.

    UTF-8 with or without a byte order mark, or UTF-16 with one; cells parted by , ; or TAB.
    """
    if not path.is_file():
        raise ImportRefused(f"{path} is not a file." if path.exists() else f"There is no {path}.")
    # The longest cell that the module reads; for the process, but nobody else reads such cells.
    csv.field_size_limit(_QUOTE_LOST_AFTER)
    try:
        with path.open("rb") as raw:
            encoding = _encoding_of(raw.read(2))
        file = path.open(encoding=encoding, newline="")
    except OSError as error:
        raise ImportRefused(f"Cannot read {path}: {error.strerror}.") from error
    with file:
        yield CsvFile(file, path, encoding)


def _encoding_of(start: bytes) -> str:
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    return "utf-8-sig"


def _first_undecodable(path: Path, encoding: str) -> tuple[int, int]:
    """The line (from 1) and the offset in the file (from 0) of the first byte that is no text."""
    decoder = codecs.getincrementaldecoder(encoding)()
    line, read = 1, 0
    with path.open("rb") as raw:
        while True:
            block = raw.read(1 << 20)
            waiting = len(decoder.getstate()[0])
            try:
                line += decoder.decode(block, final=not block).count("\n")
            except UnicodeDecodeError as error:
                line += decoder.decode(block[: max(0, error.start - waiting)]).count("\n")
                return line, read - waiting + error.start
            read += len(block)
            if not block:
                return line, read


def column_positions(header: list[str], path: Path, *, known: tuple[str, ...]) -> dict[str, int]:
    """Where each column is; those of `known` in whatever case they are written.

    Raises ImportRefused where a name is missing or there twice.
    """
    positions: dict[str, int] = {}
    for position, written in enumerate(header):
        name = written.lower() if written.lower() in known else written
        if not name:
            raise ImportRefused(f"{path.name}: column {position + 1} has no name.")
        if name in positions:
            raise ImportRefused(f"{path.name} has two columns '{name}'.")
        positions[name] = position
    if "email" not in positions:
        raise ImportRefused(
            f"{path.name} has no column 'email'; its first line has: {', '.join(header)[:200]}."
        )
    return positions

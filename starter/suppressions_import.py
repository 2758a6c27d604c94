"""`carillon suppressions import`: the addresses of a CSV file are not sent to any more."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryFile

import orjson
from sqlalchemy import Connection, Engine

from domain.person import InvalidValue, normalise_email
from domain.send import Channel
from models.database import in_transaction
from models.suppression import IMPORT, suppress
from models.team import default_team_id
from starter.csv_file import CsvFile, Reject, column_positions, open_csv
from starter.rejects import Rejects

DEFAULT_REASON = "manual"
MAX_REASON_LENGTH = 100
CHUNK = 20_000
"""Addresses of one transaction."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SuppressionImportResult:
    """What came of an import: rows = added + unchanged + rejected."""

    rows: int
    added: int
    unchanged: int
    """Rows whose address was suppressed already, by an earlier row too."""
    rejected: int
    rejects_path: Path | None
    seconds: float


def import_suppressions(
    engine: Engine,
    path: Path,
    *,
    on_progress: Callable[[int, int], None] = lambda bytes_done, rows_done: None,
) -> SuppressionImportResult:
    """Suppress the e-mail addresses of the file; columns `email` and `reason`, others are passed over.

    All rows are read and checked before the first change, then written in chunks. An address that is
    suppressed already keeps its reason. Raises ImportRefused, with nothing changed.
    """
    began = time.monotonic()
    added, taken = 0, 0
    with Rejects(path) as rejects, open_csv(path) as file, TemporaryFile() as checked:
        rejects.header = file.header
        positions = column_positions(file.header, path, known=("email", "reason"))
        for chunk in _chunks(file, positions, rejects.reject):
            checked.write(orjson.dumps(chunk) + b"\n")
            taken += len(chunk)
            on_progress(file.bytes_read(), taken + rejects.count)
        checked.seek(0)
        for line in checked:
            first_reasons = dict(reversed(orjson.loads(line)))
            added += in_transaction(engine, partial(_suppress, reasons=first_reasons))
    return SuppressionImportResult(
        rows=taken + rejects.count,
        added=added,
        unchanged=taken - added,
        rejected=rejects.count,
        rejects_path=rejects.path,
        seconds=round(time.monotonic() - began, 3),
    )


def _chunks(
    file: CsvFile, positions: dict[str, int], reject: Reject
) -> Iterator[list[tuple[str, str]]]:
    """Normalised addresses with their reasons; the last chunk may be empty."""
    chunk: list[tuple[str, str]] = []
    for line, cells in file.rows(reject):
        try:
            chunk.append(_address_and_reason(cells, positions))
        except InvalidValue as error:
            reject(line, str(error), cells)
        if len(chunk) == CHUNK:
            yield chunk
            chunk = []
    yield chunk


def _address_and_reason(cells: list[str], positions: dict[str, int]) -> tuple[str, str]:
    try:
        address = normalise_email(cells[positions["email"]])
    except InvalidValue as error:
        raise InvalidValue(f"email: {error}") from error
    reason = cells[positions["reason"]].strip() if "reason" in positions else ""
    if len(reason) > MAX_REASON_LENGTH:
        raise InvalidValue(f"reason: A reason has at most {MAX_REASON_LENGTH} characters.")
    return address, reason or DEFAULT_REASON


def _suppress(connection: Connection, reasons: dict[str, str]) -> int:
    return suppress(
        connection,
        default_team_id(connection),
        reasons,
        channel=Channel.EMAIL,
        source=IMPORT,
    )

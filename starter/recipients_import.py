"""`carillon recipients import`: the people of a CSV file become recipients, and join a topic."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path

import orjson
from sqlalchemy import Connection, Engine

from domain.person import (
    InvalidValue,
    is_attribute_name,
    normalise_email,
    normalise_external_id,
    normalise_locale,
    normalise_phone,
    normalise_time_zone,
    wish_of,
)
from models.database import in_transaction
from models.recheck import recheck_local_sends
from models.recipient_import import (
    Counts,
    Joining,
    StagedRow,
    Staging,
    import_session,
    joining,
    refresh_statistics,
    staging_tables,
)
from models.recipient_match import resolve
from models.team import add_attribute_names, default_team_id
from models.topic import topic_id
from starter.csv_file import CsvFile, ImportRefused, Reject, column_positions, open_csv
from starter.rejects import Rejects

# In the order of StagedRow's texts.
_RULES: dict[str, Callable[[str], str]] = {
    "external_id": normalise_external_id,
    "email": normalise_email,
    "first_name": str,
    "last_name": str,
    "locale": normalise_locale,
    "time_zone": normalise_time_zone,
    "phone": normalise_phone,
    "subscribed": lambda cell: "true" if wish_of(cell) else "false",
}
KNOWN_COLUMNS = tuple(_RULES)

CHUNK = 20_000
"""People of one transaction: bounds the locks, and what a kill undoes."""

_STAGED_CHARACTERS = 8_000_000
"""Of the file, held in memory at once."""

_SESSIONS = 2
"""Sessions that write chunks side by side: one keeps one core of PostgreSQL busy, at 25 µs a person."""

_READING_SHARE = 0.4
"""Of the time, what reading and staging take."""

Progress = Callable[[int, int], None]
"""Told how much is done, as bytes and rows of the file: one that is read but not written counts by
the share of the time that reading takes."""

Keep = Callable[[Connection, Counts], None]
"""Told what came of a chunk, in its transaction."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportResult:
    """What came of an import: rows = added + updated + unchanged + merged + rejected."""

    rows: int
    added: int
    updated: int
    unchanged: int
    merged: int
    """Rows that meant a person of an earlier row."""
    rejected: int
    subscribed: int
    """Subscriptions that this import began or renewed."""
    pending: int
    """The same where the topic asks for double opt-in."""
    left: int
    """Subscriptions that this import ended, or recorded as ended."""
    stayed_left: int
    """People who had left the topic and were not asked back."""
    rejects_path: Path | None
    seconds: float


def import_recipients(  # noqa: PLR0913  what is imported, and who is told of it
    engine: Engine,
    path: Path,
    *,
    topic: str | None = None,
    resubscribe: bool = False,
    on_progress: Progress = lambda bytes_done, rows_done: None,
    team_id: int | None = None,
    keep: Keep = lambda session, counts: None,
) -> ImportResult:
    """Add and update the recipients of the file; with a topic, subscribe them to it.

    All rows are read and checked before the first change. Then chunks are committed one by one: a
    kill leaves whole chunks, and importing the file again completes it; what is equal is not written.
    Empty cells erase nothing, and who has left the topic stays so unless `resubscribe`.
    `team_id`: None is the team `default`. `keep` is told in each chunk's transaction what it did.
    Raises ImportRefused and UnknownTopic, with nothing changed.
    """
    began = time.monotonic()
    with engine.connect() as connection:
        team = default_team_id(connection) if team_id is None else team_id
        into = joining_of(connection, team, topic, resubscribe)
    with Rejects(path) as rejects, open_csv(path) as file:
        parser = RecipientParser(file.header, path)
        rejects.header = file.header
        progress = _Progress(path.stat().st_size, on_progress)
        with import_session(engine, team) as session, staging_tables(session, team) as staging:
            staged = _stage(session, staging, parser.rows(file, rejects.reject), file, progress)
            people = _resolve(session, staging, sorted(parser.attributes))
            progress.expect(staged + rejects.count, people)
            counts = _write(engine, staging, people, into, progress, keep)
            refresh_statistics(session, counts.added)
            in_transaction(engine, lambda c: recheck_local_sends(c, team))
    return ImportResult(
        **asdict(counts),
        rows=staged + rejects.count,
        merged=staged - people,
        rejected=rejects.count,
        rejects_path=rejects.path,
        seconds=round(time.monotonic() - began, 3),
    )


def joining_of(
    connection: Connection, team: int, topic: str | None, resubscribe: bool
) -> Joining | None:
    """What the people of the file join; None: nothing. Raises UnknownTopic, ImportRefused."""
    if topic is not None:
        return joining(connection, topic_id(connection, team, topic), brings_back=resubscribe)
    if resubscribe:
        raise ImportRefused("Say to which topic people are to be subscribed again: --topic KEY.")
    return None


class RecipientParser:
    """Makes normalised rows of the file's cells. Raises ImportRefused for a header that is wrong."""

    def __init__(self, header: list[str], path: Path) -> None:
        positions = column_positions(header, path, known=KNOWN_COLUMNS)
        self._known = [
            (slot, positions.pop(name), name, rule)
            for slot, (name, rule) in enumerate(_RULES.items())
            if name in positions
        ]
        self.attributes = positions
        """Where each attribute is."""
        for name in positions:
            if not is_attribute_name(name):
                raise ImportRefused(
                    f"{path.name}: '{name[:100]}' cannot be the name of a column; use letters,"
                    " digits and _, and no digit first."
                )

    def rows(self, file: CsvFile, reject: Reject) -> Iterator[StagedRow]:
        """The valid rows; about 6 µs each."""
        attributes = list(self.attributes.items())
        for line, cells in file.rows(reject):
            try:
                texts = self._texts(cells)
            except InvalidValue as error:
                reject(line, str(error), cells)
                continue
            own = {name: cell for name, position in attributes if (cell := cells[position])}
            yield StagedRow._make([line, *texts, orjson.dumps(own).decode() if own else ""])

    def _texts(self, cells: list[str]) -> list[str]:
        texts = [""] * len(_RULES)
        for slot, position, column, rule in self._known:
            if cell := cells[position].strip():
                try:
                    texts[slot] = rule(cell)
                except InvalidValue as error:
                    raise InvalidValue(f"{column}: {error}") from error
        if not texts[_EMAIL]:
            raise InvalidValue("email: There is no e-mail address.")
        return texts


_EMAIL = KNOWN_COLUMNS.index("email")


def _stage(
    session: Connection,
    staging: Staging,
    rows: Iterator[StagedRow],
    file: CsvFile,
    progress: _Progress,
) -> int:
    """How many rows were staged."""
    held: list[StagedRow] = []
    staged, characters = 0, 0

    def copy() -> None:
        staging.copy(session, held)
        session.commit()
        progress.read(file.bytes_read(), staged)
        held.clear()

    for row in rows:
        held.append(row)
        if len(held) == CHUNK or file.characters_read - characters > _STAGED_CHARACTERS:
            staged += len(held)
            characters = file.characters_read
            copy()
    staged += len(held)
    copy()
    return staged


def _resolve(session: Connection, staging: Staging, attributes: list[str]) -> int:
    """How many people the rows mean. The names of their attributes are remembered."""
    people = resolve(session, staging)
    if people and attributes:
        add_attribute_names(session, staging.team_id, attributes)
    session.commit()
    return people


def _write(
    engine: Engine,
    staging: Staging,
    people: int,
    into: Joining | None,
    progress: _Progress,
    keep: Keep,
) -> Counts:
    """What came of the people. The first error stops the chunks that have not begun."""
    counts = Counts()

    def write(lo: int) -> Counts:
        hi = min(lo + CHUNK, people)

        def chunk(session: Connection) -> Counts:
            done = staging.write(session, lo, hi, into)
            keep(session, done)
            return done

        return in_transaction(engine, chunk)

    with ThreadPoolExecutor(_SESSIONS) as sessions:
        try:
            for chunk in as_completed(
                [sessions.submit(write, lo) for lo in range(0, people, CHUNK)]
            ):
                counts.add(chunk.result())
                progress.wrote(counts.added + counts.updated + counts.unchanged)
        except BaseException:
            sessions.shutdown(wait=False, cancel_futures=True)
            raise
    return counts


class _Progress:
    """Turns what the two halves of an import have done into one measure."""

    def __init__(self, size_bytes: int, tell: Progress) -> None:
        self._size, self._tell = size_bytes, tell
        self._rows = self._people = 0

    def read(self, bytes_read: int, rows: int) -> None:
        """So much is read and staged."""
        self._tell(int(bytes_read * _READING_SHARE), int(rows * _READING_SHARE))

    def expect(self, rows: int, people: int) -> None:
        """The whole file is read: these are its rows and the people they mean."""
        self._rows, self._people = rows, people
        self.wrote(0)

    def wrote(self, people: int) -> None:
        """So many people are written."""
        written = people / self._people if self._people else 1.0
        share = _READING_SHARE + (1 - _READING_SHARE) * written
        self._tell(round(self._size * share), round(self._rows * share))

"""Imports of recipients as jobs: accepted with their file, worked on by whoever is there.

A job that is broken off, also by a kill, is begun anew: importing a file again changes only what
is not there yet, and the counts moved with the chunks that they count.
"""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Connection, Engine

from models.database import in_transaction
from models.import_job import (
    MAX_TRIES,
    ClaimedJob,
    JobLine,
    NewJob,
    Totals,
    add_job,
    claimed_job,
    count_chunk,
    fail_job,
    finish_job,
    note_progress,
)
from models.topic import UnknownTopic
from starter.csv_file import ImportRefused, open_csv
from starter.recipients_import import ImportResult, RecipientParser, import_recipients, joining_of

log = logging.getLogger("starter.import_jobs")

PROGRESS_EVERY_SECONDS = 0.5
_FILE = "import.csv"
_FOLDER = "carillon-import-"


class BrokenOff(Exception):
    """The process is to stop: the job stays open for the next one."""


def submit(connection: Connection, team_id: int, new: NewJob) -> JobLine:
    """The job, queued. Raises ImportRefused and UnknownTopic for what can be seen at once."""
    joining_of(connection, team_id, new.topic, new.resubscribe)
    with _as_file(new.content) as path, open_csv(path) as file:
        RecipientParser(file.header, path)
    return add_job(connection, team_id, new)


def run_next(engine: Engine, must_stop: Callable[[], bool] = lambda: False) -> bool:
    """Whether there was a job to work on. Raises BrokenOff, and what stopped it; it stays open then."""
    with claimed_job(engine) as job:
        if job is None:
            return False
        _run(engine, job, must_stop)
    return True


def _run(engine: Engine, job: ClaimedJob, must_stop: Callable[[], bool]) -> None:
    if job.tries > MAX_TRIES:
        _fail(engine, job, f"It was begun {MAX_TRIES} times and never came to its end.")
        return
    try:
        with _as_file(job.content) as path:
            result = import_recipients(
                engine,
                path,
                topic=job.topic,
                resubscribe=job.resubscribe,
                on_progress=_teller(engine, job, must_stop),
                team_id=job.team_id,
                keep=lambda session, counts: count_chunk(session, job.id, counts),
            )
            _finish(engine, job, result)
    except (ImportRefused, UnknownTopic) as error:
        _fail(engine, job, str(error))


def _teller(
    engine: Engine, job: ClaimedJob, must_stop: Callable[[], bool]
) -> Callable[[int, int], None]:
    """Writes the progress down now and then; raises BrokenOff where the process is to stop."""
    told_at = 0.0

    def tell(bytes_done: int, rows_done: int) -> None:
        nonlocal told_at
        if must_stop():
            raise BrokenOff
        if time.monotonic() - told_at >= PROGRESS_EVERY_SECONDS:
            told_at = time.monotonic()
            in_transaction(engine, lambda c: note_progress(c, job.id, bytes_done))

    return tell


def _finish(engine: Engine, job: ClaimedJob, result: ImportResult) -> None:
    rejects = result.rejects_path.read_bytes() if result.rejects_path else None
    totals = Totals(
        rows=result.rows,
        merged=result.merged,
        rejected=result.rejected,
        stayed_left=result.stayed_left,
    )
    in_transaction(engine, lambda connection: finish_job(connection, job.id, totals, rejects))
    log.info("import.finished", extra={"job_id": job.id, "rows": result.rows, "tries": job.tries})


def _fail(engine: Engine, job: ClaimedJob, why: str) -> None:
    in_transaction(engine, lambda connection: fail_job(connection, job.id, why))
    log.warning("import.failed", extra={"job_id": job.id, "tries": job.tries})


@contextmanager
def _as_file(content: bytes) -> Iterator[Path]:
    """A file that is gone after the block; only this user may read it."""
    with tempfile.TemporaryDirectory(prefix=f"{_FOLDER}{os.getpid()}-") as folder:
        path = Path(folder) / _FILE
        path.write_bytes(content)
        yield path


def remove_leftovers() -> None:
    """Remove the files of imports that were killed; to be called when a process begins."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_FOLDER}*-*"):
        owner = folder.name.removeprefix(_FOLDER).partition("-")[0]
        if owner.isdecimal() and (int(owner) == os.getpid() or not _is_alive(int(owner))):
            shutil.rmtree(folder, ignore_errors=True)


def _is_alive(process_id: int) -> bool:
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True

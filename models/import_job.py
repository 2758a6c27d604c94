"""Imports that the API was given as jobs: the row is the truth, so whoever takes it up goes on.

Who works on a job holds an advisory lock of a session: it is free the moment that process dies.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

import orjson
from sqlalchemy import (
    Boolean,
    Column,
    Connection,
    Engine,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import BigInteger, Field, SQLModel

from models.columns import big, identity, moment, words
from models.recipient_import import Counts

MAX_TRIES = 10
"""Begun so often and never ended, a job is given up: something about it kills its process."""
REJECTS_KEPT_FOR = timedelta(days=7)

_LOCK_CLASS = 0x0CA2113
_IS_OPEN = "state IN ('queued', 'running')"


class JobState(StrEnum):
    """How far a job is."""

    QUEUED = "queued"
    RUNNING = "running"
    FINISHED = "finished"
    FAILED = "failed"


class ImportJob(SQLModel, table=True):
    """One file. Its content is there until the job has ended."""

    __tablename__ = "import_job"
    __table_args__ = (
        Index("import_job_team", "team_id", "id"),
        Index("import_job_open", "id", postgresql_where=text(_IS_OPEN)),
        Index("import_job_rejects", "finished_at", postgresql_where=text("rejects IS NOT NULL")),
    )

    id: int = Field(sa_column=identity())
    team_id: int = Field(sa_column=Column(BigInteger, ForeignKey("team.id"), nullable=False))
    author: str = Field(sa_column=words())
    topic: str | None = Field(sa_column=words(nullable=True))
    resubscribe: bool = Field(sa_column=Column(Boolean, nullable=False))
    state: str = Field(sa_column=words())
    tries: int = Field(sa_column=Column(Integer, nullable=False, server_default="0"))
    size_bytes: int = Field(sa_column=big())
    bytes_done: int = Field(sa_column=Column(BigInteger, nullable=False, server_default="0"))
    content: bytes | None = Field(sa_column=Column(LargeBinary, nullable=True))
    rejects: bytes | None = Field(sa_column=Column(LargeBinary, nullable=True))
    """A CSV file of the rows that were not taken."""
    counts: dict[str, Any] = Field(
        sa_column=Column(JSONB, nullable=False, server_default=text("'{}'"))
    )
    error: str = Field(sa_column=words(default=""))
    created_at: datetime = Field(sa_column=moment(nullable=False, default_now=True))
    started_at: datetime | None = Field(sa_column=moment())
    finished_at: datetime | None = Field(sa_column=moment())


class UnknownJob(Exception):
    """The team has no such job; the message is one sentence."""


class NoRejects(Exception):
    """The job has no file of rejected rows; the message is one sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewJob:
    """A file to be imported."""

    author: str
    topic: str | None
    resubscribe: bool
    content: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class JobLine:
    """A job as it is shown."""

    id: int
    topic: str | None
    resubscribe: bool
    state: JobState
    size_bytes: int
    bytes_done: int
    counts: Mapping[str, int]
    error: str
    has_rejects: bool
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimedJob:
    """A job that nobody else works on."""

    id: int
    team_id: int
    topic: str | None
    resubscribe: bool
    content: bytes
    tries: int
    """This one counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """What the last try of an import, which went to the end, saw of the whole file."""

    rows: int
    merged: int
    rejected: int
    stayed_left: int


_LINES = """
    SELECT id, topic, resubscribe, state, size_bytes, bytes_done, counts, error,
           rejects IS NOT NULL AS has_rejects, created_at, started_at, finished_at
    FROM import_job WHERE team_id = :team
"""


def add_job(connection: Connection, team_id: int, new: NewJob) -> JobLine:
    """The job, queued."""
    made: int = connection.execute(
        text(
            "INSERT INTO import_job (team_id, author, topic, resubscribe, state, size_bytes, content)"
            " VALUES (:team, :author, :topic, :resubscribe, :state, :size, :content) RETURNING id"
        ),
        {
            "team": team_id,
            "author": new.author,
            "topic": new.topic,
            "resubscribe": new.resubscribe,
            "state": JobState.QUEUED,
            "size": len(new.content),
            "content": new.content,
        },
    ).scalar_one()
    return find_job(connection, team_id, made)


def find_job(connection: Connection, team_id: int, job_id: int) -> JobLine:
    """The job. Raises UnknownJob, also for one of another team."""
    row = (
        connection.execute(text(_LINES + " AND id = :id"), {"team": team_id, "id": job_id})
        .mappings()
        .one_or_none()
    )
    if row is None:
        raise UnknownJob("There is no import with this id.")
    return _line(row)


def list_jobs(
    connection: Connection, team_id: int, *, before: int | None = None, limit: int = 100
) -> list[JobLine]:
    """Jobs of the team, newest first, those with ids below `before`."""
    rows = connection.execute(
        text(_LINES + " AND id < coalesce(:before, 9223372036854775807) ORDER BY id DESC LIMIT :n"),
        {"team": team_id, "before": before, "n": limit},
    )
    return [_line(row) for row in rows.mappings()]


def rejects_of(connection: Connection, team_id: int, job_id: int) -> bytes:
    """The CSV file of the rows that were not taken. Raises UnknownJob, NoRejects."""
    line = find_job(connection, team_id, job_id)
    found: bytes | None = connection.execute(
        text("SELECT rejects FROM import_job WHERE id = :id"), {"id": job_id}
    ).scalar()
    if found is None:
        raise NoRejects(
            "The import has not ended yet."
            if line.state in (JobState.QUEUED, JobState.RUNNING)
            else "Nothing was rejected, or it is more than a week ago."
        )
    return bytes(found)


@contextmanager
def claimed_job(engine: Engine) -> Iterator[ClaimedJob | None]:
    """The oldest job that is open and that nobody works on, for the block; None: there is none.

    A session stays open meanwhile, and holds the claim: a process that dies loses both.
    """
    connection = engine.connect()
    try:
        yield _claim(connection)
        connection.rollback()
        connection.execute(text("SELECT pg_advisory_unlock_all()"))
        connection.commit()
    except BaseException:
        connection.invalidate()  # and with the session its claim
        raise
    finally:
        connection.close()


def _claim(connection: Connection) -> ClaimedJob | None:
    open_jobs = connection.execute(
        text(f"SELECT id FROM import_job WHERE {_IS_OPEN} ORDER BY id LIMIT 100")  # noqa: S608
    ).scalars()
    for job_id in list(open_jobs):
        claim = {"class": _LOCK_CLASS, "id": job_id}
        locked = "SELECT pg_try_advisory_lock(:class, CAST(:id % 2147483648 AS integer))"
        if not connection.execute(text(locked), claim).scalar_one():
            continue
        # A statement of its own: the lock's last owner may have ended the job.
        row = (
            connection.execute(
                text(
                    "UPDATE import_job SET state = 'running', tries = tries + 1,"  # noqa: S608
                    f" started_at = coalesce(started_at, now()) WHERE id = :id AND {_IS_OPEN}"
                    " RETURNING id, team_id, topic, resubscribe, content, tries"
                ),
                claim,
            )
            .mappings()
            .one_or_none()
        )
        connection.commit()
        if row is not None:
            return ClaimedJob(**{**row, "content": bytes(row["content"])})
        connection.execute(
            text("SELECT pg_advisory_unlock(:class, CAST(:id % 2147483648 AS integer))"), claim
        )
    return None


_ADDED_UP = ("added", "updated", "subscribed", "pending", "left")
"""What a chunk changed; a later try finds it unchanged, so only these add up over tries."""


def count_chunk(connection: Connection, job_id: int, chunk: Counts) -> None:
    """Add what a chunk changed, in its own transaction: so that it is counted once, or undone."""
    sums = ", ".join(
        f"'{name}', coalesce(CAST(counts->>'{name}' AS bigint), 0) + :{name}" for name in _ADDED_UP
    )
    connection.execute(
        text(
            f"UPDATE import_job SET counts = counts || jsonb_build_object({sums}) WHERE id = :id"  # noqa: S608
        ),
        {"id": job_id, **{name: getattr(chunk, name) for name in _ADDED_UP}},
    )


def note_progress(connection: Connection, job_id: int, bytes_done: int) -> None:
    """How much of the file is done; it never goes back."""
    connection.execute(
        text("UPDATE import_job SET bytes_done = greatest(bytes_done, :done) WHERE id = :id"),
        {"id": job_id, "done": bytes_done},
    )


def finish_job(connection: Connection, job_id: int, totals: Totals, rejects: bytes | None) -> None:
    """The job is done: its file goes, its counts are rows = added + updated + unchanged + merged
    + rejected.
    """
    connection.execute(
        text(
            "UPDATE import_job SET state = :state, content = NULL, bytes_done = size_bytes,"
            " rejects = :rejects, finished_at = now(), counts = counts || CAST(:counts AS jsonb)"
            " || jsonb_build_object('unchanged', greatest(0, :people"
            " - coalesce(CAST(counts->>'added' AS bigint), 0)"
            " - coalesce(CAST(counts->>'updated' AS bigint), 0))) WHERE id = :id"
        ),
        {
            "id": job_id,
            "state": JobState.FINISHED,
            "rejects": rejects,
            "people": totals.rows - totals.merged - totals.rejected,
            "counts": orjson.dumps(totals).decode(),
        },
    )


def fail_job(connection: Connection, job_id: int, why: str) -> None:
    """The job cannot be done; the sentence says why. Its file goes."""
    connection.execute(
        text(
            "UPDATE import_job SET state = :state, content = NULL, error = :why,"
            " finished_at = now() WHERE id = :id"
        ),
        {"id": job_id, "state": JobState.FAILED, "why": why},
    )


def forget_rejects(connection: Connection) -> int:
    """Drop the rejected rows of jobs that ended a week ago; of how many jobs."""
    return connection.execute(
        text(
            "UPDATE import_job SET rejects = NULL WHERE rejects IS NOT NULL"
            " AND finished_at < now() - :kept"
        ),
        {"kept": REJECTS_KEPT_FOR},
    ).rowcount


def _line(row: Any) -> JobLine:
    return JobLine(**{**row, "state": JobState(row["state"])})

"""The connection to PostgreSQL: engine, transactions that know what a failure means, the clock."""

from __future__ import annotations

import select
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import IO, Any, TypeVar

import orjson
import psycopg2.extensions
from psycopg2 import errors as pg
from sqlalchemy import Connection, Engine, create_engine, text
from sqlalchemy.exc import DBAPIError, OperationalError

T = TypeVar("T")

MAX_DEADLOCKS = 5

# Kept plans may be made while tables are empty or unanalysed. See `models.prepared.one`, too.
_BY_INDEX = (
    " -c join_collapse_limit=1 -c from_collapse_limit=1"
    " -c enable_seqscan=off -c enable_hashjoin=off -c enable_mergejoin=off"
)


class DatabaseUnreachable(Exception):
    """PostgreSQL did not answer; the message is one sentence for people, without a password."""


def connect(  # noqa: PLR0913  each is said by name
    url: str,
    *,
    pool_size: int = 5,
    application_name: str = "carillon",
    address_key: str = "",
    is_checked: bool = True,
    is_indexed: bool = False,
    statement_timeout: timedelta | None = None,
    **options: Any,
) -> Engine:
    """An engine on `url` (postgresql+psycopg2://…), every session in UTC and without JIT.

    JIT costs 100 ms and more on first use of the range queries, which take 5 ms without it.
    `address_key` (domain.address_key): sessions without it fail where an erased person's suppression
    is to be written or compared.
    `statement_timeout`: what takes longer is ended, and fails as if the database were away.
    `is_checked`: False leaves out the question, at each use of a kept connection, whether it lives.
    `is_indexed`: for statements about a few rows, whose plans must not depend on statistics: joins in
    the order they are written in, each by an index.
    `options` are SQLAlchemy's.
    """
    # Generic plans: the tables are partitioned, and planning cost more than the statements.
    session = "-c timezone=UTC -c jit=off -c plan_cache_mode=force_generic_plan"
    if is_indexed:
        session += _BY_INDEX
    if statement_timeout is not None:
        session += f" -c statement_timeout={int(statement_timeout.total_seconds() * 1000)}"
    if address_key:
        session += f" -c carillon.address_key={address_key}"
    return create_engine(
        url,
        pool_size=pool_size,
        max_overflow=5,
        pool_pre_ping=is_checked,
        # What a statement was given would else stand in errors: in logs, and in Temporal's histories.
        hide_parameters=True,
        **options,
        json_serializer=lambda value: orjson.dumps(value).decode(),
        json_deserializer=orjson.loads,
        connect_args={
            "options": session,
            "application_name": application_name,
            "connect_timeout": 10,
        },
    )


def reach(engine: Engine) -> None:
    """Return when PostgreSQL answers. Raises DatabaseUnreachable with the reason."""
    try:
        with engine.connect() as connection:
            connection.execute(text("SELECT 1"))
    except OperationalError as error:
        where = engine.url.render_as_string(hide_password=True)
        reason = str(error.orig).strip().splitlines()[-1]
        raise DatabaseUnreachable(f"PostgreSQL at {where} does not answer: {reason}") from error


def in_transaction(engine: Engine, work: Callable[[Connection], T]) -> T:
    """What `work` returns, committed. A transaction that PostgreSQL ends for a deadlock is repeated.

    Any other error leaves this function; whether a COMMIT whose reply was lost took effect is then
    for the caller to look up (`is_connection_lost`).
    """
    for _ in range(MAX_DEADLOCKS - 1):
        try:
            with engine.begin() as connection:
                return work(connection)
        except DBAPIError as error:
            if not isinstance(error.orig, (pg.DeadlockDetected, pg.SerializationFailure)):
                raise
            time.sleep(0.01)
    with engine.begin() as connection:
        return work(connection)


def is_connection_lost(error: DBAPIError) -> bool:
    """Whether the session died, so that nobody told us whether the COMMIT took effect."""
    return error.connection_invalidated or isinstance(
        error.orig, (pg.OperationalError, pg.InterfaceError)
    )


def is_silent(connection: Connection) -> bool:
    """Whether the server has said nothing unasked, as it does when it closes a session. Asks nobody.

    False may have other reasons; True does not prove that the session lives.
    """
    driver: psycopg2.extensions.connection = connection.connection.driver_connection  # type: ignore[assignment]  # SQLAlchemy types it as any driver's
    poll = select.poll()
    poll.register(driver.fileno(), select.POLLIN)
    return not poll.poll(0)


def copy_from(connection: Connection, statement: str, lines: IO[Any]) -> None:
    """Run a COPY … FROM STDIN in the connection's transaction."""
    driver: psycopg2.extensions.connection = connection.connection.driver_connection  # type: ignore[assignment]  # SQLAlchemy types it as any driver's
    with driver.cursor() as cursor:
        cursor.copy_expert(statement, lines)


def clock(connection: Connection) -> datetime:
    """The database's clock, aware UTC: the time that processes share."""
    now: datetime = connection.execute(text("SELECT clock_timestamp()")).scalar_one()
    return now

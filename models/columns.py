"""Column shapes that many tables share."""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, Column, DateTime, Identity, Interval, Text, Time, func


def identity() -> Column[Any]:
    """A dense 64-bit key: ranges of it bound the hot queries."""
    return Column(BigInteger, Identity(), primary_key=True)


def moment(*, nullable: bool = True, default_now: bool = False) -> Column[Any]:
    """A timestamptz."""
    return Column(
        DateTime(timezone=True),
        nullable=nullable,
        server_default=func.now() if default_now else None,
    )


def time_of_day() -> Column[Any]:
    """A time on some clock; null where there is none."""
    return Column(Time, nullable=True)


def local_time() -> Column[Any]:
    """A date and time on everybody's own clock: no instant; null where there is none."""
    return Column(DateTime(timezone=False), nullable=True)


def duration() -> Column[Any]:
    """A length of time; null where there is none."""
    return Column(Interval, nullable=True)


def words(*, nullable: bool = False, default: str | None = None) -> Column[Any]:
    """A text."""
    return Column(Text, nullable=nullable, server_default=default)


def big(*, nullable: bool = False, primary_key: bool = False) -> Column[Any]:
    """A 64-bit number."""
    return Column(BigInteger, nullable=nullable, primary_key=primary_key, autoincrement=False)

"""The use cases of digests: write a period's messages, now or when it has ended; list periods."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, time

from sqlalchemy import Connection, Engine

from domain.digest import Cadence
from domain.local_time import zone_of
from models.database import in_transaction
from models.digest import (
    DigestSend,
    DuePeriod,
    PeriodSummary,
    WrittenPeriod,
    list_periods,
    lock_period,
    open_periods,
    write_period,
)
from models.digest_topic import digest_topic
from models.team import default_team_id, team_clock
from models.template import find_version_by_id
from settings import Settings
from starter.built_in import DIGEST, ensure_built_in
from starter.campaigns import sender_of


class DigestRefused(Exception):
    """There is no such period to write; the message is one sentence."""


def write_digests(
    engine: Engine, settings: Settings, period_id: int, *, at_once: bool = False
) -> WrittenPeriod:
    """What the period came to: one message for each person who has items in it, written once.

    They go at CARILLON_DIGEST_TIME where each person is, or `at_once`.
    Raises CampaignRefused where no sender is named.
    """

    def work(connection: Connection) -> WrittenPeriod:
        due, before = lock_period(connection, period_id)
        if before is not None:
            return before
        return write_period(connection, due, _how(connection, settings, due, at_once=at_once))

    return in_transaction(engine, work)


def write_open(
    engine: Engine, settings: Settings, cadence: Cadence, period: str | None
) -> list[tuple[DuePeriod, WrittenPeriod]]:
    """The periods of a cadence that were open, or the named one, written now, ended or not.

    What happens afterwards goes into the next one. Raises DigestRefused where there is none.
    """
    with engine.connect() as connection:
        due = open_periods(connection, default_team_id(connection), cadence, period)
    if period is not None and not due:
        raise DigestRefused(f"There is no {cadence} period '{period}' that waits to be written.")
    return [(one, write_digests(engine, settings, one.id, at_once=True)) for one in due]


def periods(engine: Engine) -> Sequence[PeriodSummary]:
    """The last periods, the newest first."""
    with engine.connect() as connection:
        return list_periods(connection, default_team_id(connection))


def _how(
    connection: Connection, settings: Settings, due: DuePeriod, *, at_once: bool
) -> DigestSend:
    version = find_version_by_id(connection, ensure_built_in(connection, due.team_id, DIGEST))
    local_at = None if at_once else _local_time(connection, settings, due)
    return DigestSend(
        topic_id=digest_topic(connection, due.team_id),
        template_version_id=version.id,
        name=version.name,
        sender=sender_of(version, settings),
        expires_after=settings.seconds("request_expires_after"),
        local_at=local_at,
        local_grace=settings.seconds("local_grace") if local_at else None,
    )


def _local_time(connection: Connection, settings: Settings, due: DuePeriod) -> datetime:
    """The time on everybody's own clock: on the first day after the period."""
    zone = zone_of(team_clock(connection, due.team_id).time_zone)
    ends_on = due.ends_at.astimezone(zone).date()
    return datetime.combine(ends_on, time.fromisoformat(settings.digest_time))

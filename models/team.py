"""Teams: the owners of everything."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, time

from sqlalchemy import BigInteger, Column, Connection, DateTime, Identity, Text, func, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlmodel import Field, SQLModel

from domain.local_time import Window
from models.columns import time_of_day, words
from models.recheck import recheck_local_sends

DEFAULT_TEAM = "default"


class Team(SQLModel, table=True):
    """Owner of recipients, topics, templates and sends."""

    id: int = Field(sa_column=Column(BigInteger, Identity(), primary_key=True))
    key: str = Field(sa_column=Column(Text, nullable=False, unique=True))
    name: str = Field(sa_column=Column(Text, nullable=False))
    attribute_names: list[str] = Field(
        sa_column=Column(ARRAY(Text), nullable=False, server_default=text("'{}'"))
    )
    """Names of all attributes ever imported: what a template may ask for."""
    time_zone: str = Field(sa_column=words(default="UTC"))
    """Of recipients whose zone is not known."""
    quiet_from: time | None = Field(sa_column=time_of_day())
    """Quiet hours, for marketing, of recipients who have none of their own; both or none."""
    quiet_until: time | None = Field(sa_column=time_of_day())
    created_at: datetime = Field(
        sa_column=Column(DateTime(timezone=True), nullable=False, server_default=func.now())
    )


def default_team_id(connection: Connection) -> int:
    """Id of the team `default`, which the first migration makes."""
    found: int = connection.execute(
        text("SELECT id FROM team WHERE key = :key"), {"key": DEFAULT_TEAM}
    ).scalar_one()
    return found


def find_team(connection: Connection, key: str) -> int | None:
    """Id of the team `key`; None: there is none."""
    found: int | None = connection.execute(
        text("SELECT id FROM team WHERE key = :key"), {"key": key}
    ).scalar()
    return found


def attribute_names(connection: Connection, team_id: int) -> list[str]:
    """Names of the attributes that recipients of the team have, sorted."""
    names = connection.execute(
        text("SELECT attribute_names FROM team WHERE id = :team"), {"team": team_id}
    ).scalar_one()
    return sorted(names)


def add_attribute_names(connection: Connection, team_id: int, names: list[str]) -> None:
    """Remember that recipients of the team may have these attributes."""
    connection.execute(
        text(
            "UPDATE team SET attribute_names = (SELECT array_agg(DISTINCT name ORDER BY name)"
            " FROM unnest(attribute_names || CAST(:names AS text[])) AS name)"
            " WHERE id = :team AND NOT attribute_names @> CAST(:names AS text[])"
        ),
        {"team": team_id, "names": names},
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class TeamClock:
    """A team's time zone and quiet hours."""

    time_zone: str
    quiet: Window | None


def team_clock(connection: Connection, team_id: int) -> TeamClock:
    """What holds for recipients who say nothing themselves."""
    row = connection.execute(
        text("SELECT time_zone, quiet_from, quiet_until FROM team WHERE id = :team"),
        {"team": team_id},
    ).one()
    return TeamClock(time_zone=row.time_zone, quiet=Window.of(row.quiet_from, row.quiet_until))


def set_team_clock(connection: Connection, team_id: int, clock: TeamClock) -> None:
    """Change the team's time zone and quiet hours; the next flight obeys, and who waits by local
    time is looked at again."""
    connection.execute(
        text(
            "UPDATE team SET time_zone = :zone, quiet_from = :quiet_from, quiet_until = :quiet_until"
            " WHERE id = :team"
        ),
        {
            "team": team_id,
            "zone": clock.time_zone,
            "quiet_from": clock.quiet and clock.quiet.start,
            "quiet_until": clock.quiet and clock.quiet.until,
        },
    )
    recheck_local_sends(connection, team_id)

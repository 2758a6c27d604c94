"""Endpoints of teams that are told what happened: made, changed, disabled, removed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Boolean, Column, Connection, ForeignKey, Index, Integer, text
from sqlalchemy.dialects.postgresql import ARRAY, TEXT
from sqlmodel import BigInteger, Field, SQLModel

from models.columns import identity, moment, words

SECRET_OVERLAP = timedelta(hours=24)
"""How long the secret before a rotation signs beside the new one."""


class WebhookEndpoint(SQLModel, table=True):
    """A URL that a team's events go to."""

    __tablename__ = "webhook_endpoint"
    __table_args__ = (Index("webhook_endpoint_team", "team_id", "id"),)

    id: int = Field(sa_column=identity())
    team_id: int = Field(sa_column=Column(BigInteger, ForeignKey("team.id"), nullable=False))
    url: str = Field(sa_column=words())
    events: list[str] = Field(sa_column=Column(ARRAY(TEXT), nullable=False, server_default="{}"))
    """Empty: all."""
    description: str = Field(sa_column=words(default=""))
    generation: int = Field(sa_column=Column(Integer, nullable=False, server_default="1"))
    """Of its secret, which is derived and stored nowhere."""
    rotated_at: datetime | None = Field(sa_column=moment())
    is_enabled: bool = Field(sa_column=Column(Boolean, nullable=False, server_default="true"))
    disabled_reason: str = Field(sa_column=words(default=""))
    failing_since: datetime | None = Field(sa_column=moment())
    """Since when nothing was delivered though it was tried."""
    epoch: int = Field(sa_column=Column(Integer, nullable=False, server_default="0"))
    """Raised by who begins to deliver: whoever delivered before tells nothing more."""
    created_at: datetime = Field(sa_column=moment(nullable=False, default_now=True))


class UnknownWebhook(Exception):
    """The team has no webhook endpoint of this id; the message is one sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """An endpoint as lists show it."""

    id: int
    url: str
    events: list[str]
    description: str
    is_enabled: bool
    disabled_reason: str
    failing_since: datetime | None
    rotated_at: datetime | None
    created_at: datetime
    generations: tuple[int, ...] = field(repr=False)
    """Of the secrets that sign now, the newest first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointChange:
    """What is to be different; None: it stays."""

    url: str | None = None
    events: Sequence[str] | None = None
    description: str | None = None
    is_enabled: bool | None = None


COLUMNS = (
    "e.id, e.url, e.events, e.description, e.is_enabled, e.disabled_reason, e.failing_since,"
    " e.rotated_at, e.created_at, e.generation,"
    " coalesce(e.rotated_at > clock_timestamp() - :overlap, false) AS overlaps"
)
"""SQL: what `endpoint_of` reads of the endpoint `e`; `overlap` is SECRET_OVERLAP."""
_SELECT = f"SELECT {COLUMNS} FROM webhook_endpoint e WHERE e.team_id = :team"  # noqa: S608  ours


def add_endpoint(
    connection: Connection, team_id: int, url: str, events: Sequence[str], description: str
) -> int:
    """Id of a new endpoint; it is told what happens from this transaction on."""
    made: int = connection.execute(
        text(
            "INSERT INTO webhook_endpoint (team_id, url, events, description)"
            " VALUES (:team, :url, :events, :description) RETURNING id"
        ),
        {"team": team_id, "url": url, "events": list(events), "description": description},
    ).scalar_one()
    return made


def find_endpoint(connection: Connection, team_id: int, endpoint_id: int) -> Endpoint:
    """The endpoint. Raises UnknownWebhook, also for another team's."""
    row = (
        connection.execute(
            text(_SELECT + " AND id = :id"),
            {"team": team_id, "id": endpoint_id, "overlap": SECRET_OVERLAP},
        )
        .mappings()
        .one_or_none()
    )
    if row is None:
        raise UnknownWebhook("There is no webhook endpoint with this id.")
    return endpoint_of(row)


def list_endpoints(
    connection: Connection, team_id: int, *, before: int | None = None, limit: int = 100
) -> list[Endpoint]:
    """The team's endpoints, newest first, those with ids below `before`."""
    rows = connection.execute(
        text(
            _SELECT + " AND id < coalesce(:before, 9223372036854775807) ORDER BY id DESC LIMIT :n"
        ),
        {"team": team_id, "before": before, "n": limit, "overlap": SECRET_OVERLAP},
    )
    return [endpoint_of(row) for row in rows.mappings()]


def count_endpoints(connection: Connection, team_id: int) -> int:
    """How many the team has."""
    found: int = connection.execute(
        text("SELECT count(*) FROM webhook_endpoint WHERE team_id = :team"), {"team": team_id}
    ).scalar_one()
    return found


def change_endpoint(connection: Connection, endpoint_id: int, change: EndpointChange) -> None:
    """Change it. Where it goes elsewhere, or is enabled, what waits for a retry is tried at once.

    An endpoint that a team disables itself says so as its reason.
    """
    connection.execute(
        text(
            "UPDATE webhook_endpoint SET url = coalesce(:url, url),"
            " events = coalesce(CAST(:events AS text[]), events),"
            " description = coalesce(:description, description),"
            " is_enabled = coalesce(:enabled, is_enabled),"
            " disabled_reason = CASE coalesce(:enabled, is_enabled) WHEN true THEN ''"
            "  ELSE coalesce(nullif(disabled_reason, ''), 'Disabled by its team.') END,"
            " failing_since = CASE WHEN :retries THEN NULL ELSE failing_since END WHERE id = :id"
        ),
        {
            "id": endpoint_id,
            "url": change.url,
            "events": None if change.events is None else list(change.events),
            "description": change.description,
            "enabled": change.is_enabled,
            "retries": _retries(change),
        },
    )
    if _retries(change):
        connection.execute(
            text(
                "UPDATE webhook_delivery SET next_at = NULL"
                " WHERE endpoint_id = :id AND delivered_at IS NULL AND next_at IS NOT NULL"
            ),
            {"id": endpoint_id},
        )


def _retries(change: EndpointChange) -> bool:
    return change.url is not None or change.is_enabled is True


def rotate_secret(connection: Connection, endpoint_id: int) -> None:
    """Another secret; the one before signs beside it for `SECRET_OVERLAP`."""
    connection.execute(
        text(
            "UPDATE webhook_endpoint SET generation = generation + 1,"
            " rotated_at = clock_timestamp() WHERE id = :id"
        ),
        {"id": endpoint_id},
    )


def remove_endpoint(connection: Connection, endpoint_id: int) -> None:
    """Take it away with everything that is owed to it."""
    connection.execute(text("DELETE FROM webhook_endpoint WHERE id = :id"), {"id": endpoint_id})
    connection.execute(
        text("DELETE FROM webhook_delivery WHERE endpoint_id = :id"), {"id": endpoint_id}
    )


def endpoint_of(row: Any) -> Endpoint:
    """The endpoint of a row of COLUMNS."""
    columns = dict(row)
    newest, overlaps = columns.pop("generation"), columns.pop("overlaps")
    return Endpoint(**columns, generations=(newest, newest - 1) if overlaps else (newest,))

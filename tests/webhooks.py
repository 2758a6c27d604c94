"""Webhook endpoints in tests, and what is owed to them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Engine, text

from models.team import default_team_id
from models.webhook_endpoint import add_endpoint

URL = "https://hooks.example.com/carillon"


def an_endpoint(engine: Engine, *events: str, url: str = URL, team: int | None = None) -> int:
    """Id of an endpoint that wants these events; all if none is named."""
    with engine.begin() as connection:
        return add_endpoint(connection, team or default_team_id(connection), url, events, "")


def owed(engine: Engine, endpoint_id: int | None = None) -> list[tuple[str, dict[str, Any]]]:
    """Kind and payload of what was written for an endpoint, or for all, in order."""
    with engine.connect() as connection:
        rows = connection.execute(
            text(
                "SELECT event, payload FROM webhook_delivery"
                " WHERE endpoint_id = coalesce(:endpoint, endpoint_id) ORDER BY id"
            ),
            {"endpoint": endpoint_id},
        )
        return [(row.event, row.payload) for row in rows]


def kinds(found: Sequence[tuple[str, dict[str, Any]]]) -> list[str]:
    return [kind for kind, _ in found]

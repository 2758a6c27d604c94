"""Whether the accounts of campaigns, single messages and frequency caps balance."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from sqlalchemy import Connection, Engine

from models.audit import imbalances
from models.campaign import campaign_of_team
from models.cap_audit import cap_imbalances
from models.overview import campaign_ids
from models.request_audit import is_request, request_imbalances
from models.request_progress import request_status
from models.team import default_team_id

T = TypeVar("T")


def in_snapshot(engine: Engine, read: Callable[[Connection], T]) -> T:
    """What `read` returns of one snapshot: statements about what runs must speak of one moment."""
    with engine.execution_options(isolation_level="REPEATABLE READ").connect() as connection:
        return read(connection)


def examine(engine: Engine, send_id: int | None) -> dict[int, list[str]]:
    """What does not balance, by send; without a `send_id` of all. Raises UnknownCampaign."""

    def read(connection: Connection) -> dict[int, list[str]]:
        team = default_team_id(connection)
        if send_id is not None:
            return {send_id: send_imbalances(connection, team, send_id)}
        ids = campaign_ids(connection, team)
        return {key: imbalances(connection, key) for key in ids} | (
            request_imbalances(connection, team)
        )

    return in_snapshot(engine, read)


def send_imbalances(connection: Connection, team: int, send_id: int) -> list[str]:
    """What does not balance of one send of the team, of whatever kind.

    Raises UnknownCampaign, UnknownSend.
    """
    if is_request(connection, send_id):
        request_status(connection, team, send_id)
        return request_imbalances(connection, team, send_id).get(send_id, [])
    return imbalances(connection, campaign_of_team(connection, team, send_id).id)


def examine_caps(engine: Engine) -> list[str]:
    """What does not balance of frequency caps."""
    with engine.connect() as connection:
        return cap_imbalances(connection, default_team_id(connection))

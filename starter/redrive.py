"""The use cases around what failed: see it, and send it again."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from sqlalchemy import Engine

from domain.identifier import SEND_PREFIX, public_id
from domain.outcome import count_key
from domain.send import SendState
from models.campaign import find_campaign
from models.database import in_transaction
from models.redrive import NotRedrivable, Redriven, dead_letters, redrive
from models.team import default_team_id
from settings import Settings
from starter.client import (
    TemporalUnreachable,
    connect,
    poke_campaigns,
    start_campaign_workflow,
    workflow_pace,
)

MAX_REASON_LENGTH = 500


async def redrive_send(engine: Engine, settings: Settings, send_id: int, reason: str) -> Redriven:
    """Commit the redrive; a campaign's workflow is started, without Temporal by the reconciler.

    Raises UnknownSend, NotRedrivable.
    """
    why = reason.strip()
    if not why or len(why) > MAX_REASON_LENGTH:
        raise NotRedrivable(f"A redrive needs a reason, of at most {MAX_REASON_LENGTH} characters.")
    done = in_transaction(engine, lambda c: redrive(c, default_team_id(c), send_id, why))
    if done.is_campaign and done.messages:
        await _start(engine, settings, send_id)
    return done


async def _start(engine: Engine, settings: Settings, send_id: int) -> None:
    try:
        client = await connect(settings)
    except TemporalUnreachable:
        return
    with engine.connect() as connection:
        campaign = find_campaign(connection, send_id)
    await start_campaign_workflow(client, campaign, workflow_pace(settings))
    await poke_campaigns(client, [send_id])


def list_dead_letters(engine: Engine, since: timedelta) -> list[dict[str, Any]]:
    """Failed messages by send and reason, each with the command that sends them again, if one may."""
    with engine.connect() as connection:
        found = dead_letters(connection, default_team_id(connection), since)
    return [
        {
            "send": (send := public_id(SEND_PREFIX, each.send_id)),
            "name": each.name,
            "kind": each.kind,
            "template": each.template,
            "state": each.state,
            "why": count_key(each.outcome, each.reason),
            "messages": each.messages,
            "command": _command(send, each.state, is_expired=each.is_expired),
        }
        for each in found
    ]


def _command(send: str, state: str, *, is_expired: bool) -> str | None:
    if state != SendState.FINISHED or is_expired:
        return None
    return f'carillon redrive --send {send} --reason "…"'

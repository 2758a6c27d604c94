"""A recipient's in-app items: what their application lists, and what reading one means."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import Engine

from domain.identifier import ITEM_PREFIX, public_id
from models.database import in_transaction
from models.in_app import Item, list_items, mark_read, mark_seen
from settings import Settings
from starter.client import TemporalUnreachable, connect, poke_groups
from starter.people import look_up


def items(engine: Engine, who: str) -> list[dict[str, Any]]:
    """The recipient's newest items, which are thereby not seen yet. Raises UnknownRecipient."""
    recipient = look_up(engine, who)
    with engine.connect() as connection:
        return [_as_json(item) for item in list_items(connection, recipient)]


def read(engine: Engine, settings: Settings, who: str, item_ids: Sequence[int]) -> int:
    """The recipient has read these items; how many of them were not read before."""
    recipient = look_up(engine, who)
    folded = in_transaction(engine, lambda c: mark_read(c, recipient, item_ids))
    asyncio.run(_poke(settings, folded.groups))
    return folded.events


def see(engine: Engine, settings: Settings, who: str, item_ids: Sequence[int]) -> int:
    """The recipient has seen these items; how many of them were not seen before."""
    recipient = look_up(engine, who)
    folded = in_transaction(engine, lambda c: mark_seen(c, recipient, item_ids))
    asyncio.run(_poke(settings, folded.groups))
    return folded.events


async def _poke(settings: Settings, groups: Collection[int]) -> None:
    """A hint to those whose plan waited for it; without Temporal they look at the end of the wait."""
    if not groups:
        return
    try:
        await poke_groups(await connect(settings), groups)
    except TemporalUnreachable:
        return


def _as_json(item: Item) -> dict[str, Any]:
    return {
        "id": public_id(ITEM_PREFIX, item.id),
        "title": item.title,
        "body": item.body,
        "created_at": item.created_at,
        "seen_at": item.seen_at,
        "read_at": item.read_at,
    }

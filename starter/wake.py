"""Telling what waited that it may go on. A hint: campaigns and groups look by themselves, too."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from settings import Settings
from starter import context, output
from starter.client import TemporalUnreachable, poke_campaigns, poke_groups


def wake(settings: Settings, send_ids: Sequence[int], group_ids: Sequence[int] = ()) -> None:
    """Have campaigns, and groups of single messages, look at their rows at once; without Temporal
    one remark is made."""
    if send_ids or group_ids:
        try:
            asyncio.run(_poke(settings, send_ids, group_ids))
        except TemporalUnreachable as error:
            output.say(f"{error} What waits goes on by itself once it does.")


async def _poke(settings: Settings, send_ids: Sequence[int], group_ids: Sequence[int]) -> None:
    client = await context.temporal(settings)
    await poke_campaigns(client, list(send_ids))
    await poke_groups(client, list(group_ids))

"""The short activities of a campaign: freeze, look, change, list what is left, close."""

from __future__ import annotations

import logging
import time

from sqlalchemy import Connection, Engine
from temporalio import activity

from activities.contract import (
    BatchToDo,
    ChangeInput,
    CloseResult,
    FrozenAudience,
    SendRef,
    SendStatus,
    ShardRef,
    ShardToDo,
    Stop,
)
from activities.fail_points import FailPoint, Reached
from activities.failures import permanent_errors
from activities.heartbeats import heartbeats
from activities.pace import Pace
from domain.send import SendState
from models.account import account_refusal
from models.campaign import Campaign, begin_running, change_state, find_campaign, set_rate
from models.database import in_transaction
from models.freeze import freeze
from models.hold import open_holds
from models.progress import close, open_shard, progress
from models.trip_wire import watch_sends

log = logging.getLogger(__name__)


class CampaignActivities:
    """What RunCampaign and SendShard ask of the rows."""

    def __init__(self, engine: Engine, pace: Pace, reached: Reached) -> None:
        """Made once in `composition.py`."""
        self._engine = engine
        self._pace = pace
        self._reached = reached

    @activity.defn
    def freeze_audience(self, send: SendRef) -> FrozenAudience:
        """Freeze who is to be told, once; a repeated call answers what was frozen."""
        started = time.perf_counter()
        with permanent_errors(), heartbeats(self._pace.lease_renewal):
            frozen = in_transaction(self._engine, lambda c: self._freeze(c, send.send_id))
        seconds = time.perf_counter() - started
        log.info(
            "audience.frozen",
            extra={"send_id": send.send_id, "messages": frozen.messages, "seconds": seconds},
        )
        return frozen

    def _freeze(self, connection: Connection, send_id: int) -> FrozenAudience:
        frozen = freeze(
            connection,
            send_id,
            most_per_batch=self._pace.batch_size,
            shard_size=self._pace.shard_size,
        )
        self._reached(FailPoint.FREEZING)
        begin_running(connection, send_id)
        campaign = find_campaign(connection, send_id)
        return FrozenAudience(
            messages=frozen.messages,
            shards=frozen.shards,
            name=campaign.name,
            topic=campaign.topic,
            account=campaign.account,
        )

    @activity.defn
    def open_shard(self, shard: ShardRef) -> ShardToDo:
        """The batches of a shard that have work; rows decide, never a child's status."""
        with self._engine.connect() as connection:
            left = open_shard(connection, shard.send_id, shard.shard)
        return ShardToDo(
            batches=[BatchToDo(lo=batch.lo, resume_at=batch.resume_at) for batch in left.batches],
            is_ended=left.is_ended,
        )

    @activity.defn
    def look_at_send(self, send: SendRef) -> SendStatus:
        """Where the send stands by its rows, and what stops it: a trip wire, too, that trips now."""
        watch_sends(self._engine, self._pace.wires, [send.send_id])
        with self._engine.connect() as connection:
            campaign = find_campaign(connection, send.send_id)
            stands = progress(connection, send.send_id)
            stop, why = _stop_of(connection, campaign)
        return SendStatus(
            state=campaign.state,
            is_expired=campaign.is_expired,
            expires_at=campaign.expires_at,
            stop=stop,
            why=why,
            messages=stands.messages,
            counts=dict(stands.counts),
            rate=campaign.rate,
        )

    @activity.defn
    def change_send(self, change: ChangeInput) -> None:
        """Commit what an operator asked for; the claim obeys at once. Asking twice changes nothing."""
        with permanent_errors():
            in_transaction(self._engine, lambda connection: _change(connection, change))

    @activity.defn
    def close_send(self, send: SendRef) -> CloseResult:
        """Close the send if all its messages are final and nothing is claimed."""
        self._reached(FailPoint.CLOSING)
        closing = in_transaction(self._engine, lambda connection: close(connection, send.send_id))
        return CloseResult(is_closed=closing.is_closed, open_shards=closing.open_shards)


def _stop_of(connection: Connection, campaign: Campaign) -> tuple[Stop, str]:
    """What stops the campaign by its rows, and why."""
    if campaign.state is SendState.PAUSED:
        return Stop.PAUSED, ""
    if refusal := account_refusal(connection, campaign.account_id):
        return Stop.ACCOUNT, refusal
    if holds := open_holds(connection, campaign.id):
        return Stop.HELD, "; ".join(holds)
    return Stop.NONE, ""


def _change(connection: Connection, change: ChangeInput) -> None:
    if change.sets_rate:
        set_rate(connection, change.send_id, change.rate)
    else:
        change_state(connection, change.send_id, SendState(change.state))

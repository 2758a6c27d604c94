"""What trip wires ask of a send's rows, and the one hold that they place."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import Connection, Engine, text

from domain.event import EventKind
from domain.outcome import Outcome
from domain.send import HoldScope, SendState
from domain.trip_wire import Tally, Wires, reason_to_hold
from models.database import in_transaction
from models.hold import place_hold

AUTHOR = "trip wire"


def watch_sends(engine: Engine, wires: Wires, send_ids: Sequence[int]) -> list[int]:
    """Those of the sends that were held now. Counts come from ranges and indexes, never from a scan."""
    return [
        send_id
        for send_id in send_ids
        if in_transaction(engine, lambda c, send_id=send_id: watch(c, wires, send_id))  # type: ignore[misc]  # bound at once
    ]


def watch(connection: Connection, wires: Wires, send_id: int) -> bool:
    """Whether the send was held now, with the reason in words. One hold, however many look at once.

    Who releases it has seen what there was: only what comes after that can trip again.
    """
    if _reason(connection, wires, send_id) is None:
        return False
    send = connection.execute(
        text(
            "SELECT team_id FROM send WHERE id = :send AND state = :running AND closed_at IS NULL"
            " FOR NO KEY UPDATE"
        ),
        {"send": send_id, "running": SendState.RUNNING},
    ).one_or_none()
    # Asked again under the lock: somebody else may have placed the hold meanwhile.
    reason = _reason(connection, wires, send_id)
    if send is None or reason is None:
        return False
    place_hold(
        connection,
        send.team_id,
        scope=HoldScope.SEND,
        scope_id=send_id,
        reason=reason,
        author=AUTHOR,
    )
    return True


def running_campaigns(connection: Connection) -> Sequence[int]:
    """Campaigns that send now."""
    return (
        connection.execute(
            text(
                "SELECT id FROM send WHERE closed_at IS NULL AND state = :running"
                " AND kind = 'campaign' ORDER BY id"
            ),
            {"running": SendState.RUNNING},
        )
        .scalars()
        .all()
    )


def _reason(connection: Connection, wires: Wires, send_id: int) -> str | None:
    holds = connection.execute(
        text(
            "SELECT bool_or(released_at IS NULL) AS is_held, max(released_at) AS released_at,"
            " clock_timestamp() AS now FROM hold"
            " WHERE scope = :scope AND scope_id = :send AND author = :author"
        ),
        {"scope": HoldScope.SEND, "send": send_id, "author": AUTHOR},
    ).one()
    if holds.is_held:
        return None
    since = _since(holds.now, wires.window, holds.released_at)
    first = _first(connection, send_id, wires.first) if holds.released_at is None else None
    return reason_to_hold(wires, first=first, lately=_lately(connection, send_id, since))


def _since(now: datetime, window: timedelta, released_at: datetime | None) -> datetime:
    return now - window if released_at is None else max(now - window, released_at)


_TROUBLES = """
    SELECT count(DISTINCT (ordinal, step)) FILTER (WHERE kind = 'hard_bounced') AS hard_bounces,
           count(DISTINCT (ordinal, step)) FILTER (WHERE kind = 'complained') AS complaints
    FROM delivery_event WHERE send_id = :send AND kind IN ('hard_bounced', 'complained')
"""
assert {EventKind.HARD_BOUNCED, EventKind.COMPLAINED} == {"hard_bounced", "complained"}  # noqa: S101  the index names them


def _first(connection: Connection, send_id: int, first: int) -> Tally:
    """Of the messages with the lowest ordinals: the beginning of the primary key's range."""
    outcomes = connection.execute(
        text(
            "SELECT count(*) FILTER (WHERE outcome = :accepted) AS accepted,"
            " count(*) FILTER (WHERE outcome = :rejected) AS errors"
            " FROM delivery WHERE send_id = :send AND ordinal <= :first"
        ),
        {
            "send": send_id,
            "first": first,
            "accepted": int(Outcome.ACCEPTED),
            "rejected": int(Outcome.REJECTED),
        },
    ).one()
    troubles = connection.execute(
        text(_TROUBLES + " AND ordinal <= :first"), {"send": send_id, "first": first}
    ).one()
    return Tally(**outcomes._mapping, **troubles._mapping)


def _lately(connection: Connection, send_id: int, since: datetime) -> Tally:
    """Of a campaign's attempts since then; of a request its first messages are all there are."""
    outcomes = connection.execute(
        text(
            "SELECT coalesce(sum(length(members) - length(replace(members, 'a', ''))), 0) AS accepted,"
            " coalesce(sum(length(members) - length(replace(members, 'r', ''))), 0) AS errors"
            " FROM attempt WHERE send_id = :send AND id >= key_at(:since) AND claimed_at >= :since"
        ),
        {"send": send_id, "since": since},
    ).one()
    troubles = connection.execute(
        text(_TROUBLES + " AND at >= :since"), {"send": send_id, "since": since}
    ).one()
    return Tally(**outcomes._mapping, **troubles._mapping)

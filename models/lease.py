"""TAKE, renew and free: a batch belongs to one activity attempt for as long as its lease runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import orjson
from sqlalchemy import Connection, text

from domain.outcome import Outcome, Reason
from domain.send import AttemptState
from models.counts import LockedBatch, lock_batch
from models.delivery_rows import (
    NewDelivery,
    Row,
    copy_deliveries,
    lock_rows,
    record_superseded,
    update_deliveries,
)

CLAIMED_LETTER = "?"


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """The batch lo..hi of a send is its holder's: until the lease runs out, or the epoch is raised."""

    send_id: int
    lo: int
    hi: int
    epoch: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Busy:
    """Somebody else's lease runs until then (database clock)."""

    until: datetime


def take(
    connection: Connection,
    send_id: int,
    lo: int,
    *,
    owner: str,
    duration: timedelta,
    unknown_wait: timedelta,
) -> Lease | Busy:
    """Take the batch if its lease is free, and give up what its last driver left open.

    Open attempts become abandoned; their unanswered members without a final row become unknown, with
    one more try, to be decided `unknown_wait` after their answer could have come.
    """
    taken = connection.execute(
        text(
            "UPDATE batch SET epoch = epoch + 1, owner = :owner,"
            " lease_until = clock_timestamp() + :duration"
            " WHERE send_id = :send AND lo = :lo"
            " AND (lease_until IS NULL OR lease_until <= clock_timestamp())"
            " RETURNING epoch, hi"
        ),
        {"send": send_id, "lo": lo, "owner": owner, "duration": duration},
    ).one_or_none()
    if taken is None:
        until = connection.execute(
            text(
                "SELECT coalesce(lease_until, clock_timestamp()) FROM batch WHERE send_id = :send AND lo = :lo"
            ),
            {"send": send_id, "lo": lo},
        ).scalar_one()
        return Busy(until=until)
    _abandon_open_attempts(connection, lock_batch(connection, send_id, lo), unknown_wait)
    return Lease(send_id=send_id, lo=lo, hi=taken.hi, epoch=taken.epoch)


def renew(connection: Connection, lease: Lease, duration: timedelta) -> bool:
    """Whether the batch is still the holder's; if so, for another `duration`."""
    renewed = connection.execute(
        text(
            "UPDATE batch SET lease_until = clock_timestamp() + :duration"
            " WHERE send_id = :send AND lo = :lo AND epoch = :epoch"
        ),
        {"duration": duration, "send": lease.send_id, "lo": lease.lo, "epoch": lease.epoch},
    )
    return renewed.rowcount == 1


def free(
    connection: Connection,
    lease: Lease,
    resume_at: datetime | None,
    *,
    deferred: Mapping[str, int] | None = None,
) -> None:
    """Give the batch back, if it is still the holder's, and say when it has work again.

    `deferred`: whom the pass left for later, by reason; None: it did not get so far as to know.
    """
    connection.execute(
        text(
            "UPDATE batch SET owner = NULL, lease_until = NULL, resume_at = :resume_at,"
            " deferred = coalesce(CAST(:deferred AS jsonb), deferred)"
            " WHERE send_id = :send AND lo = :lo AND epoch = :epoch"
        ),
        {
            "resume_at": resume_at,
            "deferred": None if deferred is None else orjson.dumps(deferred).decode(),
            "send": lease.send_id,
            "lo": lease.lo,
            "epoch": lease.epoch,
        },
    )


def _abandon_open_attempts(
    connection: Connection, batch: LockedBatch, unknown_wait: timedelta
) -> None:
    abandoned = connection.execute(
        text(
            "UPDATE attempt SET state = :abandoned, ended_at = clock_timestamp(),"
            " error = coalesce(error, 'its driver disappeared')"
            " WHERE send_id = :send AND batch_lo = :lo AND state = 'claimed'"
            " RETURNING id, lo, members, answer_by"
        ),
        {"abandoned": AttemptState.ABANDONED, "send": batch.send_id, "lo": batch.lo},
    ).all()
    if not abandoned:
        return
    for attempt in abandoned:
        decide_at = max(attempt.answer_by, batch.now) + unknown_wait
        write_unknown(
            connection, batch, unanswered(attempt.lo, attempt.members), attempt.id, decide_at
        )
    batch.save(connection)


def unanswered(lo: int, members: str) -> list[int]:
    """Ordinals of the members that have no answer yet."""
    return [lo + at for at, letter in enumerate(members) if letter == CLAIMED_LETTER]


def write_unknown(
    connection: Connection,
    batch: LockedBatch,
    ordinals: Iterable[int],
    attempt_id: int,
    decide_at: datetime,
) -> None:
    """These members' answers are lost: unknown, unless their row is final already."""
    wanted = list(ordinals)
    rows = lock_rows(connection, batch.send_id, wanted)
    fresh = [ordinal for ordinal in wanted if ordinal not in rows]
    again: list[Row] = [row for row in rows.values() if not row.outcome.is_final]

    def unknown(ordinal: int, tries: int) -> NewDelivery:
        return NewDelivery(
            ordinal, Outcome.UNKNOWN, tries=tries, attempt_id=attempt_id, decide_at=decide_at
        )

    copy_deliveries(connection, batch.send_id, (unknown(ordinal, 1) for ordinal in fresh))
    batch.add(Outcome.UNKNOWN, messages=len(fresh))
    record_superseded(connection, batch.send_id, again)
    update_deliveries(
        connection, batch.send_id, [unknown(row.ordinal, row.tries + 1) for row in again]
    )
    for row in again:
        batch.move(row.outcome, row.reason, Outcome.UNKNOWN, Reason.NONE)

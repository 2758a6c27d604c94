"""What is decided about messages without calling anybody: unknown ones in time, the rest of a
cancelled or expired send."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, text

from domain.outcome import Outcome, Reason
from domain.send import OnUnknown
from models.counts import LockedBatch, lock_batch
from models.delivery_rows import (
    PART,
    STEP,
    NewDelivery,
    Row,
    copy_deliveries,
    record_superseded,
    update_deliveries,
)
from models.lease import Lease


def decide_unknown(
    connection: Connection, lease: Lease, *, policy: OnUnknown, max_tries: int, is_ended: bool
) -> None:
    """Make unknown messages unconfirmed whose time has come and that are not to be sent again.

    Called when no attempt of the batch is open. `is_ended`: the send is cancelled or expired. Under
    the policy `resend` the others stay unknown and are owed.
    """
    batch = lock_batch(connection, lease.send_id, lease.lo)
    if batch.epoch != lease.epoch:
        return
    resends = policy is OnUnknown.RESEND and not is_ended
    due = _open_rows(
        connection,
        batch,
        "outcome = :unknown AND decide_at <= :now AND (NOT :resends OR tries >= :max_tries)",
        {
            "unknown": int(Outcome.UNKNOWN),
            "now": batch.now,
            "resends": resends,
            "max_tries": max_tries,
        },
    )
    _end(connection, batch, due, Outcome.UNCONFIRMED)
    batch.save(connection)


def fill(connection: Connection, lease: Lease, outcome: Outcome) -> None:
    """End what was never tried as `outcome` (cancelled or expired), owed and tried as unconfirmed.

    Unknown messages keep waiting for proof until they are decided.
    """
    batch = lock_batch(connection, lease.send_id, lease.lo)
    if batch.epoch != lease.epoch:
        return
    owed = _open_rows(connection, batch, "outcome = :owed", {"owed": int(Outcome.OWED)})
    _end(connection, batch, [row for row in owed if row.tries == 0], outcome)
    _end(connection, batch, [row for row in owed if row.tries > 0], Outcome.UNCONFIRMED)
    missing = (
        connection.execute(
            text(
                "SELECT m.ordinal FROM generate_series(CAST(:lo AS integer), CAST(:hi AS integer))"
                " AS m(ordinal) WHERE m.ordinal NOT IN (SELECT ordinal FROM delivery"
                " WHERE send_id = :send AND ordinal BETWEEN :lo AND :hi AND step = :step AND part = :part)"
            ),
            {"send": lease.send_id, "lo": lease.lo, "hi": lease.hi, "step": STEP, "part": PART},
        )
        .scalars()
        .all()
    )
    copy_deliveries(
        connection, lease.send_id, (NewDelivery(ordinal, outcome) for ordinal in missing)
    )
    batch.add(outcome, messages=len(missing))
    batch.save(connection)


def earliest_decision(connection: Connection, lease: Lease) -> datetime | None:
    """When the first unknown message of the range is decided; None: none is unknown."""
    found: datetime | None = connection.execute(
        text(
            "SELECT min(decide_at) FROM delivery WHERE send_id = :send"
            " AND ordinal BETWEEN :lo AND :hi AND outcome = :unknown"
        ),
        {"send": lease.send_id, "lo": lease.lo, "hi": lease.hi, "unknown": int(Outcome.UNKNOWN)},
    ).scalar()
    return found


def _open_rows(
    connection: Connection, batch: LockedBatch, condition: str, values: dict[str, object]
) -> list[Row]:
    """The batch's rows for which the condition holds, locked in key order."""
    found = connection.execute(
        text(
            "SELECT ordinal, outcome, reason, tries, attempt_id FROM delivery"  # noqa: S608  constants
            " WHERE send_id = :send AND ordinal BETWEEN :lo AND :hi AND step = :step"
            f" AND part = :part AND {condition} ORDER BY ordinal FOR NO KEY UPDATE"
        ),
        {
            **values,
            "send": batch.send_id,
            "lo": batch.lo,
            "hi": batch.hi,
            "step": STEP,
            "part": PART,
        },
    )
    return [
        Row(
            ordinal=row.ordinal,
            outcome=Outcome(row.outcome),
            reason=Reason(row.reason),
            tries=row.tries,
            attempt_id=row.attempt_id,
        )
        for row in found
    ]


def _end(connection: Connection, batch: LockedBatch, rows: list[Row], outcome: Outcome) -> None:
    record_superseded(connection, batch.send_id, rows)
    update_deliveries(
        connection,
        batch.send_id,
        [
            NewDelivery(row.ordinal, outcome, tries=row.tries, attempt_id=row.attempt_id)
            for row in rows
        ],
    )
    for row in rows:
        batch.move(row.outcome, row.reason, outcome, Reason.NONE)

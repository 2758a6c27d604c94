"""What an operator decides about messages nobody knows the outcome of."""

from __future__ import annotations

from sqlalchemy import Connection, text

from domain.outcome import Outcome, Reason
from domain.send import OnUnknown, SendState
from models.counts import lock_batch
from models.delivery_rows import (
    PART,
    STEP,
    NewDelivery,
    lock_rows,
    record_superseded,
    update_deliveries,
)


class NotResolvable(Exception):
    """The send was cancelled or is expired; the message is one sentence."""


def resolve(connection: Connection, send_id: int, choice: OnUnknown) -> int:
    """Settle unknown and unconfirmed messages by hand; how many were changed.

    `resend` makes them owed, clears `closed_at`, turns a finished send into a running one and begins
    a new round; `leave` makes the unknown ones unconfirmed now. Members of open attempts are left
    alone. Raises NotResolvable. Locks batches in order, then the send, in the caller's transaction.
    """
    changed = sum(
        _resolve_batch(connection, send_id, lo, choice) for lo in _batches(connection, send_id)
    )
    send = connection.execute(
        text(
            "SELECT state, expires_at <= clock_timestamp() AS is_expired FROM send"
            " WHERE id = :send FOR NO KEY UPDATE"
        ),
        {"send": send_id},
    ).one()
    if send.state == SendState.CANCELLED or send.is_expired:
        why = "was cancelled" if send.state == SendState.CANCELLED else "has expired"
        raise NotResolvable(f"The campaign {why}; nothing of it is sent any more.")
    if changed and choice is OnUnknown.RESEND:
        connection.execute(
            text(
                "UPDATE send SET closed_at = NULL, round = round + 1,"
                " state = CASE WHEN state = :finished THEN :running ELSE state END WHERE id = :send"
            ),
            {"send": send_id, "finished": SendState.FINISHED, "running": SendState.RUNNING},
        )
    return changed


def _batches(connection: Connection, send_id: int) -> list[int]:
    return list(
        connection.execute(
            text(
                "SELECT lo FROM batch WHERE send_id = :send"
                " AND (jsonb_exists(counts, :unknown) OR jsonb_exists(counts, :unconfirmed)) ORDER BY lo"
            ),
            {
                "send": send_id,
                "unknown": Outcome.UNKNOWN.word,
                "unconfirmed": Outcome.UNCONFIRMED.word,
            },
        ).scalars()
    )


def _resolve_batch(connection: Connection, send_id: int, lo: int, choice: OnUnknown) -> int:
    batch = lock_batch(connection, send_id, lo)
    from_outcomes = [Outcome.UNKNOWN]
    if choice is OnUnknown.RESEND:
        from_outcomes.append(Outcome.UNCONFIRMED)
    ordinals = (
        connection.execute(
            text(
                "SELECT ordinal FROM delivery d WHERE send_id = :send AND ordinal BETWEEN :lo AND :hi"
                " AND step = :step AND part = :part AND outcome = ANY(:outcomes)"
                " AND NOT EXISTS (SELECT 1 FROM attempt a WHERE a.send_id = :send AND a.batch_lo = :lo"
                "  AND a.state = 'claimed' AND substr(a.members, d.ordinal - a.lo + 1, 1) = '?'"
                "  AND d.ordinal >= a.lo)"
                " ORDER BY ordinal"
            ),
            {
                "send": send_id,
                "lo": lo,
                "hi": batch.hi,
                "step": STEP,
                "part": PART,
                "outcomes": [int(outcome) for outcome in from_outcomes],
            },
        )
        .scalars()
        .all()
    )
    rows = list(lock_rows(connection, send_id, ordinals).values())
    after = Outcome.OWED if choice is OnUnknown.RESEND else Outcome.UNCONFIRMED
    record_superseded(connection, send_id, rows)
    update_deliveries(
        connection,
        send_id,
        [NewDelivery(r.ordinal, after, tries=r.tries, attempt_id=r.attempt_id) for r in rows],
    )
    for row in rows:
        batch.move(row.outcome, row.reason, after, Reason.NONE)
    batch.save(connection)
    connection.execute(
        text("UPDATE batch SET resume_at = NULL WHERE send_id = :send AND lo = :lo"),
        {"send": send_id, "lo": lo},
    )
    return len(rows)

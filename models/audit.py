"""The accounts must balance: counts against rows, rows against messages, rows against attempts."""

from __future__ import annotations

from collections import Counter

from sqlalchemy import Connection, text

from domain.outcome import Outcome, Reason, count_key
from models.progress import Progress, progress


def counts_of_rows(connection: Connection, send_id: int) -> Counter[str]:
    """Counts recomputed from the delivery rows; owed ones are not counted. About 0.2 µs a row."""
    rows = connection.execute(
        text(
            "SELECT outcome, reason, count(*) FROM delivery WHERE send_id = :send"
            " AND outcome <> :owed GROUP BY outcome, reason"
        ),
        {"send": send_id, "owed": int(Outcome.OWED)},
    )
    return Counter({count_key(Outcome(o), Reason(r)): n for o, r, n in rows})


def imbalances(connection: Connection, send_id: int) -> list[str]:
    """Sentences about what does not add up in a send; empty when its accounts balance."""
    stands = progress(connection, send_id)
    found = [
        *_compare_counts(stands, counts_of_rows(connection, send_id)),
        *_check_ranges(connection, send_id, stands.messages),
        *_check_attempts(connection, send_id),
    ]
    is_closed = connection.execute(
        text("SELECT closed_at IS NOT NULL FROM send WHERE id = :send"), {"send": send_id}
    ).scalar_one()
    if is_closed and stands.owed:
        found.append(f"it is closed, but {stands.owed} messages are not final")
    return found


def _compare_counts(stands: Progress, rows: Counter[str]) -> list[str]:
    keys = sorted({*stands.counts, *rows})
    return [
        f"its batches count {stands.counts.get(key, 0)} {key}, its deliveries are {rows[key]}"
        for key in keys
        if stands.counts.get(key, 0) != rows[key]
    ]


def _check_ranges(connection: Connection, send_id: int, messages: int) -> list[str]:
    covered, rows, strays = connection.execute(
        text(
            "SELECT (SELECT coalesce(sum(hi - lo + 1), 0) FROM batch WHERE send_id = :send),"
            " (SELECT count(*) FROM message WHERE send_id = :send),"
            " (SELECT count(*) FROM delivery WHERE send_id = :send"
            "  AND (ordinal < 1 OR ordinal > :messages))"
        ),
        {"send": send_id, "messages": messages},
    ).one()
    found = []
    if not covered == rows == messages:
        found.append(f"it has {messages} messages, {rows} rows of them, batches for {covered}")
    if strays:
        found.append(f"{strays} deliveries belong to no message")
    return found


def _check_attempts(connection: Connection, send_id: int) -> list[str]:
    """Every acceptance an attempt holds is a row's outcome or a recorded duplicate, and vice versa."""
    said, rows, duplicates, proven = connection.execute(
        text(
            "SELECT (SELECT coalesce(sum(length(members) - length(replace(members, 'a', ''))), 0)"
            "        FROM attempt WHERE send_id = :send),"
            " (SELECT count(*) FROM delivery WHERE send_id = :send AND outcome = :accepted),"
            " (SELECT count(*) FROM delivery_event WHERE send_id = :send"
            "  AND kind = 'confirmed_duplicate' AND attempt_id IS NOT NULL),"
            " (SELECT count(*) FROM delivery WHERE send_id = :send AND outcome = :accepted"
            "  AND attempt_id IS NULL)"
        ),
        {"send": send_id, "accepted": int(Outcome.ACCEPTED)},
    ).one()
    if said == rows - proven + duplicates:
        return []
    return [
        f"its attempts hold {said} acceptances, its deliveries {rows - proven},"
        f" recorded duplicates {duplicates}"
    ]

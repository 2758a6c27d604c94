"""The delivery rows that events are about: found, locked in key order, moved."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, text

from domain.event import is_early, is_proof
from domain.identifier import Reference
from domain.outcome import Outcome, Progress, Reason
from domain.plan import Step, plan_from_json

KEYS = (
    "unnest(CAST(:sends AS bigint[]), CAST(:ordinals AS integer[]), CAST(:steps AS smallint[]),"
    " CAST(:parts AS smallint[])) AS x(send_id, ordinal, step, part)"
)
IS_KEY = "d.send_id = x.send_id AND d.ordinal = x.ordinal AND d.step = x.step AND d.part = x.part"


@dataclass(frozen=True, slots=True, kw_only=True)
class EventRow:
    """A delivery row that events are about, and what the fold asks of its message."""

    reference: Reference
    outcome: Outcome
    reason: Reason
    progress: Progress
    tries: int
    attempt_id: int | None
    decide_at: datetime | None
    is_campaign: bool
    plan: tuple[Step, ...]
    batch_lo: int | None
    """Of a campaign's message."""
    is_in_outbox: bool
    group_id: int | None
    has_later: bool
    """Its message stands at a later step."""
    has_later_owed: bool
    """…where nobody has tried it yet."""

    @property
    def is_proof(self) -> bool:
        """Whether an event makes it accepted."""
        return is_proof(self.outcome, tries=self.tries, was_answered=self.attempt_id is not None)

    @property
    def is_early(self) -> bool:
        """Whether events about it have to wait."""
        return is_early(self.outcome, tries=self.tries, was_answered=self.attempt_id is not None)

    @property
    def moves_outcomes(self) -> bool:
        """Whether an event may move an outcome: its batch or group has to be locked first."""
        return self.is_proof or self.has_later_owed


_SELECT = f"""
    SELECT d.send_id, d.ordinal, d.step, d.part, d.outcome, d.reason, d.progress, d.tries,
           d.attempt_id, d.decide_at, s.kind = 'campaign' AS is_campaign, s.plan,
           (SELECT max(b.lo) FROM batch b WHERE b.send_id = d.send_id AND b.lo <= d.ordinal)
               AS batch_lo,
           o.id IS NOT NULL AS is_in_outbox, o.group_id,
           EXISTS (SELECT 1 FROM delivery l WHERE l.send_id = d.send_id AND l.ordinal = d.ordinal
                   AND l.step > d.step) AS has_later,
           EXISTS (SELECT 1 FROM delivery l WHERE l.send_id = d.send_id AND l.ordinal = d.ordinal
                   AND l.step > d.step AND l.outcome = {int(Outcome.OWED)} AND l.tries = 0)
               AS has_later_owed
    FROM {KEYS} JOIN delivery d ON {IS_KEY} JOIN send s ON s.id = d.send_id
    LEFT JOIN outbox o ON o.send_id = d.send_id AND o.ordinal = d.ordinal
"""  # noqa: S608  constants of ours


def read_rows(
    connection: Connection, references: Collection[Reference]
) -> dict[Reference, EventRow]:
    """The rows there are, as they stand now."""
    found = connection.execute(text(_SELECT), arrays(sorted(references))).mappings()
    rows = [_row(row) for row in found]
    return {row.reference: row for row in rows}


def lock_rows(
    connection: Connection, references: Collection[Reference]
) -> dict[Reference, EventRow]:
    """The same, locked in key order. What else is told of their messages is of after the lock."""
    connection.execute(
        text(
            f"SELECT 1 FROM {KEYS} JOIN delivery d ON {IS_KEY}"  # noqa: S608  constants of ours
            " ORDER BY d.send_id, d.ordinal, d.step, d.part FOR NO KEY UPDATE OF d"
        ),
        arrays(sorted(references)),
    )
    return read_rows(connection, references)


def write_progress(connection: Connection, moved: Sequence[tuple[Reference, Progress]]) -> None:
    """How far these deliveries are now."""
    if moved:
        connection.execute(
            text(
                "UPDATE delivery d SET progress = x.progress FROM unnest(CAST(:sends AS bigint[]),"  # noqa: S608  constants
                " CAST(:ordinals AS integer[]), CAST(:steps AS smallint[]), CAST(:parts AS smallint[]),"
                " CAST(:progress AS smallint[])) AS x(send_id, ordinal, step, part, progress)"
                f" WHERE {IS_KEY}"
            ),
            {
                **arrays([reference for reference, _ in moved]),
                "progress": [int(progress) for _, progress in moved],
            },
        )


def write_accepted(
    connection: Connection, proven: Sequence[tuple[EventRow, datetime | None]]
) -> None:
    """Proven rows are accepted; with each, until when its plan waits. What they said is kept."""
    if not proven:
        return
    record(connection, "superseded", [row for row, _ in proven])
    connection.execute(
        text(
            "UPDATE delivery d SET outcome = :accepted, reason = 0, attempt_id = NULL,"  # noqa: S608  constants
            " accepted_at = coalesce(d.accepted_at, clock_timestamp()), decide_at = x.decide_at"
            " FROM unnest(CAST(:sends AS bigint[]), CAST(:ordinals AS integer[]),"
            " CAST(:steps AS smallint[]), CAST(:parts AS smallint[]),"
            " CAST(:decide AS timestamptz[])) AS x(send_id, ordinal, step, part, decide_at)"
            f" WHERE {IS_KEY}"
        ),
        {
            **arrays([row.reference for row, _ in proven]),
            "accepted": int(Outcome.ACCEPTED),
            "decide": [decide_at for _, decide_at in proven],
        },
    )


def cancel_later(connection: Connection, reached: Sequence[Reference]) -> None:
    """Nobody needs the steps behind these any more: those not tried yet are cancelled."""
    if reached:
        connection.execute(
            text(
                "UPDATE delivery d SET outcome = :cancelled FROM"  # noqa: S608  constants of ours
                f" {KEYS} WHERE d.send_id = x.send_id AND d.ordinal = x.ordinal"
                " AND d.step > x.step AND d.outcome = :owed AND d.tries = 0"
            ),
            {
                **arrays(reached),
                "cancelled": int(Outcome.CANCELLED),
                "owed": int(Outcome.OWED),
            },
        )


def record(connection: Connection, kind: str, rows: Sequence[EventRow]) -> None:
    """Append what these rows say now."""
    connection.execute(
        text(
            "INSERT INTO delivery_event (occurred_on, send_id, ordinal, step, part, kind, attempt_id, raw)"
            " SELECT (clock_timestamp() AT TIME ZONE 'UTC')::date, send_id, ordinal, step, part, :kind,"
            " attempt, jsonb_build_object('outcome', outcome, 'reason', reason, 'tries', tries)"
            " FROM unnest(CAST(:sends AS bigint[]), CAST(:ordinals AS integer[]),"
            " CAST(:steps AS smallint[]), CAST(:parts AS smallint[]), CAST(:attempts AS bigint[]),"
            " CAST(:outcomes AS text[]), CAST(:reasons AS text[]), CAST(:tries AS integer[]))"
            " AS x(send_id, ordinal, step, part, attempt, outcome, reason, tries)"
        ),
        {
            **arrays([row.reference for row in rows]),
            "kind": kind,
            "attempts": [row.attempt_id for row in rows],
            "outcomes": [row.outcome.word for row in rows],
            "reasons": [row.reason.word for row in rows],
            "tries": [row.tries for row in rows],
        },
    )


def arrays(references: Sequence[Reference]) -> dict[str, Any]:
    """The parameters of `KEYS`."""
    return {
        "sends": [reference.send_id for reference in references],
        "ordinals": [reference.ordinal for reference in references],
        "steps": [reference.step for reference in references],
        "parts": [reference.part for reference in references],
    }


def _row(row: Any) -> EventRow:
    return EventRow(
        reference=Reference(row["send_id"], row["ordinal"], row["step"], row["part"]),
        outcome=Outcome(row["outcome"]),
        reason=Reason(row["reason"]),
        progress=Progress(row["progress"]),
        tries=row["tries"],
        attempt_id=row["attempt_id"],
        decide_at=row["decide_at"],
        is_campaign=row["is_campaign"],
        plan=plan_from_json(row["plan"]),
        batch_lo=row["batch_lo"] if row["is_campaign"] else None,
        is_in_outbox=row["is_in_outbox"],
        group_id=row["group_id"],
        has_later=row["has_later"],
        has_later_owed=row["has_later_owed"],
    )

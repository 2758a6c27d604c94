"""Confirmed duplicates that events tell of: one delivery, two message ids of its provider."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, text

from domain.event import missing_duplicates
from domain.identifier import Reference
from domain.outcome import Outcome
from models.event_rows import EventRow, arrays, record

# The id that an attempt's answer gave: of a campaign's request as a whole, of a group's member.
_ID_OF_ANSWER = """
    CASE WHEN a.group_id IS NULL THEN a.provider_message_id
         ELSE (SELECT a.answers -> CAST(u.n - 1 AS text) ->> 'id'
               FROM unnest(a.sends, a.ordinals) WITH ORDINALITY AS u(send_id, ordinal, n)
               WHERE u.send_id = d.send_id AND u.ordinal = d.ordinal LIMIT 1) END
"""
_SAID = f"""
    SELECT d.send_id, d.ordinal, d.step, d.part,
           (SELECT coalesce({_ID_OF_ANSWER}, '') FROM attempt a WHERE a.id = d.attempt_id) AS answered,
           ARRAY(SELECT DISTINCT e.provider_message_id FROM delivery_event e
                 WHERE e.send_id = d.send_id AND e.ordinal = d.ordinal AND e.step = d.step
                 AND e.part = d.part AND e.provider_message_id IS NOT NULL) AS told,
           ARRAY(SELECT {_ID_OF_ANSWER} FROM delivery_event e JOIN attempt a ON a.id = e.attempt_id
                 WHERE e.send_id = d.send_id AND e.ordinal = d.ordinal AND e.step = d.step
                 AND e.part = d.part AND e.kind = 'confirmed_duplicate') AS known,
           (SELECT count(*) FROM delivery_event e
            WHERE e.send_id = d.send_id AND e.ordinal = d.ordinal AND e.step = d.step
            AND e.part = d.part AND e.kind = 'confirmed_duplicate' AND e.attempt_id IS NULL) AS recorded
    FROM unnest(CAST(:sends AS bigint[]), CAST(:ordinals AS integer[]), CAST(:steps AS smallint[]),
                CAST(:parts AS smallint[]), CAST(:attempts AS bigint[]))
         AS d(send_id, ordinal, step, part, attempt_id)
"""  # noqa: S608  constants of ours


def record_duplicates(connection: Connection, rows: Sequence[EventRow]) -> None:
    """Append what events prove about these rows, as they were before: who got it more than once.

    Their events are folded already. Such a duplicate names no attempt: nobody's answer told of it.
    """
    suspects = {row.reference: row for row in rows if row.tries > 0}
    if not suspects:
        return
    # What was proven just now has no answer any more, whatever attempt it named before.
    attempts = [None if row.is_proof else row.attempt_id for row in suspects.values()]
    found = connection.execute(
        text(_SAID), {**arrays(list(suspects)), "attempts": attempts}
    ).mappings()
    twice = [row for said in found for row in _missing(said, suspects)]
    if twice:
        record(connection, "confirmed_duplicate", [_without_attempt(row) for row in twice])


def _missing(said: Any, suspects: Mapping[Reference, EventRow]) -> list[EventRow]:
    """The row, as often as there is a duplicate of it that is not recorded yet."""
    row = suspects[Reference(said["send_id"], said["ordinal"], said["step"], said["part"])]
    missing = missing_duplicates(
        set(said["told"]) - set(said["known"]),
        said["answered"],
        tries=row.tries,
        recorded=said["recorded"],
    )
    return [row] * missing


def _without_attempt(row: EventRow) -> EventRow:
    return replace(row, attempt_id=None, outcome=Outcome.ACCEPTED)

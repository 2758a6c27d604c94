"""The fold: events of the inbox move their deliveries, and nothing else does after the answer.

Lock order (DESIGN §5): batch or group → delivery → outbox. An outcome moves only under the lock of
its batch or group, progress under that of its row alone.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, text

from domain.event import SUPPRESSES, EventKind, is_reached, moved
from domain.identifier import Reference
from domain.outcome import Outcome, Progress, Reason
from models.counts import LockedBatch, lock_batch
from models.database import clock
from models.event_duplicates import record_duplicates
from models.event_inbox import InboxKey, Received, append_folded, postpone
from models.event_rows import (
    EventRow,
    arrays,
    cancel_later,
    lock_rows,
    read_rows,
    write_accepted,
    write_progress,
)
from models.event_suppression import suppress_addresses
from models.message_group import lock_group
from models.outbox import announce


@dataclass(frozen=True, slots=True, kw_only=True)
class Folded:
    """What a fold came to, and whom to tell."""

    events: int = 0
    early: int = 0
    """Events that wait in the inbox for their message's row."""
    groups: frozenset[int] = frozenset()
    """Groups whose waiting step has ended."""
    campaigns: frozenset[int] = frozenset()
    """Campaigns with messages that are not unknown any more."""
    troubled: frozenset[int] = frozenset()
    """Sends of which something bounced or was complained about."""


def fold(connection: Connection, received: Sequence[Received]) -> Folded:
    """Fold these events of the inbox; those of which the row is not there yet are put off."""
    events = _by_reference(received)
    locked = _lock(connection, read_rows(connection, events))
    rows = lock_rows(connection, events)
    ready = {ref: row for ref, row in rows.items() if not row.is_early and locked.covers(row)}
    postpone(connection, [e.key for ref in events.keys() - ready.keys() for e in events[ref]])
    mine = append_folded(connection, [e.key for ref in ready for e in events[ref]])
    new = {ref: kinds for ref in ready if (kinds := _kinds(events[ref], mine))}
    _move(connection, locked, {ref: ready[ref] for ref in new}, new)
    record_duplicates(connection, [ready[ref] for ref in new])
    suppress_addresses(connection, new)
    told = [ready[ref] for ref in new]
    return Folded(
        events=len(mine),
        early=sum(len(events[ref]) for ref in events if ref not in ready),
        groups=frozenset(_wake(connection, [row for row in told if row.is_in_outbox])),
        campaigns=frozenset(
            row.reference.send_id for row in told if row.is_campaign and row.is_proof
        ),
        troubled=frozenset(ref.send_id for ref, kinds in new.items() if kinds & SUPPRESSES.keys()),
    )


@dataclass(frozen=True, slots=True)
class _Locked:
    """The batches and groups whose outcomes may be moved."""

    batches: Mapping[tuple[int, int], LockedBatch]
    groups: frozenset[int]

    def covers(self, row: EventRow) -> bool:
        """Whether what an event says about the row may be written now."""
        if not row.moves_outcomes:
            return True
        if row.is_campaign:
            return self.batch_of(row) is not None
        # Who is in no group is driven by nobody: the row's lock alone keeps a claim out.
        return row.group_id is None or row.group_id in self.groups

    def batch_of(self, row: EventRow) -> LockedBatch | None:
        """The locked batch of a campaign's message."""
        return self.batches.get((row.reference.send_id, row.batch_lo or 0))


def _lock(connection: Connection, rows: Mapping[Reference, EventRow]) -> _Locked:
    moving = [row for row in rows.values() if row.moves_outcomes]
    batches = sorted({(r.reference.send_id, r.batch_lo or 0) for r in moving if r.is_campaign})
    locked = {key: lock_batch(connection, *key) for key in batches}
    groups = sorted({row.group_id for row in moving if row.group_id is not None})
    for group in groups:
        lock_group(connection, group)
    return _Locked(locked, frozenset(groups))


def _move(
    connection: Connection,
    locked: _Locked,
    rows: Mapping[Reference, EventRow],
    kinds: Mapping[Reference, frozenset[EventKind]],
) -> None:
    now = clock(connection)
    progress = {ref: moved(row.progress, kinds[ref]) for ref, row in rows.items()}
    proven = [row for row in rows.values() if row.is_proof]
    write_accepted(connection, [(row, _decide_at(row, now)) for row in proven])
    for row in proven:
        if (batch := locked.batch_of(row)) is not None:
            batch.move(row.outcome, row.reason, Outcome.ACCEPTED, Reason.NONE)
    for batch in locked.batches.values():
        batch.save(connection)
    write_progress(
        connection, [(ref, to) for ref, to in progress.items() if to is not rows[ref].progress]
    )
    cancel_later(connection, [ref for ref, row in rows.items() if _ends_plan(row, progress[ref])])


def _decide_at(row: EventRow, now: datetime) -> datetime | None:
    """Until when a proven step waits for its reader; None: it does not, or its message has moved on."""
    if row.has_later or not row.is_in_outbox:
        return None
    step = row.plan[row.reference.step - 1]
    return None if step.wait_for is None else now + step.within


def _ends_plan(row: EventRow, progress: Progress) -> bool:
    return row.has_later_owed and is_reached(row.plan, row.reference.step, progress)


def _wake(connection: Connection, rows: Sequence[EventRow]) -> list[int]:
    """Parked messages of these rows are due now; the groups of the others."""
    if not rows:
        return []
    freed = connection.execute(
        text(
            "WITH told AS (SELECT o.id FROM outbox o JOIN (SELECT DISTINCT * FROM"
            "  unnest(CAST(:sends AS bigint[]), CAST(:ordinals AS integer[])) AS u(send_id, ordinal))"
            "  AS x USING (send_id, ordinal) ORDER BY o.id FOR NO KEY UPDATE OF o)"
            " UPDATE outbox o SET due_at = NULL FROM told WHERE o.id = told.id RETURNING o.group_id"
        ),
        arrays([row.reference for row in rows]),
    )
    groups = [group for group in freed.scalars() if group is not None]
    announce(connection)
    return groups


def _by_reference(received: Sequence[Received]) -> dict[Reference, list[Received]]:
    found: defaultdict[Reference, list[Received]] = defaultdict(list)
    for event in received:
        found[event.reference].append(event)
    return dict(found)


def _kinds(events: Sequence[Received], mine: set[InboxKey]) -> frozenset[EventKind]:
    """What the events say that nobody had folded before."""
    return frozenset(event.kind for event in events if event.key in mine)

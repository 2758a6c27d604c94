"""Moving a batch's counts together with its rows: progress is their sum, never `count(*)`."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime

import orjson
from sqlalchemy import Connection, text

from domain.outcome import Outcome, Reason, count_key


@dataclass(slots=True, kw_only=True)
class LockedBatch:
    """A batch row locked FOR NO KEY UPDATE, with its counts as they are being moved."""

    send_id: int
    lo: int
    hi: int
    epoch: int
    now: datetime
    """The database's clock when the lock was had."""
    counts: Counter[str]

    def move(self, before: Outcome, before_reason: Reason, after: Outcome, reason: Reason) -> None:
        """One message's outcome changed. `owed` is what no other count holds."""
        if before is not Outcome.OWED:
            self.counts[count_key(before, before_reason)] -= 1
        self.add(after, reason)

    def add(self, outcome: Outcome, reason: Reason = Reason.NONE, messages: int = 1) -> None:
        """Messages that had no outcome got this one."""
        if outcome is not Outcome.OWED:
            self.counts[count_key(outcome, reason)] += messages

    def save(self, connection: Connection) -> None:
        """Write the counts back; the lock is held until the transaction ends."""
        connection.execute(
            text(
                "UPDATE batch SET counts = CAST(:counts AS jsonb) WHERE send_id = :send AND lo = :lo"
            ),
            {
                "counts": orjson.dumps({key: n for key, n in self.counts.items() if n}).decode(),
                "send": self.send_id,
                "lo": self.lo,
            },
        )


def lock_batch(connection: Connection, send_id: int, lo: int) -> LockedBatch:
    """Lock the batch's row: the first lock of every transaction that moves outcomes."""
    row = connection.execute(
        text(
            "SELECT hi, epoch, counts FROM batch WHERE send_id = :send AND lo = :lo"
            " FOR NO KEY UPDATE"
        ),
        {"send": send_id, "lo": lo},
    ).one()
    # A statement of its own: the clock after the wait for the lock, not before it.
    now = connection.execute(text("SELECT clock_timestamp()")).scalar_one()
    return LockedBatch(
        send_id=send_id, lo=lo, hi=row.hi, epoch=row.epoch, now=now, counts=Counter(row.counts)
    )

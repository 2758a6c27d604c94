"""Waiting messages that are to be looked at now, because something they waited by has changed.

Nobody goes early by it: every rule is asked again, and who must still wait waits again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, text

from models.outbox import announce


@dataclass(frozen=True, slots=True, kw_only=True)
class Rechecked:
    """What is due now."""

    parked: int
    """Single messages that waited outside any workflow."""
    groups: Sequence[int]
    """Groups that have others of them, to be poked."""
    campaigns: Sequence[int]
    """Campaigns whose batches waited; they look within minutes, at once when they are poked."""


_OF_SEND = "= :send"
_BY_LOCAL_TIME = (
    "IN (SELECT id FROM send WHERE team_id = :team AND closed_at IS NULL AND local_at IS NOT NULL)"
)
# Messages older than all that is open are in partitions that need not be read.
_OF_RECIPIENT = """
    SELECT m.send_id, m.ordinal FROM message m JOIN recipient r ON r.id = m.recipient_id
    WHERE (r.id = ANY(:recipients) OR r.merged_into = ANY(:recipients))
      AND m.send_id >= (SELECT min(id) FROM send WHERE closed_at IS NULL)
"""


def recheck_send(connection: Connection, send_id: int) -> Rechecked:
    """Whoever waits of this send."""
    values = {"send": send_id}
    campaigns = _resume(connection, f"b.send_id {_OF_SEND}", values)
    return _release(connection, f"o.send_id {_OF_SEND}", values, campaigns)


def recheck_recipient(connection: Connection, recipient_id: int) -> Rechecked:
    """Whatever waits for this person, also under ids that were merged into theirs."""
    return recheck_recipients(connection, [recipient_id])


def recheck_recipients(connection: Connection, recipient_ids: Sequence[int]) -> Rechecked:
    """The same for several people."""
    values = {"recipients": list(recipient_ids)}
    campaigns = _resume(
        connection,
        f"EXISTS (SELECT 1 FROM ({_OF_RECIPIENT}) AS x WHERE x.send_id = b.send_id"  # noqa: S608  constants
        " AND x.ordinal BETWEEN b.lo AND b.hi)",
        values,
    )
    which = f"(o.send_id, o.ordinal) IN ({_OF_RECIPIENT})"
    return _release(connection, which, values, campaigns)


def recheck_local_sends(connection: Connection, team_id: int) -> Rechecked:
    """Whoever of the team waits by local time: many clocks may have changed."""
    values = {"team": team_id}
    campaigns = _resume(connection, f"b.send_id {_BY_LOCAL_TIME}", values)
    return _release(connection, f"o.send_id {_BY_LOCAL_TIME}", values, campaigns)


def _resume(connection: Connection, which: str, values: dict[str, Any]) -> list[int]:
    """Batches come first in the order of locks."""
    rows = connection.execute(
        text(
            "UPDATE batch b SET resume_at = NULL WHERE b.resume_at > clock_timestamp()"  # noqa: S608  constants
            " AND b.send_id IN (SELECT id FROM send WHERE closed_at IS NULL AND kind = 'campaign')"
            f" AND {which} RETURNING b.send_id"
        ),
        values,
    )
    return sorted(set(rows.scalars()))


def _release(
    connection: Connection, which: str, values: dict[str, Any], campaigns: Sequence[int]
) -> Rechecked:
    row = connection.execute(
        text(
            f"WITH mine AS (SELECT o.id, o.group_id FROM outbox o WHERE {which}),"  # noqa: S608  constants
            " freed AS (UPDATE outbox SET due_at = NULL"
            "  WHERE id IN (SELECT id FROM mine WHERE group_id IS NULL) RETURNING 1)"
            " SELECT (SELECT count(*) FROM freed) AS parked,"
            " ARRAY(SELECT DISTINCT group_id FROM mine WHERE group_id IS NOT NULL) AS groups"
        ),
        values,
    ).one()
    if row.parked:
        announce(connection)
    return Rechecked(parked=row.parked, groups=row.groups, campaigns=campaigns)

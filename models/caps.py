"""Frequency caps, counted: taken in the claim's transaction, handed back in the settle's.

Counts are locked cap by cap, each in the order of recipients, everywhere: so nobody waits in a ring.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime, tzinfo
from typing import NamedTuple

from sqlalchemy import Connection, text

from domain.cap import ROLLING, Cap, worst
from domain.eligibility import OverCap


class CapMember(NamedTuple):
    """A message of a send that is about to go."""

    ordinal: int
    recipient_id: int
    zone: tzinfo
    """Where the recipient is: whose day counts."""


class _Use(NamedTuple):
    """A message counted under a cap."""

    ordinal: int
    cap_id: int
    recipient_id: int
    window_key: str
    used_at: datetime


def take_caps(
    connection: Connection,
    send_id: int,
    members: Sequence[CapMember],
    caps: Sequence[Cap],
    now: datetime,
) -> dict[int, OverCap]:
    """Count these messages under all the caps; by ordinal, those that would be too many.

    All caps of a message or none. A message that is counted already, by a try whose answer is not
    known, is not counted again. Call it when the batch (or group) and the delivery rows are locked.
    """
    if not caps or not members:
        return {}
    counted = _own_uses(connection, send_id, members)
    refused: set[int] = set()
    taken: list[_Use] = []
    for cap in sorted(caps, key=lambda cap: cap.id):
        asking = [
            _Use(member.ordinal, cap.id, member.recipient_id, cap.key(now, member.zone), now)
            for member in sorted(members, key=lambda member: member.recipient_id)
            if member.ordinal not in refused and (member.ordinal, cap.id) not in counted
        ]
        granted = _count(connection, cap, asking, now)
        refused.update(use.ordinal for use in asking if use.recipient_id not in granted)
        taken.extend(use for use in asking if use.recipient_id in granted)
    _uncount(connection, [use for use in taken if use.ordinal in refused])
    _keep(connection, send_id, [use for use in taken if use.ordinal not in refused])
    if not refused:
        return {}
    left = [member for member in members if member.ordinal in refused]
    over = over_caps(connection, send_id, left, caps, now)
    # Another transaction may have handed one back in between: then it is asked again at once.
    return {ordinal: over.get(ordinal, OverCap(until=now)) for ordinal in refused}


def return_caps(connection: Connection, send_id: int, ordinals: Iterable[int]) -> None:
    """These messages were certainly not accepted: they count no more."""
    rows = connection.execute(
        text(
            "DELETE FROM cap_use WHERE send_id = :send AND ordinal = ANY(:ordinals)"
            " RETURNING ordinal, cap_id, recipient_id, window_key, used_at"
        ),
        {"send": send_id, "ordinals": list(ordinals)},
    )
    _uncount(connection, [_Use(*row) for row in rows])


def over_caps(
    connection: Connection,
    send_id: int,
    members: Sequence[CapMember],
    caps: Sequence[Cap],
    now: datetime,
) -> dict[int, OverCap]:
    """By ordinal, which of these messages would be too many now; nothing is counted."""
    if not caps or not members:
        return {}
    counted = _own_uses(connection, send_id, members)
    rows = connection.execute(
        text(
            "SELECT recipient_id, cap_id, window_key, used, used_at FROM cap_count"
            " WHERE recipient_id = ANY(:recipients) AND cap_id = ANY(:caps)"
        ),
        {
            "recipients": [member.recipient_id for member in members],
            "caps": [cap.id for cap in caps],
        },
    )
    counts = {row[:3]: (row.used, row.used_at) for row in rows}
    found: dict[int, list[OverCap]] = defaultdict(list)
    for member in members:
        for cap in caps:
            key = (member.recipient_id, cap.id, cap.key(now, member.zone))
            if key in counts and (member.ordinal, cap.id) not in counted:
                over = cap.over_with(*counts[key], now, member.zone)
                found[member.ordinal] += [over] if over else []
    return {ordinal: over for ordinal, overs in found.items() if (over := worst(overs))}


def forget_past(connection: Connection) -> int:
    """Drop counts that no cap can ask for any more; how many there were.

    Days are the recipients': two after it ended in Greenwich a day is over everywhere.
    """
    return connection.execute(
        text(
            "DELETE FROM cap_count n WHERE CASE WHEN n.window_key <> :rolling"
            " THEN n.window_key < to_char(clock_timestamp() AT TIME ZONE 'UTC' - interval '2 days', 'YYYY-MM-DD')"
            " ELSE NOT EXISTS (SELECT 1 FROM cap c, unnest(n.used_at) AS u(at)"
            "  WHERE c.id = n.cap_id AND u.at > clock_timestamp() - make_interval(hours => c.hours)) END"
        ),
        {"rolling": ROLLING},
    ).rowcount


def _own_uses(
    connection: Connection, send_id: int, members: Sequence[CapMember]
) -> set[tuple[int, int]]:
    """(ordinal, cap) of those that are counted already."""
    rows = connection.execute(
        text(
            "SELECT ordinal, cap_id FROM cap_use WHERE send_id = :send AND ordinal = ANY(:ordinals)"
        ),
        {"send": send_id, "ordinals": [member.ordinal for member in members]},
    )
    return {(row.ordinal, row.cap_id) for row in rows}


_COUNT_DAY = """
    INSERT INTO cap_count AS n (recipient_id, cap_id, window_key, used)
    SELECT recipient_id, :cap, window_key, 1
    FROM unnest(CAST(:recipients AS bigint[]), CAST(:keys AS text[])) AS a(recipient_id, window_key)
    ORDER BY recipient_id
    ON CONFLICT (recipient_id, cap_id, window_key) DO UPDATE SET used = n.used + 1
    WHERE n.used < :most
    RETURNING n.recipient_id
"""
_RECENT = "ARRAY(SELECT at FROM unnest(n.used_at) AS u(at) WHERE at > :since)"
_COUNT_ROLLING = f"""
    INSERT INTO cap_count AS n (recipient_id, cap_id, window_key, used, used_at)
    SELECT recipient_id, :cap, window_key, 1, ARRAY[CAST(:now AS timestamptz)]
    FROM unnest(CAST(:recipients AS bigint[]), CAST(:keys AS text[])) AS a(recipient_id, window_key)
    ORDER BY recipient_id
    ON CONFLICT (recipient_id, cap_id, window_key) DO UPDATE
    SET used = cardinality({_RECENT}) + 1, used_at = {_RECENT} || CAST(:now AS timestamptz)
    WHERE cardinality({_RECENT}) < :most
    RETURNING n.recipient_id
"""  # noqa: S608  constants


def _count(connection: Connection, cap: Cap, asking: Sequence[_Use], now: datetime) -> set[int]:
    """Recipients whose count was below the cap and is one more now.

    Two transactions that ask for the same person wait for each other: the second sees the first's.
    """
    if not asking:
        return set()
    granted = connection.execute(
        text(_COUNT_DAY if cap.hours is None else _COUNT_ROLLING),
        {
            "cap": cap.id,
            "most": cap.most,
            "now": now,
            "since": cap.since(now),
            "recipients": [use.recipient_id for use in asking],
            "keys": [use.window_key for use in asking],
        },
    ).scalars()
    return set(granted)


def _keep(connection: Connection, send_id: int, uses: Sequence[_Use]) -> None:
    if not uses:
        return
    connection.execute(
        text(
            "INSERT INTO cap_use (send_id, ordinal, cap_id, recipient_id, window_key, used_at)"
            " SELECT :send, * FROM unnest(CAST(:ordinals AS integer[]), CAST(:caps AS bigint[]),"
            " CAST(:recipients AS bigint[]), CAST(:keys AS text[]), CAST(:times AS timestamptz[]))"
        ),
        {"send": send_id, **_columns(uses)},
    )


def _uncount(connection: Connection, uses: Sequence[_Use]) -> None:
    """Take these uses from their counts; what has left its window already changes nothing."""
    if not uses:
        return
    given = (
        "unnest(CAST(:caps AS bigint[]), CAST(:recipients AS bigint[]), CAST(:keys AS text[]),"
        " CAST(:times AS timestamptz[])) AS g(cap_id, recipient_id, window_key, used_at)"
    )
    same = "n.cap_id = g.cap_id AND n.recipient_id = g.recipient_id AND n.window_key = g.window_key"
    columns = _columns(uses)
    connection.execute(
        text(
            f"SELECT 1 FROM cap_count n JOIN {given} ON {same}"  # noqa: S608  constants
            " ORDER BY n.cap_id, n.recipient_id FOR NO KEY UPDATE OF n"
        ),
        columns,
    )
    at = "array_position(n.used_at, g.used_at)"
    connection.execute(
        text(
            "UPDATE cap_count n SET"  # noqa: S608  constants
            " used = CASE WHEN n.window_key <> :rolling THEN n.used - 1"
            f" ELSE cardinality(n.used_at) - CASE WHEN {at} IS NULL THEN 0 ELSE 1 END END,"
            f" used_at = coalesce(n.used_at[1 : {at} - 1]"
            f" || n.used_at[{at} + 1 : cardinality(n.used_at)], n.used_at)"
            f" FROM {given} WHERE {same}"
        ),
        {**columns, "rolling": ROLLING},
    )


def _columns(uses: Sequence[_Use]) -> dict[str, list[object]]:
    return {
        "ordinals": [use.ordinal for use in uses],
        "caps": [use.cap_id for use in uses],
        "recipients": [use.recipient_id for use in uses],
        "keys": [use.window_key for use in uses],
        "times": [use.used_at for use in uses],
    }

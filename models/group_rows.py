"""Delivery rows of single messages: read under locks, written by one statement for many sends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection

from domain.outcome import Outcome, Reason
from models.delivery_rows import PART
from models.prepared import Prepared


class MemberKey(NamedTuple):
    """Key of a delivery row; its part is 0."""

    send_id: int
    ordinal: int
    step: int


class StoredRow(NamedTuple):
    """A delivery row as it stands, locked by the transaction that read it."""

    outcome: Outcome
    reason: Reason
    tries: int
    attempt_id: int | None


class NewRow(NamedTuple):
    """A delivery row as it is to be."""

    key: MemberKey
    outcome: Outcome
    reason: Reason = Reason.NONE
    tries: int = 0
    attempt_id: int | None = None
    contact_point_id: int | None = None
    accepted_at: datetime | None = None
    decide_at: datetime | None = None


_KEYS = "unnest(CAST(:sends AS bigint[]), CAST(:ordinals AS integer[]), CAST(:steps AS smallint[]))"


_LOCK_MEMBER_ROWS = Prepared(
    "group_rows_lock_member_rows",
    "SELECT x.send_id, x.ordinal, x.step, d.outcome, d.reason, d.tries, d.attempt_id"  # noqa: S608  constants
    f" FROM (SELECT * FROM {_KEYS} AS y(send_id, ordinal, step) ORDER BY 1, 2, 3) x"
    " CROSS JOIN LATERAL (SELECT outcome, reason, tries, attempt_id FROM delivery"
    "  WHERE send_id = x.send_id AND ordinal = x.ordinal AND step = x.step AND part = :part"
    "  FOR NO KEY UPDATE) d",
)


def lock_member_rows(
    connection: Connection, keys: Sequence[MemberKey]
) -> dict[MemberKey, StoredRow]:
    """The rows that these members have, locked in key order."""
    if not keys:
        return {}
    rows = _LOCK_MEMBER_ROWS.run(connection, {**_arrays(keys), "part": PART})
    return {
        MemberKey(row.send_id, row.ordinal, row.step): StoredRow(
            Outcome(row.outcome), Reason(row.reason), row.tries, row.attempt_id
        )
        for row in rows
    }


_WRITE_ROWS = Prepared(
    "group_rows_write_rows",
    "INSERT INTO delivery AS d (send_id, ordinal, step, part, outcome, reason, tries,"
    " attempt_id, contact_point_id, accepted_at, decide_at)"
    " SELECT send_id, ordinal, step, :part, outcome, reason, tries, attempt, contact,"
    " accepted, decide FROM unnest(CAST(:sends AS bigint[]), CAST(:ordinals AS integer[]),"
    " CAST(:steps AS smallint[]), CAST(:outcomes AS smallint[]), CAST(:reasons AS smallint[]),"
    " CAST(:tries AS smallint[]), CAST(:attempts AS bigint[]), CAST(:contacts AS bigint[]),"
    " CAST(:accepted AS timestamptz[]), CAST(:decide AS timestamptz[])) AS x(send_id, ordinal,"
    " step, outcome, reason, tries, attempt, contact, accepted, decide)"
    " ON CONFLICT (send_id, ordinal, step, part) DO UPDATE SET outcome = excluded.outcome,"
    " reason = excluded.reason, tries = excluded.tries, attempt_id = excluded.attempt_id,"
    " contact_point_id = coalesce(excluded.contact_point_id, d.contact_point_id),"
    " accepted_at = coalesce(excluded.accepted_at, d.accepted_at),"
    " decide_at = excluded.decide_at",
)


def write_rows(
    connection: Connection, rows: Sequence[NewRow], replaced: Mapping[MemberKey, StoredRow]
) -> None:
    """Insert these rows or, where one stands, replace it; what it said before is kept as an event.

    `replaced`: the rows that stand, from `lock_member_rows`.
    """
    if not rows:
        return
    _record(
        connection,
        "superseded",
        [
            (row.key, replaced[row.key])
            for row in rows
            if row.key in replaced
            and replaced[row.key].outcome is not Outcome.OWED
            and replaced[row.key].outcome is not row.outcome
        ],
    )
    _WRITE_ROWS.run(
        connection,
        {
            **_arrays([row.key for row in rows]),
            "part": PART,
            "outcomes": [int(row.outcome) for row in rows],
            "reasons": [int(row.reason) for row in rows],
            "tries": [row.tries for row in rows],
            "attempts": [row.attempt_id for row in rows],
            "contacts": [row.contact_point_id for row in rows],
            "accepted": [row.accepted_at for row in rows],
            "decide": [row.decide_at for row in rows],
        },
    )


def write_unknown(
    connection: Connection,
    keys: Sequence[MemberKey],
    attempt_id: int,
    decide_at: datetime,
) -> None:
    """The answers about these members are lost: unknown, unless their row is final already."""
    rows = lock_member_rows(connection, keys)
    fresh = [
        NewRow(
            key,
            Outcome.UNKNOWN,
            tries=(rows[key].tries if key in rows else 0) + 1,
            attempt_id=attempt_id,
            decide_at=decide_at,
        )
        for key in keys
        if key not in rows or not rows[key].outcome.is_final
    ]
    write_rows(connection, fresh, rows)


def record_duplicates(connection: Connection, attempt_id: int, keys: Sequence[MemberKey]) -> None:
    """Append that another attempt's acceptance stands already: these people got it twice."""
    _record(
        connection,
        "confirmed_duplicate",
        [(key, StoredRow(Outcome.ACCEPTED, Reason.NONE, 0, attempt_id)) for key in keys],
    )


_RECORD = Prepared(
    "group_rows_record",
    "INSERT INTO delivery_event (occurred_on, send_id, ordinal, step, part, kind, attempt_id, raw)"
    " SELECT (clock_timestamp() AT TIME ZONE 'UTC')::date, send_id, ordinal, step, :part, :kind,"
    " attempt, jsonb_build_object('outcome', outcome, 'tries', tries)"
    " FROM unnest(CAST(:sends AS bigint[]), CAST(:ordinals AS integer[]),"
    " CAST(:steps AS smallint[]), CAST(:attempts AS bigint[]), CAST(:outcomes AS text[]),"
    " CAST(:tries AS integer[])) AS x(send_id, ordinal, step, attempt, outcome, tries)",
)


def _record(
    connection: Connection, kind: str, events: Sequence[tuple[MemberKey, StoredRow]]
) -> None:
    if not events:
        return
    _RECORD.run(
        connection,
        {
            **_arrays([key for key, _ in events]),
            "part": PART,
            "kind": kind,
            "attempts": [row.attempt_id for _, row in events],
            "outcomes": [row.outcome.word for _, row in events],
            "tries": [row.tries for _, row in events],
        },
    )


def _arrays(keys: Sequence[MemberKey]) -> dict[str, list[int]]:
    return {
        "sends": [key.send_id for key in keys],
        "ordinals": [key.ordinal for key in keys],
        "steps": [key.step for key in keys],
    }

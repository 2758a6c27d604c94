"""Pages of a team's messages, newest first, by keyset on (send, ordinal)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, text

from domain.outcome import Outcome, Progress, Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageFilter:
    """Which messages; None: any."""

    send_id: int | None = None
    recipient: str | None = None
    """External id."""
    template: str | None = None
    """Key, without a version."""
    topic: str | None = None
    idempotency_key: str | None = None
    outcome: Outcome | None = None
    since: datetime | None = None
    """Aware; of the send's creation."""
    until: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedMessage:
    """A message as lists show it."""

    send_id: int
    ordinal: int
    created_at: datetime
    template: str
    recipient_id: int
    recipient: str | None
    topic: str | None
    idempotency_key: str | None
    is_test: bool
    channel: str
    step: int
    outcome: Outcome
    reason: Reason
    progress: Progress


_SELECT = """
    SELECT m.send_id, m.ordinal, s.created_at, p.key || '@' || v.number AS template,
           m.recipient_id, r.external_id AS recipient, t.key AS topic, s.idempotency_key, s.is_test,
           coalesce(d.step, 1) AS step, coalesce(d.outcome, 0) AS outcome,
           coalesce(s.plan -> (coalesce(d.step, 1) - 1) ->> 'channel', s.channel) AS channel,
           coalesce(d.reason, 0) AS reason, coalesce(d.progress, 0) AS progress
    FROM message m JOIN send s ON s.id = m.send_id
    JOIN template_version v ON v.id = s.template_version_id JOIN template p ON p.id = v.template_id
    JOIN recipient r ON r.id = m.recipient_id LEFT JOIN topic t ON t.id = s.topic_id
    LEFT JOIN LATERAL (SELECT * FROM delivery x WHERE x.send_id = m.send_id
        AND x.ordinal = m.ordinal ORDER BY x.step DESC LIMIT 1) d ON true
    WHERE s.team_id = :team
"""
# Each is a condition of its own, so that the plan is made for those that are asked for.
_CONDITIONS: Mapping[str, str] = {
    "send_id": "m.send_id = :send_id",
    # By the index on (recipient, send).
    "recipient": "m.recipient_id IN (SELECT id FROM recipient WHERE team_id = :team"
    " AND external_id = :recipient)",
    "template": "p.key = :template",
    "topic": "t.key = :topic",
    "idempotency_key": "s.id = (SELECT id FROM send WHERE team_id = :team"
    " AND idempotency_key = :idempotency_key)",
    "outcome": "coalesce(d.outcome, 0) = :outcome",
    # The key of a send is its time, so the range holds for the messages' key, too.
    "since": "m.send_id >= key_at(:since)",
    "until": "m.send_id < key_at(:until)",
}


def list_messages(
    connection: Connection,
    team_id: int,
    wanted: MessageFilter,
    *,
    after: tuple[int, int] | None = None,
    limit: int,
) -> list[ListedMessage]:
    """Up to `limit` messages that come after the one with this send and ordinal, newest first."""
    values = {name: getattr(wanted, name) for name in _CONDITIONS}
    given = {name: value for name, value in values.items() if value is not None}
    sql = _SELECT + "".join(f" AND {_CONDITIONS[name]}" for name in given)
    if after is not None:
        sql += " AND (m.send_id, m.ordinal) < (:after_send, :after_ordinal)"
        given |= {"after_send": after[0], "after_ordinal": after[1]}
    rows = connection.execute(
        text(sql + " ORDER BY m.send_id DESC, m.ordinal DESC LIMIT :limit"),
        {**given, "team": team_id, "limit": limit},
    )
    return [_line(row) for row in rows.mappings()]


def _line(row: Mapping[Any, Any]) -> ListedMessage:
    return ListedMessage(
        **{
            **row,
            "outcome": Outcome(row["outcome"]),
            "reason": Reason(row["reason"]),
            "progress": Progress(row["progress"]),
        }
    )

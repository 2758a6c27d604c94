"""Figures for operators, read from rows: each query looks at a bounded number of them.

Run by one role (upkeep) at each scrape; 10,000 of something means that many or more.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from sqlalchemy import Connection, RowMapping, text

from domain.outcome import Outcome

MOST_ROWS = 10_000
MOST_CAMPAIGNS = 200
MOST_ACCOUNTS = 500
QUERY_TIMEOUT = "3s"


class Figure(NamedTuple):
    """One number of a family, with the values of the family's labels in their order."""

    family: str
    labels: tuple[str, ...]
    value: float


# Stages of the outbox: what no group has yet (outbox_ungrouped), and what a group drives
# (outbox_of_group). Parked messages wait on purpose and have no age.
_OUTBOX = f"""
    SELECT CAST(p.priority AS text) AS priority, 'waiting' AS stage, x.messages, x.age
    FROM generate_series(0, 3) AS p(priority) CROSS JOIN LATERAL (
        SELECT count(*) AS messages, coalesce(extract(epoch FROM clock_timestamp()
               - min(greatest(s.created_at, s.due_at))), 0) AS age
        FROM (SELECT o.send_id FROM outbox o WHERE o.priority = p.priority
              AND o.group_id IS NULL AND o.due_at IS NULL ORDER BY o.id
              LIMIT {MOST_ROWS}) o
        JOIN send s ON s.id = o.send_id) x
    UNION ALL
    SELECT CAST(p.priority AS text), 'driven', count(o.priority), coalesce(extract(epoch FROM
           clock_timestamp() - min(greatest(o.created_at, o.due_at))), 0)
    FROM generate_series(0, 3) AS p(priority) LEFT JOIN (
        SELECT g.priority, s.created_at, s.due_at
        FROM (SELECT send_id, priority FROM outbox WHERE group_id IS NOT NULL
              LIMIT {MOST_ROWS}) g
        JOIN send s ON s.id = g.send_id) o ON o.priority = p.priority
    GROUP BY p.priority
"""  # noqa: S608  constants of ours

_PARKED = f"""
    SELECT count(*) AS messages FROM (SELECT 1 FROM outbox
    WHERE group_id IS NULL AND due_at IS NOT NULL LIMIT {MOST_ROWS}) x
"""  # noqa: S608  constants of ours

_INBOX = f"""
    SELECT count(*) AS events, greatest(0, coalesce(extract(epoch FROM clock_timestamp()
           - min(due_at)), 0)) AS lag
    FROM (SELECT due_at FROM event_inbox WHERE folded_at IS NULL ORDER BY due_at
          LIMIT {MOST_ROWS}) x
"""  # noqa: S608  constants of ours

_OPEN_CAMPAIGNS = f"""
    SELECT id, state, messages FROM send WHERE closed_at IS NULL AND kind = 'campaign'
    AND state IN ('accepted', 'running', 'paused') ORDER BY id DESC LIMIT {MOST_CAMPAIGNS}
"""  # noqa: S608  constants of ours

_CAMPAIGN_STATES = f"SELECT state, count(*) AS campaigns FROM ({_OPEN_CAMPAIGNS}) x GROUP BY state"  # noqa: S608  constants of ours

_CAMPAIGN_MESSAGES = f"""
    WITH open AS MATERIALIZED ({_OPEN_CAMPAIGNS}),
    said AS (SELECT split_part(c.key, ':', 1) AS outcome, sum(CAST(c.n AS integer)) AS n
             FROM open JOIN batch b ON b.send_id = open.id, jsonb_each_text(b.counts) AS c(key, n)
             GROUP BY 1)
    SELECT outcome, n FROM said
    UNION ALL SELECT 'owed', coalesce((SELECT sum(messages) FROM open), 0)
              - coalesce((SELECT sum(n) FROM said), 0)
"""  # noqa: S608  constants of ours

# Of single messages; a campaign's are among its batches' counts.
_UNKNOWN_SINGLE = f"""
    SELECT count(*) AS messages FROM (SELECT send_id, ordinal FROM outbox LIMIT {MOST_ROWS}) o
    JOIN delivery d ON d.send_id = o.send_id AND d.ordinal = o.ordinal
    AND d.outcome = {int(Outcome.UNKNOWN)}
"""  # noqa: S608  constants of ours

_ACCOUNTS = f"""
    SELECT t.key AS team, a.key AS account, a.channel, a.state = 'up' AS is_up,
           a.breaker_until IS NOT NULL AS is_open, a.weight,
           coalesce(sum(h.answers), 0) AS answers, coalesce(sum(h.errors), 0) AS errors,
           coalesce(sum(h.slow), 0) AS slow
    FROM provider_account a JOIN team t ON t.id = a.team_id
    LEFT JOIN account_health h ON h.account_id = a.id
         AND h.bucket > clock_timestamp() - interval '5 minutes'
    WHERE NOT a.is_test GROUP BY t.key, a.id ORDER BY a.id LIMIT {MOST_ACCOUNTS}
"""  # noqa: S608  constants of ours

_HOLDS = "SELECT scope, count(*) AS holds FROM hold WHERE released_at IS NULL GROUP BY scope"

# delivery_event_duplicates holds these rows alone.
_DUPLICATES = f"""
    SELECT count(*) AS duplicates FROM (SELECT 1 FROM delivery_event
    WHERE kind = 'confirmed_duplicate' LIMIT {MOST_ROWS}) x
"""  # noqa: S608  constants of ours


def read_figures(connection: Connection) -> list[Figure]:
    """All of them, of the database's moment; each query ends after three seconds at the latest."""
    connection.execute(text(f"SET LOCAL statement_timeout = '{QUERY_TIMEOUT}'"))
    return [
        figure
        for sql, figures in _QUERIES
        for row in connection.execute(text(sql)).mappings()
        for figure in figures(row)
    ]


def _of_outbox(row: RowMapping) -> list[Figure]:
    labels = (row["priority"], row["stage"])
    return [
        Figure("outbox_messages", labels, row["messages"]),
        Figure("queue_age_seconds", labels, row["age"]),
    ]


def _of_inbox(row: RowMapping) -> list[Figure]:
    return [
        Figure("inbox_events", (), row["events"]),
        Figure("event_lag_seconds", (), row["lag"]),
    ]


def _of_account(row: RowMapping) -> list[Figure]:
    labels = (row["team"], row["account"], row["channel"])
    return [
        Figure("account_up", labels, row["is_up"]),
        Figure("account_breaker_open", labels, row["is_open"]),
        Figure("account_weight", labels, row["weight"]),
        Figure("account_recent_answers", labels, row["answers"]),
        Figure("account_recent_errors", labels, row["errors"]),
        Figure("account_recent_slow_answers", labels, row["slow"]),
    ]


def _one(family: str, value: str, *labels: str) -> Callable[[RowMapping], list[Figure]]:
    return lambda row: [Figure(family, tuple(row[label] for label in labels), row[value])]


_QUERIES: Sequence[tuple[str, Callable[[RowMapping], list[Figure]]]] = (
    (_OUTBOX, _of_outbox),
    (_PARKED, _one("outbox_parked_messages", "messages")),
    (_INBOX, _of_inbox),
    (_CAMPAIGN_STATES, _one("open_campaigns", "campaigns", "state")),
    (_CAMPAIGN_MESSAGES, _one("campaign_messages", "n", "outcome")),
    (_UNKNOWN_SINGLE, _one("unknown_single_messages", "messages")),
    (_ACCOUNTS, _of_account),
    (_HOLDS, _one("open_holds", "holds", "scope")),
    (_DUPLICATES, _one("confirmed_duplicates", "duplicates")),
)

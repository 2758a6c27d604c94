"""The accounts of single messages: every message is final, or has an outbox row; never neither."""

from __future__ import annotations

from collections import defaultdict

from sqlalchemy import Connection, text

from domain.outcome import Outcome
from domain.send import SendKind

MOST_PROBLEMS = 100

# The last row of each message of the requests that are looked at.
_STANDS = """
    WITH looked AS (SELECT id, closed_at FROM send WHERE team_id = :team AND kind = 'request'
                    AND (CAST(:send AS bigint) IS NULL OR id = :send)),
    stands AS (
        SELECT l.id AS send_id, m.ordinal, l.closed_at IS NOT NULL AS is_closed,
               d.step IS NOT NULL AND d.outcome NOT IN (:owed, :unknown) AND d.decide_at IS NULL AS is_final,
               o.id IS NOT NULL AS is_in_outbox
        FROM looked l JOIN message m ON m.send_id = l.id
        LEFT JOIN LATERAL (SELECT x.step, x.outcome, x.decide_at FROM delivery x
            WHERE x.send_id = m.send_id AND x.ordinal = m.ordinal ORDER BY x.step DESC LIMIT 1) d ON true
        LEFT JOIN outbox o ON o.send_id = m.send_id AND o.ordinal = m.ordinal)
"""

_QUESTIONS = {
    "message {n} is not final, and nobody will look at it": (
        "SELECT send_id, ordinal AS n FROM stands WHERE NOT is_final AND NOT is_in_outbox"
    ),
    "it is closed, but message {n} is not final": (
        "SELECT send_id, ordinal AS n FROM stands WHERE is_closed AND NOT is_final"
    ),
    "it is closed, but message {n} is in the outbox": (
        "SELECT send_id, ordinal AS n FROM stands WHERE is_closed AND is_in_outbox"
    ),
    "it has messages, all final, and is not closed, {n} of them": (
        "SELECT send_id, count(*) AS n FROM stands WHERE NOT is_closed GROUP BY send_id"
        " HAVING bool_and(is_final AND NOT is_in_outbox)"
    ),
}

_ACCEPTANCES = """
    WITH looked AS (SELECT id FROM send WHERE team_id = :team AND kind = 'request'
                    AND (CAST(:send AS bigint) IS NULL OR id = :send)),
    said AS (SELECT x.send_id, count(*) AS n FROM attempt a
             CROSS JOIN LATERAL unnest(a.sends, string_to_array(a.members, NULL)) AS x(send_id, letter)
             WHERE a.sends && ARRAY(SELECT id FROM looked) AND x.letter = 'a'
             AND x.send_id IN (SELECT id FROM looked) GROUP BY x.send_id),
    rows AS (SELECT send_id, count(*) AS n FROM delivery WHERE send_id IN (SELECT id FROM looked)
             AND outcome = :accepted AND attempt_id IS NOT NULL GROUP BY send_id),
    twice AS (SELECT send_id, count(*) AS n FROM delivery_event WHERE kind = 'confirmed_duplicate'
              AND attempt_id IS NOT NULL AND send_id IN (SELECT id FROM looked) GROUP BY send_id)
    SELECT l.id AS send_id, coalesce(s.n, 0) AS said, coalesce(r.n, 0) AS rows, coalesce(t.n, 0) AS twice
    FROM looked l LEFT JOIN said s ON s.send_id = l.id LEFT JOIN rows r ON r.send_id = l.id
    LEFT JOIN twice t ON t.send_id = l.id
    WHERE coalesce(s.n, 0) <> coalesce(r.n, 0) + coalesce(t.n, 0) LIMIT :most
"""


def is_request(connection: Connection, send_id: int) -> bool:
    """Whether the send is one of single messages."""
    kind = connection.execute(
        text("SELECT kind FROM send WHERE id = :id"), {"id": send_id}
    ).scalar()
    return bool(kind == SendKind.REQUEST)


def request_imbalances(
    connection: Connection, team_id: int, send_id: int | None = None
) -> dict[int, list[str]]:
    """Sentences by send about what does not add up in requests; empty when their accounts balance.

    `send_id`: only this one. At most 100 problems of a kind.
    """
    asked = {
        "team": team_id,
        "send": send_id,
        "owed": int(Outcome.OWED),
        "unknown": int(Outcome.UNKNOWN),
        "accepted": int(Outcome.ACCEPTED),
        "most": MOST_PROBLEMS,
    }
    found: defaultdict[int, list[str]] = defaultdict(list)
    for sentence, question in _QUESTIONS.items():
        for row in connection.execute(text(f"{_STANDS} {question} LIMIT :most"), asked):
            found[row.send_id].append(sentence.format(n=row.n))
    for row in connection.execute(text(_ACCEPTANCES), asked):
        found[row.send_id].append(
            f"its attempts hold {row.said} acceptances, its deliveries {row.rows},"
            f" recorded duplicates {row.twice}"
        )
    return dict(found)

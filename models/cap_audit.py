"""The counts of frequency caps against the uses they count: each is one message of one person."""

from __future__ import annotations

from sqlalchemy import Connection, text

from domain.cap import ROLLING
from domain.identifier import RECIPIENT_PREFIX, public_id

MOST_PROBLEMS = 100

# Of a day all uses count, of rolling hours those within them. Counts of days before yesterday are
# asked of nobody any more, and upkeep drops them.
_IS_ASKED = (
    "(window_key = :rolling OR window_key >="
    " to_char(clock_timestamp() AT TIME ZONE 'UTC' - interval '1 day', 'YYYY-MM-DD'))"
)
_COMPARED = f"""
    WITH held AS MATERIALIZED (
        SELECT id AS cap_id, clock_timestamp() - make_interval(hours => hours) AS since
        FROM cap WHERE team_id = :team),
    counted AS (
        SELECT cap_id, recipient_id, window_key, CASE WHEN since IS NULL THEN used
            ELSE (SELECT count(*) FROM unnest(used_at) AS u(at) WHERE u.at > since) END AS n
        FROM cap_count JOIN held USING (cap_id) WHERE {_IS_ASKED}),
    uses AS (
        SELECT cap_id, recipient_id, window_key, count(*) AS n
        FROM cap_use JOIN held USING (cap_id)
        WHERE {_IS_ASKED} AND (since IS NULL OR used_at > since)
        GROUP BY cap_id, recipient_id, window_key)
    SELECT cap_id, recipient_id, window_key, coalesce(c.n, 0) AS counted, coalesce(u.n, 0) AS used
    FROM counted c FULL JOIN uses u USING (cap_id, recipient_id, window_key)
    WHERE coalesce(c.n, 0) <> coalesce(u.n, 0)
    ORDER BY cap_id, recipient_id, window_key LIMIT :most
"""  # noqa: S608  constants


def cap_imbalances(connection: Connection, team_id: int) -> list[str]:
    """Sentences about counts of the team's caps that are not those of their uses; at most 100."""
    rows = connection.execute(
        text(_COMPARED), {"team": team_id, "rolling": ROLLING, "most": MOST_PROBLEMS}
    )
    return [
        f"cap {row.cap_id} counts {row.counted} to {public_id(RECIPIENT_PREFIX, row.recipient_id)}"
        f" ({row.window_key}), its uses are {row.used}"
        for row in rows
    ]

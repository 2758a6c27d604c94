"""What providers answered, summed per account and bucket of time, and the weights that follow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any

from sqlalchemy import Column, Connection, Integer, text
from sqlmodel import Field, SQLModel

from domain.health import Change, HealthRules, Seen, Standing, next_change
from models.columns import big, moment
from models.database import clock

KEPT_WINDOWS = 4
"""Windows of 15 minutes for which buckets are kept."""


class AccountHealth(SQLModel, table=True):
    """Answers of one account within one bucket of time, summed by processes before they write."""

    __tablename__ = "account_health"

    account_id: int = Field(sa_column=big(primary_key=True))
    bucket: datetime = Field(sa_column=Column(moment().type, primary_key=True))
    answers: int = Field(sa_column=Column(Integer, nullable=False, server_default="0"))
    errors: int = Field(sa_column=Column(Integer, nullable=False, server_default="0"))
    slow: int = Field(sa_column=Column(Integer, nullable=False, server_default="0"))


def record_answers(connection: Connection, sums: Mapping[int, Seen], rules: HealthRules) -> None:
    """Add what was answered, by account id, to the bucket of now."""
    connection.execute(
        text(
            "INSERT INTO account_health (account_id, bucket, answers, errors, slow)"
            " SELECT x.id, to_timestamp(floor(extract(epoch FROM clock_timestamp()) / :bucket) * :bucket),"
            "  x.answers, x.errors, x.slow"
            " FROM unnest(CAST(:ids AS bigint[]), CAST(:answers AS integer[]),"
            "  CAST(:errors AS integer[]), CAST(:slow AS integer[])) AS x(id, answers, errors, slow)"
            " ORDER BY x.id ON CONFLICT (account_id, bucket) DO UPDATE SET"
            " answers = account_health.answers + excluded.answers,"
            " errors = account_health.errors + excluded.errors,"
            " slow = account_health.slow + excluded.slow"
        ),
        {
            "bucket": rules.bucket.total_seconds(),
            "ids": list(sums),
            "answers": [seen.answers for seen in sums.values()],
            "errors": [seen.errors for seen in sums.values()],
            "slow": [seen.slow for seen in sums.values()],
        },
    )


_STANDINGS = """
    SELECT a.team_id, a.channel, a.is_real, a.id, a.weight, a.weight_configured, a.weight_changed_at,
           a.state = 'up' AND a.breaker_until IS NULL AND NOT EXISTS (
               SELECT 1 FROM hold h WHERE h.released_at IS NULL
               AND h.scope = 'account' AND h.scope_id = a.id) AS is_up,
           coalesce(sum(h.answers) FILTER (WHERE h.bucket > :minute), 0) AS minute_answers,
           coalesce(sum(h.errors) FILTER (WHERE h.bucket > :minute), 0) AS minute_errors,
           coalesce(sum(h.answers), 0) AS answers, coalesce(sum(h.errors), 0) AS errors,
           coalesce(sum(h.slow), 0) AS slow
    FROM provider_account a
    LEFT JOIN account_health h ON h.account_id = a.id AND h.bucket > :quarter
    WHERE NOT a.is_test GROUP BY a.id ORDER BY a.team_id, a.channel, a.is_real, a.id
"""


def _pools(connection: Connection, now: datetime, rules: HealthRules) -> list[list[Standing]]:
    """The accounts of each team and channel, real ones and the simulator's apart."""
    rows = connection.execute(
        text(_STANDINGS), {"minute": now - rules.minute, "quarter": now - rules.slow_window}
    ).all()
    pools = groupby(rows, key=lambda row: (row.team_id, row.channel, row.is_real))
    return [[_standing(row) for row in pool] for _, pool in pools]


def _standing(row: Any) -> Standing:
    return Standing(
        id=row.id,
        weight=row.weight,
        configured=row.weight_configured,
        changed_at=row.weight_changed_at,
        is_up=row.is_up,
        minute=Seen(answers=row.minute_answers, errors=row.minute_errors),
        quarter=Seen(answers=row.answers, errors=row.errors, slow=row.slow),
    )


def move_weights(connection: Connection, rules: HealthRules) -> list[Change]:
    """Move the weights that must move now; what was moved.

    The accounts are locked first, so of several processes that look at once the later ones see what
    the first has changed, and that it is too early for more.
    """
    connection.execute(text("SELECT id FROM provider_account ORDER BY id FOR NO KEY UPDATE"))
    now = clock(connection)
    changes = [next_change(pool, now, rules) for pool in _pools(connection, now, rules)]
    made = [change for change in changes if change is not None]
    for change in made:
        connection.execute(
            text(
                "UPDATE provider_account SET weight_changed_at = :now, weight_reason = :why,"
                " weight = weight + CASE WHEN id = :taker THEN :points ELSE -:points END"
                " WHERE id IN (:giver, :taker)"
            ),
            {
                "now": now,
                "why": change.why,
                "taker": change.taker,
                "giver": change.giver,
                "points": change.points,
            },
        )
    return made


def set_weight(connection: Connection, account_id: int, weight: int) -> None:
    """An operator's weight. All accounts beside it return to theirs, so that the total is right."""
    connection.execute(
        text("UPDATE provider_account SET weight_configured = :weight WHERE id = :id"),
        {"weight": weight, "id": account_id},
    )
    connection.execute(
        text(
            "UPDATE provider_account a SET weight = a.weight_configured,"
            " weight_changed_at = clock_timestamp(), weight_reason = 'operator'"
            " FROM provider_account o WHERE o.id = :id AND a.team_id = o.team_id"
            " AND a.channel = o.channel AND a.is_real = o.is_real AND a.is_test = o.is_test"
        ),
        {"id": account_id},
    )


def drop_old_buckets(connection: Connection, rules: HealthRules) -> int:
    """Drop the buckets that no window reaches any more; how many."""
    kept: timedelta = rules.slow_window * KEPT_WINDOWS
    return connection.execute(
        text("DELETE FROM account_health WHERE bucket < clock_timestamp() - :kept"), {"kept": kept}
    ).rowcount


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """What waits that an account's channel could take, and until when the last of it is parked."""

    owed: int
    parked: int
    until: datetime | None


def waiting_on_channel(connection: Connection, team_id: int, channel: str) -> Waiting:
    """Single messages of the team on the channel that are on their way or parked, up to 10,000."""
    row = connection.execute(
        text(
            "SELECT count(*) FILTER (WHERE group_id IS NOT NULL OR due_at IS NULL) AS owed,"
            " count(*) FILTER (WHERE group_id IS NULL AND due_at IS NOT NULL) AS parked,"
            " max(due_at) FILTER (WHERE group_id IS NULL) AS until FROM ("
            "  SELECT o.group_id, o.due_at FROM outbox o JOIN send s ON s.id = o.send_id"
            "  WHERE s.team_id = :team AND s.plan @> CAST(:step AS jsonb) LIMIT 10000) AS x"
        ),
        {"team": team_id, "step": f'[{{"channel": "{channel}"}}]'},
    ).one()
    return Waiting(owed=row.owed, parked=row.parked, until=row.until)


def make_channel_due(connection: Connection, account_id: int) -> list[int]:
    """An account is back: what was parked on its channel is due now; the groups of what waits.

    Messages asked for later keep their time.
    """
    groups = connection.execute(
        text(
            "WITH on_it AS (SELECT o.id, o.group_id, s.due_at AS wanted_at FROM outbox o"
            "  JOIN send s ON s.id = o.send_id JOIN provider_account a ON a.id = :id"
            "  WHERE s.team_id = a.team_id"
            "  AND s.plan @> jsonb_build_array(jsonb_build_object('channel', a.channel))),"
            " freed AS (UPDATE outbox SET due_at = NULL WHERE group_id IS NULL AND id IN"
            "  (SELECT id FROM on_it WHERE coalesce(wanted_at, '-infinity') <= clock_timestamp()))"
            " SELECT DISTINCT group_id FROM on_it WHERE group_id IS NOT NULL"
            " ORDER BY group_id LIMIT 1000"
        ),
        {"id": account_id},
    )
    return list(groups.scalars())

"""Rate limits: GCRA in one conditional statement (DESIGN §7)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Column, Connection, Float, text
from sqlmodel import Field, SQLModel

from models.columns import moment, words
from models.prepared import Prepared

TRANSACTIONAL_SHARE = 0.2
"""Of an account's rate, what is kept for single messages."""
GLOBAL_KEY = "global"
RECIPIENT_KEY = "recipient"
"""The rate that each recipient's own row has; those are made when they are first needed."""
NO_WAIT = timedelta(0)


class RateLimit(SQLModel, table=True):
    """One limited thing: `tat` is the theoretical arrival time of the next message."""

    __tablename__ = "rate_limit"

    key: str = Field(sa_column=Column("key", words().type, primary_key=True))
    rate: float = Field(sa_column=Column(Float, nullable=False))
    """Units a second; 0: no limit of ours, but closed until `tat` because the provider said so."""
    tat: datetime = Field(sa_column=moment(nullable=False, default_now=True))


def account_key(account_id: int) -> str:
    """Key of the limit that campaigns on an account share."""
    return f"account:{account_id}/campaign"


def transactional_key(account_id: int) -> str:
    """Key of the limit that single messages on an account share."""
    return f"account:{account_id}/transactional"


def shares(account_id: int, rate: float) -> dict[str, float]:
    """The account's rate as its keys share it, so that no campaign can take all of it (DESIGN §7)."""
    return {
        account_key(account_id): rate * (1 - TRANSACTIONAL_SHARE),
        transactional_key(account_id): rate * TRANSACTIONAL_SHARE,
    }


def send_key(send_id: int) -> str:
    """Key of a send's own limit."""
    return f"send:{send_id}"


def team_key(team_id: int) -> str:
    """Key of the limit of all that a team sends."""
    return f"team:{team_id}"


def domain_key(domain: str) -> str:
    """Key of the limit of mail to addresses of a domain."""
    return f"domain:{domain.lower()}"


def recipient_key(recipient_id: int) -> str:
    """Key of what one recipient gets."""
    return f"recipient:{recipient_id}"


def set_limit(connection: Connection, key: str, rate: float | None) -> None:
    """Limit `key` to `rate` units a second from now on; None or 0: no limit.

    A lower or higher rate starts afresh: what the old rate had reserved ahead is at most a second.
    Rows derived from `recipient` follow it.
    """
    if not rate:
        # A row without a rate is a provider's own wish to be left alone, which still stands.
        connection.execute(
            text(
                "DELETE FROM rate_limit WHERE (key = :key OR key LIKE :derived)"
                " AND (rate > 0 OR tat <= clock_timestamp())"
            ),
            {"key": key, "derived": _derived(key)},
        )
        return
    connection.execute(
        text(
            "INSERT INTO rate_limit (key, rate, tat) VALUES (:key, :rate, clock_timestamp())"
            " ON CONFLICT (key) DO UPDATE SET rate = excluded.rate, tat = CASE"
            "  WHEN rate_limit.rate > 0 THEN least(rate_limit.tat, clock_timestamp())"
            "  ELSE rate_limit.tat END WHERE rate_limit.rate <> excluded.rate"
        ),
        {"key": key, "rate": rate},
    )
    if key == RECIPIENT_KEY:
        connection.execute(
            text(
                "UPDATE rate_limit SET rate = :rate, tat = least(tat, clock_timestamp() + :gap)"
                " WHERE key LIKE :derived AND rate <> :rate"
            ),
            {"rate": rate, "gap": timedelta(seconds=1 / rate), "derived": _derived(key)},
        )


def _derived(key: str) -> str:
    return f"{RECIPIENT_KEY}:%" if key == RECIPIENT_KEY else ""


def limits(connection: Connection, keys: Sequence[str]) -> dict[str, float]:
    """Rate by key, for those of `keys` that are limited."""
    rows = connection.execute(
        text("SELECT key, rate FROM rate_limit WHERE key = ANY(:keys)"), {"keys": list(keys)}
    )
    return {row.key: row.rate for row in rows}


def all_limits(connection: Connection) -> dict[str, float]:
    """Rate by key of everything that is limited or closed now, but for recipients' own rows."""
    rows = connection.execute(
        text(
            "SELECT key, rate FROM rate_limit"
            " WHERE key NOT LIKE 'recipient:%' AND (rate > 0 OR tat > clock_timestamp())"
        )
    )
    return {row.key: row.rate for row in rows}


def push_back(connection: Connection, keys: Sequence[str], wait: timedelta) -> None:
    """Grant nothing under these keys for `wait`: the provider asked for it.

    What had no limit gets a row without a rate, which is closed until then and open afterwards.
    """
    connection.execute(
        text(
            "INSERT INTO rate_limit (key, rate, tat)"
            " SELECT k, 0, clock_timestamp() + :wait FROM unnest(CAST(:keys AS text[])) AS k ORDER BY k"
            " ON CONFLICT (key) DO UPDATE SET"
            " tat = greatest(rate_limit.tat, clock_timestamp() + :wait)"
        ),
        {"keys": list(keys), "wait": wait},
    )


def push_back_account(connection: Connection, account_id: int, wait: timedelta) -> None:
    """A 429 is about the account: neither campaigns nor single messages go on it for `wait`."""
    push_back(connection, [account_key(account_id), transactional_key(account_id)], wait)


class NotYet(Exception):
    """No permit within the wait that was asked for; nothing was reserved."""

    def __init__(self, wait: timedelta) -> None:
        """`wait`: how long until asking again makes sense."""
        super().__init__(f"no permit for {wait}")
        self.wait = wait


def reserve(connection: Connection, wanted: Mapping[str, float], max_wait: timedelta) -> timedelta:
    """How long to wait until so many units may go under each key; at most `max_wait`.

    All or none, keys in sorted order; a key without a row is not limited. Raises NotYet when one of
    them grants nothing within `max_wait`: the caller's transaction must then be rolled back.
    """
    longest = NO_WAIT
    for key in sorted(wanted):
        longest = max(longest, _reserve_or_borrow(connection, key, wanted[key], max_wait))
    return longest


def _reserve_or_borrow(
    connection: Connection, key: str, units: float, max_wait: timedelta
) -> timedelta:
    """Single messages take from what campaigns leave unused; campaigns never borrow."""
    lender = _lender(key)
    if lender is not None:
        for now_free in (key, lender):
            wait = _grant(connection, now_free, units, NO_WAIT)
            if wait is not None:
                return wait
    wait = _grant(connection, key, units, max_wait)
    return _if_unlimited(connection, key, max_wait) if wait is None else wait


def _lender(key: str) -> str | None:
    account, is_lent, _ = key.partition("/transactional")
    return f"{account}/campaign" if is_lent else None


# The conditional form: the unconditional one collapsed to 25/s of 500/s with 16 workers.
_GRANT = Prepared(
    "rate_limit_grant",
    "UPDATE rate_limit SET tat = greatest(tat, clock_timestamp())"
    " + CAST(:units AS float8) / rate * interval '1 second'"
    " WHERE key = :key AND rate > 0 AND tat <= clock_timestamp() + CAST(:max_wait AS interval)"
    " RETURNING tat - CAST(:units AS float8) / rate * interval '1 second' - clock_timestamp()",
)


def _grant(connection: Connection, key: str, units: float, max_wait: timedelta) -> timedelta | None:
    values = {"key": key, "units": float(units), "max_wait": max_wait}
    wait: timedelta | None = _GRANT.run(connection, values).scalar()
    return wait


_LOOK = Prepared(
    "rate_limit_look",
    "SELECT rate, tat - clock_timestamp() AS ahead FROM rate_limit WHERE key = :key",
)


def _if_unlimited(connection: Connection, key: str, max_wait: timedelta) -> timedelta:
    """The wait under a key that has no rate. Raises NotYet if it has one, or is closed for longer."""
    found = _LOOK.run(connection, {"key": key}).one_or_none()
    if found is None:
        return NO_WAIT
    if found.rate == 0 and found.ahead <= max_wait:
        ahead: timedelta = found.ahead
        return max(NO_WAIT, ahead)
    raise NotYet(max(found.ahead - max_wait, timedelta(milliseconds=10)))


def know_recipients(connection: Connection, recipient_ids: Sequence[int]) -> None:
    """Make the rows of these recipients, at the rate that each recipient has."""
    connection.execute(
        text(
            "INSERT INTO rate_limit (key, rate, tat) SELECT 'recipient:' || x, r.rate, clock_timestamp()"
            " FROM rate_limit r, unnest(CAST(:ids AS bigint[])) AS x WHERE r.key = 'recipient'"
            " ORDER BY 1 ON CONFLICT (key) DO NOTHING"
        ),
        {"ids": list(recipient_ids)},
    )


def grant_recipients(
    connection: Connection, send_id: int, ordinals: Sequence[int]
) -> tuple[set[int], timedelta]:
    """Which of these messages their recipients may get now, and when the first other one may."""
    rows = connection.execute(
        text(
            "SELECT m.ordinal, coalesce(r.merged_into, r.id) AS recipient_id FROM message m"
            " JOIN recipient r ON r.id = m.recipient_id"
            " WHERE m.send_id = :send AND m.ordinal = ANY(:ordinals)"
        ),
        {"send": send_id, "ordinals": list(ordinals)},
    ).all()
    know_recipients(connection, [row.recipient_id for row in rows])
    keys = {recipient_key(row.recipient_id): row.ordinal for row in rows}
    taken = connection.execute(
        text(
            "WITH free AS (SELECT key FROM rate_limit WHERE key = ANY(:keys)"
            "  AND tat <= clock_timestamp() ORDER BY key FOR NO KEY UPDATE)"
            " UPDATE rate_limit l SET tat = clock_timestamp() + interval '1 second' / l.rate"
            " FROM free WHERE l.key = free.key AND l.rate > 0 RETURNING l.key"
        ),
        {"keys": list(keys)},
    ).scalars()
    granted = {keys[key] for key in taken}
    ahead = connection.execute(
        text(
            "SELECT min(tat) - clock_timestamp() FROM rate_limit WHERE key = ANY(:keys)"
            " AND tat > clock_timestamp()"
        ),
        {"keys": [key for key, ordinal in keys.items() if ordinal not in granted]},
    ).scalar()
    return granted, max(ahead or NO_WAIT, timedelta(milliseconds=10))


def forget_recipients(connection: Connection) -> int:
    """Drop the rows of recipients whose last message is long enough ago to bind nobody; how many."""
    return connection.execute(
        text("DELETE FROM rate_limit WHERE key LIKE 'recipient:%' AND tat < clock_timestamp()")
    ).rowcount


@dataclass(frozen=True, slots=True, kw_only=True)
class StandingLimit:
    """A limit as lists show it."""

    key: str
    """global, team:KEY, domain:…, recipient, account:KEY, send:NUMBER."""
    rate: float
    """Units a second; 0: closed by its provider until `closed_for` has passed, else unlimited."""
    closed_for: timedelta
    """How far ahead permits are given away now."""


def list_limits(connection: Connection, team_id: int) -> list[StandingLimit]:
    """The limits that stand, with both shares of an account as one; recipients' own rows are not shown."""
    rows = connection.execute(
        text(
            "SELECT k.key, sum(k.rate) AS rate, max(k.ahead) AS ahead FROM ("
            " SELECT CASE WHEN a.id IS NOT NULL THEN 'account:' || a.key"
            "   WHEN t.id IS NOT NULL THEN 'team:' || t.key ELSE l.key END AS key, l.rate,"
            "   greatest(l.tat - clock_timestamp(), interval '0') AS ahead FROM rate_limit l"
            "  LEFT JOIN provider_account a ON a.team_id = :team"
            "   AND l.key LIKE 'account:' || a.id || '/%'"
            "  LEFT JOIN team t ON l.key = 'team:' || t.id"
            "  LEFT JOIN send s ON l.key = 'send:' || s.id AND s.closed_at IS NOT NULL"
            "  WHERE l.key NOT LIKE 'recipient:%' AND s.id IS NULL"
            "   AND (l.rate > 0 OR l.tat > clock_timestamp())) AS k GROUP BY k.key ORDER BY k.key"
        ),
        {"team": team_id},
    )
    return [StandingLimit(key=row.key, rate=row.rate, closed_for=row.ahead) for row in rows]

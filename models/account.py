"""Provider accounts: one set of a vendor's credentials, with its state. See `credential` for those."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

from sqlalchemy import (
    Boolean,
    Column,
    Connection,
    Float,
    ForeignKey,
    Integer,
    LargeBinary,
    RowMapping,
    UniqueConstraint,
    text,
)
from sqlmodel import BigInteger, Field, SQLModel

from domain.routing import Routable, key_for_tests
from domain.send import AccountState, Channel, HoldScope
from models.columns import identity, moment, words
from models.hold import release_holds
from models.prepared import Prepared
from models.rate_limit import set_limit, shares

FIRST_WEIGHT = 50


class ProviderAccount(SQLModel, table=True):
    """An account of a provider; `refused` when the provider refused it as a whole."""

    __tablename__ = "provider_account"
    __table_args__ = (UniqueConstraint("team_id", "key"),)

    id: int = Field(sa_column=identity())
    team_id: int = Field(sa_column=Column(BigInteger, ForeignKey("team.id"), nullable=False))
    key: str = Field(sa_column=words())
    provider: str = Field(sa_column=words())
    channel: str = Field(sa_column=words())
    is_real: bool = Field(sa_column=Column(Boolean, nullable=False))
    """False for the simulator's: no question is asked before sending."""
    is_test: bool = Field(sa_column=Column(Boolean, nullable=False, server_default=text("false")))
    """It takes the sends of test keys, and no others."""
    rate: float = Field(sa_column=Column(Float, nullable=False, server_default="0"))
    """Units a second of this account, as the settings say; 0: no limit of ours."""
    operator_rate: float | None = Field(sa_column=Column(Float))
    """An operator's own, which wins; null: the settings' holds."""
    state: str = Field(sa_column=words(default=AccountState.UP))
    state_reason: str = Field(sa_column=words(default=""))
    changed_at: datetime = Field(sa_column=moment(nullable=False, default_now=True))
    weight_configured: int = Field(sa_column=Column(Integer, nullable=False, server_default="50"))
    weight: int = Field(sa_column=Column(Integer, nullable=False, server_default="50"))
    """Its share now; trouble takes from it, quiet gives it back (domain.health)."""
    weight_changed_at: datetime | None = Field(sa_column=moment())
    weight_reason: str = Field(sa_column=words(default=""))
    breaker_until: datetime | None = Field(sa_column=moment())
    """Null: closed. Else nothing goes until then, and then one message as a probe."""
    breaker_wait: float = Field(sa_column=Column(Float, nullable=False, server_default="0"))
    """Seconds of the last wait: each failed probe doubles it."""
    breaker_changed_at: datetime | None = Field(sa_column=moment())
    credential: bytes | None = Field(sa_column=Column(LargeBinary))
    """Encrypted (starter.credential_keys); null: the settings of the processes hold it."""
    credential_key_id: str | None = Field(sa_column=words(nullable=True))
    credential_set_at: datetime | None = Field(sa_column=moment())
    """When it was given: sessions with an older one are opened anew. A new key is no new credential."""


class UnknownAccount(Exception):
    """No account has this key; the message is one sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """An account as lists and use cases see it."""

    id: int
    key: str
    provider: str
    channel: str
    is_real: bool
    rate: float
    state: AccountState
    state_reason: str
    hold_reasons: list[str]
    weight: int
    weight_configured: int
    weight_reason: str
    breaker_until: datetime | None
    answers: int
    """Of the provider within the last minute, with those that were errors, and slow ones."""
    errors: int
    slow: int
    credential_set_at: datetime | None
    """Null: the settings hold its credentials. Else they are in its row, and are never shown."""
    credential_key_id: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedAccount:
    """An account as the settings name it, without its secrets."""

    key: str
    provider: str
    channel: str
    is_real: bool
    rate: float
    """Messages a second; 0: no limit of ours."""


_SELECT = """
    SELECT a.id, a.key, a.provider, a.channel, a.is_real,
           coalesce(a.operator_rate, a.rate) AS rate, a.state, a.state_reason, a.weight,
           a.weight_configured, a.weight_reason, a.breaker_until, h.answers, h.errors, h.slow,
           a.credential_set_at, a.credential_key_id,
           ARRAY(SELECT h.reason || ' (' || h.author || ')' FROM hold h
                 WHERE h.scope = 'account' AND h.scope_id = a.id AND h.released_at IS NULL
                 ORDER BY h.id) AS hold_reasons
    FROM provider_account a CROSS JOIN LATERAL (
        SELECT coalesce(sum(answers), 0) AS answers, coalesce(sum(errors), 0) AS errors,
               coalesce(sum(slow), 0) AS slow
        FROM account_health WHERE account_id = a.id
        AND bucket > clock_timestamp() - interval '1 minute') h
    WHERE a.team_id = :team
"""


def list_accounts(connection: Connection, team_id: int) -> list[Account]:
    """All accounts of the team, real ones first; those of test keys are nobody's to choose."""
    rows = connection.execute(
        text(_SELECT + " AND NOT a.is_test ORDER BY NOT a.is_real, a.key"), {"team": team_id}
    )
    return [_account(row) for row in rows.mappings()]


def find_test_account(connection: Connection, team_id: int, channel: Channel) -> Account:
    """The account that takes what the team's test keys send; it is there since the first such key."""
    rows = connection.execute(
        text(_SELECT + " AND a.is_test AND a.key = :key"),
        {"team": team_id, "key": key_for_tests(channel)},
    )
    return _account(rows.mappings().one())


def _account(row: RowMapping) -> Account:
    return Account(**(dict(row) | {"state": AccountState(row["state"])}))


def find_account(connection: Connection, team_id: int, key: str) -> Account:
    """The account `key`. Raises UnknownAccount, which names those there are."""
    accounts = list_accounts(connection, team_id)
    for account in accounts:
        if account.key == key:
            return account
    known = ", ".join(account.key for account in accounts) or "none; see `carillon accounts list`"
    raise UnknownAccount(f"There is no account '{key}'. There are: {known}.")


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutableAccount(Routable):
    """An account with what stops it now."""

    is_stopped: bool
    """Its provider refused it, or it is held: only an operator ends that."""
    opens_in: timedelta | None
    """When its breaker may be probed, from now on; null: it is closed."""


_ROUTABLE = Prepared(
    "account_routable",
    "SELECT a.id, a.key, a.channel, a.is_real, a.is_test, a.weight,"
    " a.state <> 'up' OR EXISTS (SELECT 1 FROM hold h WHERE h.released_at IS NULL"
    "  AND h.scope = 'account' AND h.scope_id = a.id) AS is_stopped,"
    " a.breaker_until - clock_timestamp() AS opens_in"
    " FROM provider_account a WHERE a.team_id = :team AND a.state <> 'removed'"
    " ORDER BY NOT a.is_real, a.id",
)


def routable_accounts(connection: Connection, team_id: int) -> list[RoutableAccount]:
    """The team's accounts, up or not, real ones first."""
    rows = _ROUTABLE.run(connection, {"team": team_id}).mappings()
    return [RoutableAccount(**{**row, "channel": Channel(row["channel"])}) for row in rows]


def keep_account(connection: Connection, team_id: int, named: NamedAccount) -> int:
    """Make or renew the row of an account; its id. State, weight and an operator's rate stay, but
    one that was removed is up again. One whose row holds credentials stays as it is.

    A new account beside others is their fallback until an operator gives it a weight.
    """
    connection.execute(
        text(
            "INSERT INTO provider_account (team_id, key, provider, channel, is_real, rate,"
            " weight_configured, weight)"
            " SELECT :team, :key, :provider, :channel, CAST(:is_real AS boolean), :rate, w.weight,"
            " w.weight FROM (SELECT CASE WHEN EXISTS (SELECT 1 FROM provider_account o"
            "  WHERE o.team_id = :team AND o.channel = :channel AND o.is_real = :is_real"
            "  AND NOT o.is_test AND o.key <> :key AND o.state <> 'removed')"
            " THEN 0 ELSE :first END AS weight) w"
            " ON CONFLICT (team_id, key) DO UPDATE SET provider = excluded.provider,"
            " channel = excluded.channel, is_real = excluded.is_real, rate = excluded.rate,"
            " state = CASE provider_account.state WHEN 'removed' THEN 'up'"
            "  ELSE provider_account.state END,"
            " state_reason = CASE provider_account.state WHEN 'removed' THEN ''"
            "  ELSE provider_account.state_reason END"
            " WHERE provider_account.credential IS NULL AND (provider_account.state = 'removed' OR"
            " (provider_account.provider, provider_account.channel,"
            " provider_account.is_real, provider_account.rate)"
            " IS DISTINCT FROM (excluded.provider, excluded.channel, excluded.is_real, excluded.rate))"
        ),
        {"team": team_id, "first": FIRST_WEIGHT, **asdict(named)},
    )
    kept = connection.execute(
        text(
            "SELECT id, coalesce(operator_rate, rate) AS rate FROM provider_account"
            " WHERE team_id = :team AND key = :key"
        ),
        {"team": team_id, "key": named.key},
    ).one()
    _limit_account(connection, kept.id, kept.rate)
    account_id: int = kept.id
    return account_id


def keep_test_accounts(connection: Connection, team_id: int) -> None:
    """Make the team's accounts for what test keys send, one a channel, where they are missing."""
    connection.execute(
        text(
            "INSERT INTO provider_account (team_id, key, provider, channel, is_real, is_test,"
            " weight_configured, weight)"
            " SELECT :team, key, 'log', channel, false, true, 0, 0"
            " FROM unnest(CAST(:keys AS text[]), CAST(:channels AS text[])) AS x(key, channel)"
            " ON CONFLICT (team_id, key) DO NOTHING"
        ),
        {
            "team": team_id,
            "keys": [key_for_tests(channel) for channel in Channel],
            "channels": [channel.value for channel in Channel],
        },
    )


def set_account_rate(connection: Connection, account_id: int, rate: float | None) -> None:
    """An operator's rate for the account, 0 for no limit; None: the settings' rate holds again."""
    now: float = connection.execute(
        text(
            "UPDATE provider_account SET operator_rate = :rate WHERE id = :id"
            " RETURNING coalesce(operator_rate, rate)"
        ),
        {"rate": rate, "id": account_id},
    ).scalar_one()
    _limit_account(connection, account_id, now)


def _limit_account(connection: Connection, account_id: int, rate: float) -> None:
    """The rows of both shares, together."""
    for key, share in shares(account_id, rate).items():
        set_limit(connection, key, share)


def refuse_account(connection: Connection, account_id: int, reason: str) -> None:
    """Stop the account: the provider refused it as a whole. Nobody is burnt, an operator resumes it."""
    connection.execute(
        text(
            "UPDATE provider_account SET state = :refused, state_reason = :reason,"
            " changed_at = clock_timestamp() WHERE id = :id AND state = :up"
        ),
        {
            "refused": AccountState.REFUSED,
            "up": AccountState.UP,
            "reason": reason,
            "id": account_id,
        },
    )


def raise_account(connection: Connection, account_id: int) -> None:
    """Use the account again: its refusal, an open breaker and every hold on it end."""
    release_holds(connection, scope=HoldScope.ACCOUNT, scope_id=account_id)
    connection.execute(
        text(
            "UPDATE provider_account SET state = :up, state_reason = '', breaker_until = NULL,"
            " breaker_wait = 0, breaker_changed_at = clock_timestamp(),"
            " changed_at = clock_timestamp() WHERE id = :id"
        ),
        {"up": AccountState.UP, "id": account_id},
    )


def sends_of_account(connection: Connection, account_id: int) -> Sequence[int]:
    """Ids of the sends on the account that are not closed: whom to tell when it is resumed."""
    return (
        connection.execute(
            text(
                "SELECT id FROM send WHERE account_id = :id AND closed_at IS NULL"
                " AND started_at IS NOT NULL"
            ),
            {"id": account_id},
        )
        .scalars()
        .all()
    )


def account_refusal(connection: Connection, account_id: int) -> str:
    """Why the provider refused the account as a whole; empty: it is up."""
    row = connection.execute(
        text("SELECT state, state_reason FROM provider_account WHERE id = :id"), {"id": account_id}
    ).one()
    return row.state_reason or row.state if row.state != AccountState.UP else ""

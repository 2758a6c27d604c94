"""Credentials in accounts' rows, encrypted: this module never sees what they say."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, text

from domain.send import AccountState, Channel


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredCredential:
    """The encrypted credentials of an account, with what they are bound to."""

    account_id: int
    team_id: int
    key: str
    provider: str
    rate: float
    key_id: str
    """Of the key that opens it; see starter.credential_keys."""
    sealed: bytes = field(repr=False)
    set_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountRow:
    """An account that was not removed, as a worker gathers its sessions."""

    id: int
    team_id: int
    key: str
    channel: Channel
    is_test: bool
    """It takes what test keys send: nobody has credentials for it, and it needs none."""
    stored: StoredCredential | None
    """None: the settings hold its credentials."""


_SELECT = """
    SELECT id, team_id, key, channel, is_test, provider, rate, credential, credential_key_id, credential_set_at
    FROM provider_account
"""


def account_rows(connection: Connection, team_id: int | None = None) -> list[AccountRow]:
    """All accounts that were not removed, in the order of their ids; of one team where it is given."""
    rows = connection.execute(
        text(
            _SELECT + " WHERE state <> :removed"
            " AND team_id = coalesce(CAST(:team AS bigint), team_id) ORDER BY id"
        ),
        {"removed": AccountState.REMOVED, "team": team_id},
    )
    return [
        AccountRow(
            id=row.id,
            team_id=row.team_id,
            key=row.key,
            channel=Channel(row.channel),
            is_test=row.is_test,
            stored=None if row.credential is None else _stored(row),
        )
        for row in rows
    ]


def lock_credentials(connection: Connection) -> list[StoredCredential]:
    """All that are stored, of all teams, locked until the transaction ends."""
    rows = connection.execute(
        text(_SELECT + " WHERE credential IS NOT NULL ORDER BY id FOR NO KEY UPDATE")
    )
    return [_stored(row) for row in rows]


def store_credential(
    connection: Connection, account_id: int, key_id: str, sealed: bytes, *, replaces: bool
) -> bool:
    """Keep new credentials of the account; sessions with the old ones are opened anew.

    A refusal by the provider was of the old ones: the account is up. False, and nothing is changed,
    where it has credentials already, or has none any more that these could replace.
    """
    stored = connection.execute(
        text(
            "UPDATE provider_account SET credential = :sealed, credential_key_id = :key_id,"
            " credential_set_at = clock_timestamp(), state = :up, state_reason = '',"
            " changed_at = clock_timestamp()"
            " WHERE id = :id AND (credential IS NOT NULL) = CAST(:replaces AS boolean)"
        ),
        {
            "id": account_id,
            "key_id": key_id,
            "sealed": sealed,
            "up": AccountState.UP,
            "replaces": replaces,
        },
    )
    return stored.rowcount == 1


def reseal_credential(connection: Connection, account_id: int, key_id: str, sealed: bytes) -> None:
    """The same credentials under another key: no session is opened anew."""
    connection.execute(
        text(
            "UPDATE provider_account SET credential = :sealed, credential_key_id = :key_id"
            " WHERE id = :id"
        ),
        {"id": account_id, "key_id": key_id, "sealed": sealed},
    )


def remove_credential(connection: Connection, account_id: int, author: str) -> None:
    """Take credentials and account away: no claim on it is committed any more."""
    connection.execute(
        text(
            "UPDATE provider_account SET credential = NULL, credential_key_id = NULL,"
            " credential_set_at = NULL, state = :removed, state_reason = :reason,"
            " changed_at = clock_timestamp() WHERE id = :id"
        ),
        {"id": account_id, "removed": AccountState.REMOVED, "reason": f"removed by {author}"},
    )


def _stored(row: Row[Any]) -> StoredCredential:
    return StoredCredential(
        account_id=row.id,
        team_id=row.team_id,
        key=row.key,
        provider=row.provider,
        rate=row.rate,
        key_id=row.credential_key_id,
        sealed=bytes(row.credential),
        set_at=row.credential_set_at,
    )

"""The accounts that the settings name: their rows, and their sessions' configuration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import SecretStr
from sqlalchemy import Connection, Engine

from domain.send import AccountState
from models.account import (
    NamedAccount,
    UnknownAccount,
    find_account,
    keep_account,
    raise_account,
    sends_of_account,
)
from models.account_health import make_channel_due
from models.database import in_transaction
from models.outbox import announce
from models.team import default_team_id
from providers.catalog import AccountConfig, Wire, accounts_from, setting_names
from settings import Settings


def accounts_of(settings: Settings) -> list[AccountConfig]:
    """The accounts that these settings make. Raises ValueError for what cannot be one."""
    given = {name: _plain(settings, name) for name in setting_names()}
    return accounts_from(given, wire_of(settings))


def wire_of(settings: Settings) -> Wire:
    """What is the same for all accounts of a process."""
    return Wire(
        connections=settings.connections,
        request_timeout=settings.seconds("request_timeout"),
        messages_per_request=settings.messages_per_request,
        public_url=settings.public_url,
    )


def _plain(settings: Settings, name: str) -> object:
    value = getattr(settings, name)
    return value.get_secret_value() if isinstance(value, SecretStr) else value


def keep_accounts(connection: Connection, settings: Settings) -> None:
    """Make or renew the rows of the accounts that the settings name; no secret goes in."""
    team = default_team_id(connection)
    for account in accounts_of(settings):
        keep_account(
            connection,
            team,
            NamedAccount(
                key=account.key,
                provider=account.provider,
                channel=account.channel,
                is_real=account.is_real,
                rate=account.rate,
            ),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Resumed:
    """What waited for an account: to be told by `starter.wake`."""

    sends: Sequence[int]
    groups: Sequence[int]


def resume_account(engine: Engine, key: str) -> Resumed:
    """Use the account again: refusal, breaker and holds end, parked messages are due at once.

    Raises UnknownAccount, also for one that was removed.
    """
    return in_transaction(engine, lambda c: resume_account_of_team(c, default_team_id(c), key))


def resume_account_of_team(connection: Connection, team: int, key: str) -> Resumed:
    """The same for a team. Raises UnknownAccount."""
    account = find_account(connection, team, key)
    if account.state is AccountState.REMOVED:
        raise UnknownAccount(f"The account '{key}' was removed: `carillon accounts add {key}`.")
    raise_account(connection, account.id)
    groups = make_channel_due(connection, account.id)
    announce(connection)
    return Resumed(sends=sends_of_account(connection, account.id), groups=groups)


def public_url(settings: Settings) -> str:
    """Where recipients reach the public pages: the setting, else the page of this machine."""
    return (settings.public_url or f"http://{settings.web_host}:{settings.web_port}").rstrip("/")

"""The use cases of rate limits: set one, remove one, see which stand. Workers obey within seconds."""

from __future__ import annotations

import re
from collections.abc import Callable

from sqlalchemy import Connection, Engine

from domain.identifier import SEND_PREFIX, key_of, public_id
from models.account import find_account, set_account_rate
from models.campaign import UnknownCampaign, find_campaign
from models.campaign import set_rate as set_campaign_rate
from models.database import in_transaction
from models.hold import has_send
from models.rate_limit import (
    GLOBAL_KEY,
    RECIPIENT_KEY,
    StandingLimit,
    domain_key,
    list_limits,
    send_key,
    set_limit,
    team_key,
)
from models.team import DEFAULT_TEAM, default_team_id, find_team

_DOMAIN = re.compile(r"[a-z0-9-]+(\.[a-z0-9-]+)+", re.IGNORECASE)
KEYS = "global, team, domain:gmail.com, recipient, account:KEY, send:snd_…"
MOST = 1e9


class LimitRefused(Exception):
    """Not a limit; the message is one sentence."""


def set_rate(engine: Engine, key: str, rate: float | None) -> None:
    """Limit `key` to `rate` units a second, also while it runs; None: no limit of ours any more.

    Of an account None means what its setting says. Raises LimitRefused, UnknownAccount.
    """
    if rate is not None and not 0 < rate <= MOST:
        raise LimitRefused("The rate must be above 0 a second; `limits remove` takes a limit away.")
    kind, _, name = key.partition(":")
    if kind not in _SETTERS:
        raise LimitRefused(f"'{key}' is nothing that can be limited; there are: {KEYS}.")
    in_transaction(engine, lambda connection: _SETTERS[kind](connection, name, rate))


def _plain(connection: Connection, name: str, rate: float | None, *, key: str) -> None:
    if name:
        raise LimitRefused(f"'{key}' is limited as a whole; it has no '{name}'.")
    set_limit(connection, key, rate)


def _team(connection: Connection, name: str, rate: float | None) -> None:
    found = find_team(connection, name or DEFAULT_TEAM)
    if found is None:
        raise LimitRefused(f"There is no team '{name}'.")
    set_limit(connection, team_key(found), rate)


def _domain(connection: Connection, name: str, rate: float | None) -> None:
    if not _DOMAIN.fullmatch(name):
        raise LimitRefused(f"'{name}' is no mail domain; write it like domain:gmail.com.")
    set_limit(connection, domain_key(name), rate)


def _account(connection: Connection, name: str, rate: float | None) -> None:
    account = find_account(connection, default_team_id(connection), name)
    set_account_rate(connection, account.id, rate)


def _send(connection: Connection, name: str, rate: float | None) -> None:
    send_id = key_of(SEND_PREFIX, name)
    if not has_send(connection, default_team_id(connection), send_id):
        raise LimitRefused(f"There is no send {name}.")
    try:
        find_campaign(connection, send_id)
    except UnknownCampaign:  # a request: only its limit knows the rate
        set_limit(connection, send_key(send_id), rate)
    else:
        set_campaign_rate(connection, send_id, rate)


_SETTERS: dict[str, Callable[[Connection, str, float | None], None]] = {
    "global": lambda c, name, rate: _plain(c, name, rate, key=GLOBAL_KEY),
    "recipient": lambda c, name, rate: _plain(c, name, rate, key=RECIPIENT_KEY),
    "team": _team,
    "domain": _domain,
    "account": _account,
    "send": _send,
}


def standing(engine: Engine) -> list[StandingLimit]:
    """The limits that stand now, by key."""
    with engine.connect() as connection:
        return list_limits(connection, default_team_id(connection))


def shown_key(key: str) -> str:
    """The key as commands take it."""
    kind, _, name = key.partition(":")
    return f"send:{public_id(SEND_PREFIX, int(name))}" if kind == "send" else key

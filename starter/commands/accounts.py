"""carillon accounts: the provider accounts of settings and database, and stopping them."""

from __future__ import annotations

import getpass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from models.account import Account
    from models.account_health import Waiting
    from providers.catalog import AccountConfig
    from settings import Settings

app = typer.Typer(
    no_args_is_help=True,
    help="Provider accounts: list, add, remove, weight, pause, resume, test, rotate-keys.",
)

Key = Annotated[str, typer.Argument(help="The account, as `accounts list` names it.")]


class AccountFails(Exception):
    """The provider does not take the account, or is not reached; the message is one sentence."""


class WeightRefused(Exception):
    """Not a weight; the message is one sentence."""


@app.command("list")
def list_() -> None:
    """All accounts: share, health, what stops them, and what waits on their channel."""
    from models.account import list_accounts
    from models.account_health import waiting_on_channel
    from models.team import default_team_id
    from starter import output

    _, engine = _open()
    with engine.connect() as connection:
        team = default_team_id(connection)
        accounts = list_accounts(connection, team)
        waiting = {
            channel: waiting_on_channel(connection, team, channel)
            for channel in sorted({account.channel for account in accounts})
        }
    output.show(
        {"accounts": accounts, "waiting": waiting},
        lambda: output.table(
            (
                "key",
                "provider",
                "channel",
                "reaches",
                "rate",
                "weight",
                "health",
                "waiting",
                "state",
                "credentials",
            ),
            [_row(account, waiting[account.channel]) for account in accounts],
            none="There are no accounts: set CARILLON_SENDGRID_API_KEY or CARILLON_SMTP_URL,"
            " add one with `carillon accounts add`, or start the simulator with `carillon up`.",
        ),
    )


@app.command()
def add(
    key: Annotated[str, typer.Argument(help="A name of your own, such as sendgrid-two.")],
    provider: Annotated[str, typer.Option(help="sendgrid, smtp, twilio or webhook.")],
    rate: Annotated[float, typer.Option(help="Units a second; 0: no limit of ours.")] = 0.0,
    replace: Annotated[
        bool, typer.Option("--replace", help="It is there: give it new credentials.")
    ] = False,
    env_file: Annotated[
        Path | None,
        typer.Option(help="A file with lines NAME=VALUE; else stdin, or you are asked."),
    ] = None,
) -> None:
    """Keep an account's credentials in the database, encrypted; running workers use it at once."""
    from models.database import in_transaction
    from models.team import default_team_id
    from starter import output
    from starter.credential_input import read_credentials
    from starter.stored_accounts import NewAccount, add_account
    from starter.wake import wake

    settings, engine = _open()
    new = NewAccount(
        key=key,
        provider=provider,
        credentials=read_credentials(provider, env_file),
        rate=rate,
        replaces=replace,
    )
    waiting = in_transaction(
        engine,
        lambda c: add_account(c, settings, default_team_id(c), new, actor=getpass.getuser()),
    )
    wake(settings, waiting.sends, waiting.groups)
    output.show(
        {"account": key, "provider": provider, "added": True},
        lambda: f"Account {key} is stored. Try it: carillon accounts test {key}",
    )


@app.command()
def remove(key: Key) -> None:
    """Delete a stored account's credentials; nothing more is sent on it, from now on."""
    from models.database import in_transaction
    from models.team import default_team_id
    from starter import output
    from starter.stored_accounts import remove_account

    settings, engine = _open()
    in_transaction(
        engine,
        lambda c: remove_account(c, settings, default_team_id(c), key, actor=getpass.getuser()),
    )
    output.show({"account": key, "removed": True}, lambda: f"Account {key} is removed.")


@app.command("rotate-keys")
def rotate_keys() -> None:
    """Encrypt all stored credentials anew, with the first of CARILLON_CREDENTIAL_KEYS."""
    from models.database import in_transaction
    from starter import output
    from starter.stored_accounts import rotate_keys as rotate

    settings, engine = _open()
    rotated = in_transaction(engine, lambda c: rotate(c, settings, actor=getpass.getuser()))
    output.show(
        {"rotated": rotated},
        lambda: f"Encrypted anew: {rotated}. Keys that are not the first are not needed any more.",
    )


@app.command()
def pause(
    key: Key, reason: Annotated[str, typer.Option(help="Why; shown wherever it stops something.")]
) -> None:
    """Send nothing more on the account until it is resumed."""
    from domain.send import HoldScope
    from models.account import find_account
    from models.hold import place_hold
    from models.team import default_team_id
    from starter import output

    author = getpass.getuser()
    _, engine = _open()
    with engine.begin() as connection:
        team = default_team_id(connection)
        place_hold(
            connection,
            team,
            scope=HoldScope.ACCOUNT,
            scope_id=find_account(connection, team, key).id,
            reason=reason,
            author=author,
        )
    output.show(
        {"account": key, "paused": True, "reason": reason, "author": author},
        lambda: f"Account {key} is paused: {reason} ({author})",
    )


@app.command()
def resume(key: Key) -> None:
    """Use the account again: its holds and a refusal by the provider end."""
    from starter import output
    from starter.accounts import resume_account
    from starter.wake import wake

    settings, engine = _open()
    waiting = resume_account(engine, key)
    wake(settings, waiting.sends, waiting.groups)
    output.show(
        {"account": key, "paused": False, "campaigns": len(waiting.sends)},
        lambda: (
            f"Account {key} is in use again; campaigns on it that are not done:"
            f" {len(waiting.sends)}"
        ),
    )


@app.command()
def weight(
    key: Key,
    share: Annotated[int, typer.Argument(help="0 to 1000; 0: only when no other is up.")],
) -> None:
    """Give the account a share of its channel; those beside it return to their own."""
    from domain.health import MOST_WEIGHT
    from models.account import find_account
    from models.account_health import set_weight
    from models.team import default_team_id
    from starter import output

    if not 0 <= share <= MOST_WEIGHT:
        raise WeightRefused(f"A weight is between 0 and {MOST_WEIGHT}.")
    _, engine = _open()
    with engine.begin() as connection:
        account = find_account(connection, default_team_id(connection), key)
        set_weight(connection, account.id, share)
    output.show({"account": key, "weight": share}, lambda: f"Account {key} has the weight {share}.")


@app.command()
def test(key: Key) -> None:
    """Ask the provider whether key and address are good; sends nothing to anybody."""
    from domain.answer import AnswerClass
    from providers.catalog import open_session
    from starter import output

    session = open_session(_usable(key))
    try:
        answer = session.check()
    finally:
        session.close()
    if answer.kind is not AnswerClass.ACCEPTED:
        said = ", ".join(filter(None, (answer.kind, answer.code, answer.detail)))
        raise AccountFails(f"Account {key} does not work: {said}")
    output.show({"account": key, "works": True}, lambda: f"Account {key} works.")


def _usable(key: str) -> AccountConfig:
    """The account with its credentials. Raises AccountFails where there are none."""
    from starter import context
    from starter.stored_accounts import usable_account

    settings = context.settings()
    named = {account.key: account for account in context.accounts(settings)}
    if key in named and not settings.database_url:
        return named[key]
    with context.engine(settings).connect() as connection:
        found = usable_account(connection, settings, key)
    if found is None:
        known = ", ".join(named) or "none"
        raise AccountFails(
            f"There are no credentials for an account '{key}'. The settings name: {known}."
        )
    return found


def _open() -> tuple[Settings, Engine]:
    """Settings and database, with a row for each account that the settings name."""
    from starter import context

    settings = context.settings()
    engine = context.engine(settings)
    context.keep_accounts(engine, settings)
    return settings, engine


def _row(account: Account, waiting: Waiting) -> tuple[object, ...]:
    return (
        account.key,
        account.provider,
        account.channel,
        "people" if account.is_real else "the simulator",
        f"{account.rate:g}/s" if account.rate else "no limit",
        _weight(account),
        _health(account),
        _waiting(waiting),
        _state(account),
        _credentials(account),
    )


def _credentials(account: Account) -> str:
    """Where they are; never what they are."""
    if account.credential_set_at is None:
        return "" if account.state == "removed" else "of the settings"
    return f"set on {account.credential_set_at:%Y-%m-%d}, key {account.credential_key_id}"


def _weight(account: Account) -> str:
    if account.weight == account.weight_configured:
        return str(account.weight)
    why = f", {account.weight_reason}" if account.weight_reason else ""
    return f"{account.weight} of {account.weight_configured}{why}"


def _health(account: Account) -> str:
    if not account.answers:
        return ""
    return f"{account.errors} errors, {account.slow} slow of {account.answers} in a minute"


def _waiting(waiting: Waiting) -> str:
    until = f" until {waiting.until:%H:%M:%S} UTC" if waiting.until else ""
    parked = f"{waiting.parked} parked{until}" if waiting.parked else ""
    return ", ".join(filter(None, (f"{waiting.owed} owed" if waiting.owed else "", parked)))


def _state(account: Account) -> str:
    state = account.state + (f": {account.state_reason}" if account.state_reason else "")
    held = "; ".join(f"paused: {reason}" for reason in account.hold_reasons)
    breaker = ""
    if account.breaker_until is not None:
        breaker = f"breaker open, next probe {account.breaker_until:%H:%M:%S} UTC"
    is_stopped = held or breaker
    return "; ".join(
        filter(None, (held, breaker, state if not is_stopped or account.state_reason else ""))
    )

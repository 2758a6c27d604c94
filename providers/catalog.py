"""From settings to accounts to open sessions: the one place that knows all adapters.

How to add one: docs/adding_a_provider.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

from domain.routing import key_for_tests
from domain.send import Channel
from providers import in_app, log, sendgrid, smtp, twilio, webhook
from providers.account import AccountConfig, ProviderEntry, Wire
from providers.protocol import Session

__all__ = [
    "PROVIDERS",
    "AccountConfig",
    "Wire",
    "account_for_tests",
    "account_of",
    "accounts_from",
    "credential_names",
    "open_session",
    "setting_names",
]

PROVIDERS: Mapping[str, ProviderEntry[Any]] = {
    entry.name: entry
    for entry in (
        sendgrid.ENTRY,
        smtp.ENTRY,
        twilio.ENTRY,
        webhook.ENTRY,
        in_app.ENTRY,
        log.ENTRY,
    )
}


def setting_names() -> list[str]:
    """Every setting that makes or shapes an account; an isolated stack ignores them all."""
    return [field.name for entry in PROVIDERS.values() for field in fields(entry.settings)]


def accounts_from(given: Mapping[str, Any], wire: Wire) -> list[AccountConfig]:
    """The accounts that settings make, by name of setting, secrets as plain text; real ones first.

    Raises ValueError with one sentence when one of them cannot work, so that a process fails when
    it starts and not when it sends.
    """
    accounts = [
        account
        for entry in PROVIDERS.values()
        for account in entry.accounts(_settings_of(entry, given), wire)
    ]
    return sorted(accounts, key=lambda account: not account.is_real)


def credential_names(provider: str) -> tuple[str, ...]:
    """What one account of the provider is made of, by name of setting.

    Raises ValueError with one sentence where there is no such provider, or it needs no credentials.
    """
    entry = PROVIDERS.get(provider)
    if entry is None or not entry.credentials:
        known = ", ".join(name for name, one in PROVIDERS.items() if one.credentials)
        raise ValueError(f"There is no provider '{provider}' with credentials. There are: {known}.")
    return entry.credentials


def account_of(provider: str, key: str, given: Mapping[str, str], wire: Wire) -> AccountConfig:
    """The account `key` that these credentials make, by name of setting, as plain text.

    Raises ValueError with one sentence, which holds no value, when they make none.
    """
    names = credential_names(provider)
    if unknown := sorted(given.keys() - set(names)):
        raise ValueError(
            f"{', '.join(unknown)}: not of the provider {provider}, which takes {', '.join(names)}."
        )
    if not given.get(names[0]):
        raise ValueError(f"The provider {provider} needs {names[0]}.")
    entry = PROVIDERS[provider]
    made = list(entry.accounts(_settings_of(entry, given), replace(wire, account_key=key)))
    if len(made) != 1:
        raise ValueError(f"These credentials make no account of the provider {provider}.")
    return replace(made[0], key=key)


def open_session(account: AccountConfig) -> Session:
    """A session of the account, for one thread; it connects when it is first used."""
    return account.open(account.config)


def account_for_tests(channel: Channel) -> AccountConfig:
    """The account for what test keys send on the channel: no setting makes it."""
    return AccountConfig(
        key=key_for_tests(channel),
        provider=log.ENTRY.name,
        channel=channel,
        is_real=False,
        config=channel,
        open=log.open_channel,
    )


def _settings_of(entry: ProviderEntry[Any], given: Mapping[str, Any]) -> Any:
    names = [field.name for field in fields(entry.settings)]
    return entry.settings(**{name: given[name] for name in names if name in given})

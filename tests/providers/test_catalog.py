"""Which accounts the settings make."""

from __future__ import annotations

from typing import Any

import pytest

from domain.send import Channel
from providers.catalog import (
    PROVIDERS,
    Wire,
    account_of,
    accounts_from,
    open_session,
    setting_names,
)
from settings import Settings

ALL: dict[str, Any] = {
    "sendgrid_api_key": "SG.real",
    "sendgrid_region": "eu",
    "sendgrid_rate": 50,
    "smtp_url": "smtps://u:p@relay.example",
    "smtp_rate": 10,
    "twilio_account_sid": "AC" + "1" * 32,
    "twilio_auth_token": "a real token",
    "twilio_from": "+14155550100",
    "twilio_rate": 5,
    "webhook_secret": "a-real-master",
    "log_provider": True,
    "simulator_sendgrid_url": "http://127.0.0.1:8611",
    "simulator_smtp_url": "smtp://127.0.0.1:8612",
    "simulator_twilio_url": "http://127.0.0.1:8613",
    "simulator_webhook_url": "http://127.0.0.1:8614/hook",
}
WIRE = Wire(connections=3, messages_per_request=500, public_url="https://news.example")
SECRETS = ("SG.real", "u:p@", "a real token", "a-real-master")


def account(key: str, given: dict[str, Any] = ALL, wire: Wire = WIRE) -> Any:
    (found,) = [account for account in accounts_from(given, wire) if account.key == key]
    return found


def test_each_given_setting_makes_its_account() -> None:
    accounts = accounts_from(ALL, WIRE)

    real = {account.key: account.rate for account in accounts if account.is_real}
    assert real == {"sendgrid": 50, "smtp": 10, "twilio": 5, "webhook": 0, "in_app": 0}
    assert [account.key for account in accounts if not account.is_real] == [
        "simulator",
        "simulator-smtp",
        "simulator-sms",
        "simulator-webhook",
        "log",
    ]


def test_without_settings_there_is_what_needs_none() -> None:
    assert [account.key for account in accounts_from({}, Wire())] == ["in_app"]


def test_real_accounts_come_first() -> None:
    order = [account.is_real for account in accounts_from(ALL, WIRE)]

    assert order == sorted(order, reverse=True)


def test_simulated_accounts_get_no_real_secret_and_go_to_the_simulator() -> None:
    simulated = [account for account in accounts_from(ALL, WIRE) if not account.is_real]

    for one in simulated:
        values = [str(getattr(one.config, name)) for name in one.config.__slots__]
        assert not [value for value in values for secret in SECRETS if secret in value]
    assert account("simulator").config.base_url == "http://127.0.0.1:8611"
    assert account("simulator-sms").config.base_url == "http://127.0.0.1:8613"
    assert account("simulator-webhook").config.allow_private
    assert not account("webhook").config.allow_private


@pytest.mark.parametrize(
    ("key", "channel", "merges", "most", "open_requests"),
    [
        ("sendgrid", Channel.EMAIL, True, 500, 3),
        ("smtp", Channel.EMAIL, False, 1, 6),
        ("twilio", Channel.SMS, False, 1, 3),
        ("webhook", Channel.WEBHOOK, False, 1, 3),
        ("in_app", Channel.IN_APP, False, 1, 64),
        ("log", Channel.EMAIL, False, 1, 64),
        ("simulator", Channel.EMAIL, True, 500, 3),
        ("simulator-smtp", Channel.EMAIL, False, 1, 6),
        ("simulator-sms", Channel.SMS, False, 1, 3),
        ("simulator-webhook", Channel.WEBHOOK, False, 1, 3),
    ],
)
def test_account_opens_its_session(
    key: str, channel: Channel, merges: bool, most: int, open_requests: int
) -> None:
    session = open_session(account(key))

    capabilities = session.capabilities
    assert (capabilities.channel, capabilities.merges) == (channel, merges)
    assert account(key).channel is channel
    assert capabilities.max_messages_per_request == most
    assert capabilities.max_open_requests == open_requests
    session.close()


@pytest.mark.parametrize(
    ("public_url", "callback"),
    [
        ("https://news.example/", "https://news.example/hooks/twilio"),
        ("http://127.0.0.1:8600", ""),
        ("", ""),
    ],
)
def test_twilio_calls_back_only_where_it_can(public_url: str, callback: str) -> None:
    wire = Wire(public_url=public_url)

    assert account("twilio", wire=wire).config.callback_url == callback
    # The stand-in's journal names messages by what stands in the callback's query.
    assert account("simulator-sms", wire=wire).config.callback_url


def test_a_secret_that_is_being_changed_is_two() -> None:
    rotating = {**ALL, "webhook_secret": "new old"}

    assert account("webhook", rotating).config.masters == ("new", "old")


@pytest.mark.parametrize(
    "wrong",
    [
        {"smtp_url": "relay.example"},
        {"sendgrid_region": "moon"},
        {"simulator_sendgrid_url": "127.0.0.1:8611"},
        {"twilio_account_sid": "me"},
        {"twilio_auth_token": ""},
        {"twilio_from": ""},
        {"simulator_twilio_url": "127.0.0.1:8613"},
    ],
)
def test_account_that_cannot_work_is_refused_at_start(wrong: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"\.$"):
        accounts_from({**ALL, **wrong}, WIRE)


def test_secrets_are_not_shown() -> None:
    shown = repr(accounts_from(ALL, WIRE))

    assert not [secret for secret in SECRETS if secret in shown]


def test_every_setting_of_an_adapter_is_one_of_settings_py() -> None:
    assert set(setting_names()) <= set(Settings.model_fields)
    assert len(setting_names()) == len(set(setting_names()))


@pytest.mark.parametrize(
    "provider", [name for name, entry in PROVIDERS.items() if entry.credentials]
)
def test_stored_credentials_make_the_account_that_settings_would(provider: str) -> None:
    credentials = {name: ALL[name] for name in PROVIDERS[provider].credentials}

    stored = account_of(provider, "another", credentials, WIRE)

    named = account(provider)
    assert (stored.key, stored.provider, stored.channel) == ("another", provider, named.channel)
    assert stored.is_real
    if provider != "twilio":
        assert stored.config == named.config


def test_a_stored_account_is_called_back_under_its_own_name() -> None:
    credentials = {name: ALL[name] for name in PROVIDERS["twilio"].credentials}

    stored = account_of("twilio", "another", credentials, WIRE)

    assert stored.config.callback_url == "https://news.example/hooks/another"

"""The demo talks to the simulator only, whatever the environment says."""

from __future__ import annotations

import pytest

from domain.send import Channel
from starter.accounts import accounts_of
from starter.demo import _stack, demo_settings
from starter.output import console

OUTSIDE = {
    "CARILLON_SENDGRID_API_KEY": "SG.real.key",
    "CARILLON_SMTP_URL": "smtp://user:secret@mail.example.com:587",
    "CARILLON_DATABASE_URL": "postgresql://user@db.example.com/production",
    "CARILLON_TEMPORAL_ADDRESS": "temporal.example.com:7233",
    "CARILLON_PUBLIC_URL": "https://news.example.com",
    "CARILLON_SIMULATOR_SENDGRID_URL": "https://api.sendgrid.com",
    "CARILLON_TWILIO_ACCOUNT_SID": "AC" + "1" * 32,
    "CARILLON_TWILIO_AUTH_TOKEN": "a real token",
    "CARILLON_SIMULATOR_TWILIO_URL": "https://api.twilio.com",
    "CARILLON_WEBHOOK_SECRET": "a real secret",
    "CARILLON_LOG_PROVIDER": "on",
}


def test_nothing_in_the_environment_reaches_the_demos_parts(
    monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    monkeypatch.chdir(str(tmp_path))
    for name, value in OUTSIDE.items():
        monkeypatch.setenv(name, value)

    stack = _stack(console(stderr=True))
    settings, environment = stack.settings(), stack.environment()

    outside = {a.key: a for a in accounts_of(settings) if a.channel is not Channel.IN_APP}
    assert set(outside) == {"simulator", "simulator-smtp", "simulator-sms", "simulator-webhook"}
    assert not any(account.is_real for account in outside.values())
    for key in ("simulator", "simulator-smtp", "simulator-sms"):
        assert "127.0.0.1" in repr(outside[key].config)
    assert not set(OUTSIDE.values()) & set(environment.values())
    assert settings.temporal_address.startswith("127.0.0.1:")
    assert "example.com" not in settings.database_url


def test_the_demo_keeps_to_its_own_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    monkeypatch.chdir(str(tmp_path))
    monkeypatch.setenv("CARILLON_DATA_DIR", "/somewhere/else")

    assert demo_settings().data_dir.parts[-2:] == (".carillon", "demo")

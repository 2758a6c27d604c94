"""`carillon webhook`: endpoints made, listed, tested, enabled and removed by command."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Engine, text

from domain.webhook_signature import event_secret
from tests.builders import scalars

Run = Callable[..., tuple[int, Any]]
URL = "https://hooks.example.com/carillon"


@pytest.fixture
def signed(run: Run, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("CARILLON_WEBHOOK_SECRET", "master")
    return run


def test_an_endpoint_is_made_listed_tested_and_removed(signed: Run, engine: Engine) -> None:
    code, made = signed("webhook", "add", URL, "--event", "message.rejected")
    webhook = made["webhook"]["id"]

    assert code == 0
    assert made["secrets"] == [event_secret("master", webhook, 1)]
    assert signed("webhook", "list") == (0, {"webhooks": [made["webhook"]]})
    assert signed("webhook", "test", webhook)[0] == 0
    assert scalars(engine, "SELECT event FROM webhook_delivery") == ["webhook.test"]
    assert signed("webhook", "remove", webhook)[0] == 0
    assert signed("webhook", "list") == (0, {"webhooks": []})
    assert signed("webhook", "remove", webhook)[0] == 1


def test_a_disabled_endpoint_is_enabled_again(signed: Run, engine: Engine) -> None:
    webhook = signed("webhook", "add", URL)[1]["webhook"]["id"]
    with engine.begin() as connection:
        connection.execute(
            text("UPDATE webhook_endpoint SET is_enabled = false, disabled_reason = 'gone'")
        )

    refused = signed("webhook", "test", webhook)[0]
    enabled = signed("webhook", "enable", webhook)[1]["webhook"]

    assert refused == 1
    assert (enabled["is_enabled"], enabled["disabled_reason"]) == (True, "")


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["https://127.0.0.1/"], 1),
        (["http://hooks.example.com/"], 1),
        ([URL, "--event", "message.eaten"], 2),
    ],
)
def test_what_makes_no_sense_is_refused(signed: Run, arguments: list[str], code: int) -> None:
    assert signed("webhook", "add", *arguments)[0] == code
    assert signed("webhook", "list") == (0, {"webhooks": []})


def test_without_a_secret_nothing_is_registered(run: Run) -> None:
    assert run("webhook", "add", URL)[0] == 1

"""`carillon recipients contact secret`: what an endpoint's owner verifies with is what signs."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from typing import Any

import pytest

from domain.webhook_signature import endpoint_secret

Run = Callable[..., tuple[int, Any]]

HOOK = "https://hooks.example.org/in"


@pytest.fixture
def shop(run: Run, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A recipient with two endpoints, and a secret of ours."""
    monkeypatch.setenv("CARILLON_WEBHOOK_SECRET", "the-first-master")
    assert run("recipients", "set", "shop", "--webhook", HOOK)[0] == 0
    assert run("recipients", "contact", "add", "shop", "webhook", f"{HOOK}/2")[0] == 0
    return run


def secrets(run: Run, *arguments: str) -> tuple[str, list[str]]:
    code, said = run("recipients", "contact", "secret", *arguments)
    assert code == 0, said
    (account,) = said["accounts"]
    assert account["account"] == "webhook"
    return said["address"], account["secrets"]


def test_the_endpoint_in_use_is_shown_with_its_secret(shop: Run) -> None:
    address, (secret,) = secrets(shop, "shop")

    assert address == HOOK
    assert secret == endpoint_secret("the-first-master", HOOK)
    assert secret.startswith("whsec_")


def test_an_account_in_the_database_signs_with_a_secret_of_its_own(
    shop: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CARILLON_CREDENTIAL_KEYS", "one:" + base64.b64encode(b"1" * 32).decode())
    monkeypatch.setattr("sys.stdin", io.StringIO("webhook_secret=a-stored-master"))
    assert shop("accounts", "add", "webhook-two", "--provider", "webhook")[0] == 0

    code, said = shop("recipients", "contact", "secret", "shop")

    assert code == 0, said
    assert {one["account"]: one["secrets"] for one in said["accounts"]} == {
        "webhook": [endpoint_secret("the-first-master", HOOK)],
        "webhook-two": [endpoint_secret("a-stored-master", HOOK)],
    }


def test_each_endpoint_has_a_secret_of_its_own(shop: Run) -> None:
    assert secrets(shop, "shop", f"{HOOK}/2")[1] != secrets(shop, "shop")[1]


def test_while_it_is_changed_both_are_shown_the_new_one_first(
    shop: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    (before,) = secrets(shop, "shop")[1]
    monkeypatch.setenv("CARILLON_WEBHOOK_SECRET", "the-second-master the-first-master")

    new, old = secrets(shop, "shop")[1]

    assert old == before
    assert new == endpoint_secret("the-second-master", HOOK)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("shop", "https://hooks.example.org/other"), "has no webhook address https://hooks"),
        (("shop", "http://hooks.example.org/in"), "https"),
        (("nobody",), "There is no recipient 'nobody'"),
        (("plain",), "The recipient has no webhook address."),
    ],
)
def test_an_endpoint_that_nobody_has_gets_no_secret(
    shop: Run, arguments: tuple[str, ...], sentence: str
) -> None:
    shop("recipients", "set", "plain", "--email", "plain@example.org")

    code, said = shop("recipients", "contact", "secret", *arguments)

    assert (code, sentence in said["error"]) == (1, True), said


def test_where_nothing_signs_the_variable_is_named(
    shop: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CARILLON_WEBHOOK_SECRET")

    code, said = shop("recipients", "contact", "secret", "shop")

    assert (code, "CARILLON_WEBHOOK_SECRET" in said["error"]) == (1, True)

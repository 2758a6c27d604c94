"""Rate limits and weights as operators handle them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Engine

from domain.identifier import SEND_PREFIX, public_id
from tests.builders import Draft, a_running_campaign, scalar

Run = Callable[..., tuple[int, Any]]


def listed(run: Run) -> dict[str, float]:
    _, made = run("limits", "list")
    return {limit["key"]: limit["rate"] for limit in made["limits"]}


@pytest.mark.parametrize("key", ["global", "domain:gmail.com", "recipient", "team"])
def test_a_limit_is_set_changed_and_removed(run: Run, key: str) -> None:
    shown = "team:default" if key == "team" else key
    run("limits", "set", key, "5")
    first = listed(run)
    run("limits", "set", key, "7.5")
    second = listed(run)
    run("limits", "remove", key)

    assert (first, second, listed(run)) == ({shown: 5.0}, {shown: 7.5}, {})


def test_an_operators_rate_of_an_account_outlives_the_settings_own(
    run: Run, engine: Engine
) -> None:
    run("accounts", "list")
    run("limits", "set", "account:simulator", "1000")

    run("accounts", "list")

    assert listed(run) == {"account:simulator": 1000.0}
    assert scalar(engine, "SELECT rate FROM rate_limit WHERE key LIKE '%/transactional'") == 200
    run("limits", "remove", "account:simulator")
    assert listed(run) == {}


def test_a_sends_limit_is_its_campaigns_rate(run: Run, engine: Engine) -> None:
    key = f"send:{public_id(SEND_PREFIX, a_running_campaign(engine, Draft(people=2)))}"

    run("limits", "set", key, "40")

    assert listed(run) == {key: 40.0}
    assert scalar(engine, "SELECT rate FROM send") == 40


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("set", "planet", "5"), "nothing that can be limited"),
        (("set", "global", "0"), "must be above 0"),
        (("set", "domain:nonsense", "5"), "no mail domain"),
        (("set", "account:nobody", "5"), "There is no account 'nobody'"),
        (("set", "global:x", "5"), "limited as a whole"),
    ],
)
def test_what_is_no_limit_is_refused_with_a_sentence(
    run: Run, arguments: tuple[str, ...], says: str
) -> None:
    code, said = run("limits", *arguments)

    assert code == 1
    assert says in said["error"]


def test_a_weight_is_set_and_those_beside_it_return_to_their_own(run: Run, engine: Engine) -> None:
    run("accounts", "list")

    code, _ = run("accounts", "weight", "simulator", "80")

    _, made = run("accounts", "list")
    weights = {account["key"]: account["weight"] for account in made["accounts"]}
    assert code == 0
    assert weights["simulator"] == 80
    assert made["waiting"]["email"] == {"owed": 0, "parked": 0, "until": None}
    code, said = run("accounts", "weight", "simulator", "1001")
    assert (code, said["error"]) == (1, "A weight is between 0 and 1000.")

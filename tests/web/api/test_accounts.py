"""Accounts over HTTP: share, health, what stops them and what waits; weight and resume."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import text

from domain.health import HealthRules, Seen
from models.account import NamedAccount, find_account, keep_account, refuse_account
from models.account_health import record_answers
from models.team import default_team_id
from tests.builders import scalar
from tests.web.api.conftest import ORDER, Api, MakeApi


@pytest.fixture
def two(shop: Api) -> Api:
    """The accounts `simulator` and, as its fallback, `second`; both by e-mail."""
    with shop.engine.begin() as connection:
        keep_account(
            connection,
            default_team_id(connection),
            NamedAccount(
                key="second", provider="postmark", channel="email", is_real=False, rate=20
            ),
        )
    return shop


def by_key(api: Api) -> dict[str, Any]:
    return {row["key"]: row for row in api.get("/v1/accounts").json()["data"]}


def test_an_account_shows_share_health_and_what_waits_and_no_credentials(two: Api) -> None:
    two.post("/v1/messages", ORDER)
    with two.engine.begin() as connection:
        account = find_account(connection, default_team_id(connection), "simulator")
        seen = Seen(answers=5, errors=2, slow=1)
        record_answers(connection, {account.id: seen}, HealthRules())

    said = two.get("/v1/accounts/simulator").json()

    assert said["health"] == {"answers": 5, "errors": 2, "slow": 1}
    assert said["waiting"] == {"owed": 1, "parked": 0, "until": None}
    assert (said["weight"], said["state"], said["held"]) == (50, "up", [])
    of_credentials = {name: value for name, value in said.items() if "credential" in name}
    assert of_credentials == {"credential_set_at": None, "credential_key_id": None}
    assert by_key(two)["simulator"] == said
    assert {key: row["weight"] for key, row in by_key(two).items()} == {
        "simulator": 50,
        "second": 0,
    }


def test_accounts_are_listed_by_pages_and_those_of_test_keys_are_not(
    two: Api, make_api: MakeApi
) -> None:
    make_api(is_test=True)

    first = two.get("/v1/accounts?limit=1").json()
    rest = two.get(f"/v1/accounts?limit=1&cursor={first['next']}").json()

    assert [row["key"] for row in (*first["data"], *rest["data"])] == ["simulator", "second"]
    assert rest["has_more"] is False
    assert two.get("/v1/accounts/test-email").status_code == 404


def test_a_weight_is_set_and_those_beside_return_to_their_own(two: Api) -> None:
    with two.engine.begin() as connection:
        connection.execute(text("UPDATE provider_account SET weight = 20 WHERE key = 'simulator'"))

    said = two.put("/v1/accounts/second/weight", {"weight": 30})

    assert (said.status_code, said.json()["weight"]) == (200, 30)
    assert by_key(two)["simulator"]["weight"] == 50
    for wrong in (-1, 1001, "many", None):
        assert two.put("/v1/accounts/second/weight", {"weight": wrong}).status_code == 422
    assert by_key(two)["second"]["weight_configured"] == 30


def test_resuming_ends_refusal_breaker_and_holds_and_again_is_harmless(two: Api) -> None:
    two.post("/v1/holds", {"scope": "account", "key": "simulator", "reason": "quota"})
    with two.engine.begin() as connection:
        account = find_account(connection, default_team_id(connection), "simulator")
        refuse_account(connection, account.id, "bad key")
        connection.execute(
            text(
                "UPDATE provider_account SET breaker_until = now() + interval '1 hour'"
                " WHERE key = 'simulator'"
            )
        )
    stopped = two.get("/v1/accounts/simulator").json()

    resumed = [two.post("/v1/accounts/simulator/resume", key=None).json() for _ in range(2)]

    assert (stopped["state"], stopped["state_reason"]) == ("refused", "bad key")
    assert [said.partition(" (")[0] for said in stopped["held"]] == ["quota"]
    assert stopped["breaker_until"] is not None
    for said in resumed:
        assert (said["state"], said["held"], said["breaker_until"]) == ("up", [], None)


def test_an_account_that_was_removed_is_not_resumed(two: Api) -> None:
    with two.engine.begin() as connection:
        connection.execute(
            text("UPDATE provider_account SET state = 'removed' WHERE key = 'second'")
        )

    assert two.post("/v1/accounts/second/resume", key=None).status_code == 409
    assert two.get("/v1/accounts/second").json()["state"] == "removed"


def test_another_teams_accounts_are_not_there(two: Api, make_api: MakeApi) -> None:
    other = make_api(team="other")

    assert other.get("/v1/accounts").json()["data"] == []
    assert other.get("/v1/accounts/simulator").status_code == 404
    assert other.post("/v1/accounts/simulator/resume", key=None).status_code == 404
    assert other.put("/v1/accounts/simulator/weight", {"weight": 9}).status_code == 404
    weights = "SELECT weight FROM provider_account WHERE key = 'simulator'"
    assert scalar(two.engine, weights) == 50

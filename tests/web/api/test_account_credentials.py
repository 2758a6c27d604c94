"""Accounts with credentials over HTTP: added, given new ones, removed; the secret is never read back."""

from __future__ import annotations

import base64
import hashlib
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from httpx import Response
from sqlalchemy import Connection, Engine, text

import settings as settings_module
from models.audit_entry import audit_entries
from settings import Settings
from starter.stored_accounts import KnownAccounts, NewAccount, add_account, remove_account
from tests.builders import scalar, scalars
from tests.web.api.conftest import Api, MakeApi
from web.api.account_credentials import AddAccountRequest

SECRET = "SG.never-to-be-seen"
OTHER = "SG.another-of-the-kind"
WISH: dict[str, Any] = {
    "key": "sendgrid-two",
    "provider": "sendgrid",
    "credentials": {"sendgrid_api_key": SECRET, "sendgrid_region": "eu"},
    "rate": 5,
}
KEYS = "one:" + base64.b64encode(b"1" * 32).decode()
TABLES = (
    "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'"
)
STORED = "SELECT count(*) FROM provider_account WHERE credential IS NOT NULL"
WAITING = (
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
    " AND wait_event_type = 'Lock'"
)


@pytest.fixture
def api_settings(request: pytest.FixtureRequest) -> Settings:
    """With a key for credentials; a test may name others of the settings."""
    given = {"credential_keys": KEYS, **getattr(request, "param", {})}
    return settings_module.load(_env_file=None, **given)


@pytest.fixture
def two(api: Api) -> Api:
    """The caller, once the account sendgrid-two is stored."""
    added = api.post("/v1/accounts", WISH)
    assert added.status_code == 201, added.text
    return api


def api_key_used(api: Api, key: str = "sendgrid-two", team: int | None = None) -> str | None:
    """What a worker sends with on the team's account; None: it has no such account."""
    with api.engine.connect() as connection:
        known = KnownAccounts(api.settings).read(connection)
    ids = "SELECT id FROM provider_account WHERE key = :key AND team_id = :team"
    found = known.get(scalar(api.engine, ids, {"key": key, "team": team or api.team}) or 0)
    return None if found is None else str(found.config.config.api_key)


def audited(api: Api) -> list[tuple[str, str, str, dict[str, Any]]]:
    with api.engine.connect() as connection:
        entries = audit_entries(connection, api.team)
    return [(each.actor, each.action, each.subject, dict(each.details)) for each in entries][::-1]


def everything_stored(engine: Engine) -> str:
    return " ".join(
        scalar(engine, f"SELECT coalesce(string_agg(t::text, ' '), '') FROM {table} t")
        for table in scalars(engine, TABLES)
    )


def pointers(answer: Response) -> list[str]:
    return [each["pointer"] for each in answer.json().get("errors", [])]


def test_threat_32_credentials_are_given_over_http_and_never_read_back(
    api: Api, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    said = [
        api.post("/v1/accounts", WISH, key="k"),
        api.post("/v1/accounts", WISH, key="k"),
        api.post("/v1/accounts", WISH, key="another"),
        api.put("/v1/accounts/sendgrid-two/credentials", {"credentials": WISH["credentials"]}),
        api.get("/v1/accounts"),
        api.get("/v1/accounts/sendgrid-two"),
        api.get("/v1/audit/entries"),
    ]

    assert [answer.status_code for answer in said] == [201, 201, 409, 200, 200, 200, 200]
    assert api_key_used(api) == SECRET
    logged = caplog.text + "".join(str(vars(record)) for record in caplog.records)
    assert "/v1/accounts" in logged
    stored = everything_stored(api.engine)
    assert "sendgrid-two" in stored
    for form in (SECRET, SECRET.encode().hex(), base64.b64encode(SECRET.encode()).decode()):
        assert form not in stored
        assert form not in logged
        assert not any(form in answer.text for answer in said)
    assert SECRET not in repr(AddAccountRequest(**WISH)) + repr(AddAccountRequest(**WISH).new())


def test_of_the_body_nothing_is_kept_that_a_guess_can_be_tried_on(two: Api) -> None:
    body = AddAccountRequest(**WISH).model_dump_json()
    guessed = {
        hashlib.sha256(said.encode()).hexdigest()
        for said in (SECRET, body, f"False\n{body}", f"True\n{body}")
    }

    (kept,) = scalars(two.engine, "SELECT body_hash FROM idempotent_answer")

    assert len(kept) == 64
    assert kept not in guessed


def test_an_account_that_is_added_says_since_when_and_under_which_key(api: Api) -> None:
    said = api.post("/v1/accounts", WISH | {"channel": "email", "weight": 30}).json()

    assert (said["key"], said["provider"], said["channel"]) == ("sendgrid-two", "sendgrid", "email")
    assert (said["rate"], said["weight"], said["real"], said["state"]) == (5, 30, True, "up")
    assert said["credential_set_at"]
    assert said["credential_key_id"] == "one"
    assert {name for name in said if "credential" in name} == {
        "credential_set_at",
        "credential_key_id",
    }
    assert api.get("/v1/accounts/sendgrid-two").json() == said
    assert said in api.get("/v1/accounts").json()["data"]
    caller = f"api key {api.key.line.id}"
    assert audited(api) == [
        (caller, "account.added", "sendgrid-two", {"provider": "sendgrid", "key_id": "one"}),
        (caller, "account.weighted", "sendgrid-two", {"weight": 30}),
    ]


def test_the_same_request_again_is_answered_and_not_done(api: Api) -> None:
    first = api.post("/v1/accounts", WISH, key="k")
    again = api.post("/v1/accounts", WISH, key="k")
    other = api.post("/v1/accounts", WISH | {"credentials": {"sendgrid_api_key": OTHER}}, key="k")

    assert (first.status_code, again.status_code) == (201, 201)
    assert again.json() == first.json()
    assert again.headers["Idempotency-Replayed"] == "true"
    assert other.status_code == 422
    assert other.json()["type"] == "urn:carillon:problem:idempotency-key-reused"
    assert api_key_used(api) == SECRET
    assert len(audited(api)) == 1


def test_adding_needs_an_idempotency_key(api: Api) -> None:
    assert api.post("/v1/accounts", WISH, key=None).status_code == 400
    assert scalar(api.engine, STORED) == 0


def test_new_credentials_take_the_place_of_the_old_and_end_a_refusal(two: Api) -> None:
    with two.engine.begin() as connection:
        connection.execute(
            text("UPDATE provider_account SET state = 'refused' WHERE key = 'sendgrid-two'")
        )

    body = {"credentials": {"sendgrid_api_key": OTHER}}
    said = [two.put("/v1/accounts/sendgrid-two/credentials", body) for _ in range(2)]

    assert [answer.status_code for answer in said] == [200, 200]
    assert (said[0].json()["state"], said[0].json()["rate"]) == ("up", 5)
    assert api_key_used(two) == OTHER
    assert audited(two)[1:] == 2 * [
        (
            f"api key {two.key.line.id}",
            "account.credentials_replaced",
            "sendgrid-two",
            {"provider": "sendgrid", "key_id": "one"},
        )
    ]


def test_a_removed_account_is_gone_from_workers_and_may_be_added_again(two: Api) -> None:
    removed = two.delete("/v1/accounts/sendgrid-two")

    assert (removed.status_code, removed.content) == (204, b"")
    assert scalar(two.engine, STORED) == 0
    assert api_key_used(two) is None
    said = two.get("/v1/accounts/sendgrid-two").json()
    assert (said["state"], said["credential_set_at"]) == ("removed", None)
    assert audited(two)[-1] == (
        f"api key {two.key.line.id}",
        "account.removed",
        "sendgrid-two",
        {},
    )
    body = {"credentials": WISH["credentials"]}
    for refused in (
        two.delete("/v1/accounts/sendgrid-two"),
        two.put("/v1/accounts/sendgrid-two/credentials", body),
    ):
        assert refused.status_code == 409
        assert "was removed" in refused.json()["detail"]
    assert two.post("/v1/accounts", WISH).status_code == 201
    assert api_key_used(two) == SECRET


def test_another_team_has_no_part_in_them_and_its_own_under_the_same_name(
    two: Api, make_api: MakeApi
) -> None:
    other = make_api(team="other")
    body = {"credentials": {"sendgrid_api_key": OTHER}}

    assert other.put("/v1/accounts/sendgrid-two/credentials", body).status_code == 404
    assert other.delete("/v1/accounts/sendgrid-two").status_code == 404
    assert other.post("/v1/accounts", WISH | body).status_code == 201
    assert api_key_used(two) == SECRET
    assert api_key_used(other) == OTHER
    assert other.delete("/v1/accounts/sendgrid-two").status_code == 204
    assert api_key_used(two) == SECRET


def test_what_is_not_there_is_not_found(api: Api) -> None:
    body = {"credentials": WISH["credentials"]}

    assert api.put("/v1/accounts/nobody/credentials", body).status_code == 404
    assert api.delete("/v1/accounts/nobody").status_code == 404


def test_only_who_may_write_accounts_does(two: Api, make_api: MakeApi) -> None:
    reader = make_api(["accounts:read", "keys:write"])
    body = {"credentials": {"sendgrid_api_key": OTHER}}

    for denied in (
        reader.post("/v1/accounts", WISH | {"key": "three"}),
        reader.put("/v1/accounts/sendgrid-two/credentials", body),
        reader.delete("/v1/accounts/sendgrid-two"),
    ):
        assert denied.status_code == 403
        assert "accounts:write" in denied.json()["detail"]
    assert api_key_used(two) == SECRET
    writer = make_api(["accounts:write"])
    assert writer.post("/v1/accounts", WISH | {"key": "three"}).status_code == 201


@pytest.mark.parametrize(
    ("wrong", "pointer"),
    [
        ({"provider": "carrier-pigeon"}, "/provider"),
        ({"provider": "log"}, "/provider"),
        ({"provider": 5}, "/provider"),
        ({"key": "A b"}, "/key"),
        ({"key": "x" * 64}, "/key"),
        ({"key": "test-email"}, "/key"),
        ({"channel": "sms"}, "/channel"),
        ({"channel": "pigeon"}, "/channel"),
        ({"rate": -1}, "/rate"),
        ({"rate": "5"}, "/rate"),
        ({"weight": 1001}, "/weight"),
        ({"more": SECRET}, "/more"),
        ({"credentials": None}, "/credentials"),
        ({"credentials": {}}, "/credentials/sendgrid_api_key"),
        ({"credentials": {"sendgrid_api_key": 5}}, "/credentials/sendgrid_api_key"),
        ({"credentials": {"sendgrid_region": SECRET}}, "/credentials/sendgrid_api_key"),
        (
            {"credentials": {"sendgrid_api_key": SECRET, "region/x": SECRET}},
            "/credentials/region~1x",
        ),
        (
            {"credentials": {"sendgrid_api_key": SECRET, "sendgrid_region": "moon"}},
            "/credentials",
        ),
        ({"provider": "smtp", "credentials": {"smtp_url": SECRET}}, "/credentials/smtp_url"),
    ],
)
def test_what_makes_no_account_is_refused_with_its_place_and_changes_nothing(
    api: Api, wrong: dict[str, Any], pointer: str
) -> None:
    said = api.post("/v1/accounts", WISH | wrong)

    assert said.status_code == 422, said.text
    assert pointers(said) == [pointer]
    assert SECRET not in said.text
    assert scalar(api.engine, STORED) == 0
    assert scalar(api.engine, "SELECT count(*) FROM idempotent_answer") == 0
    assert audited(api) == []


def test_wrong_new_credentials_leave_the_old(two: Api) -> None:
    for body, pointer in (
        ({}, "/credentials"),
        ({"credentials": {"smtp_url": "smtp://x"}}, "/credentials/smtp_url"),
        ({"credentials": {"sendgrid_api_key": ""}}, "/credentials/sendgrid_api_key"),
        ({"credentials": WISH["credentials"], "provider": "smtp"}, "/provider"),
    ):
        said = two.put("/v1/accounts/sendgrid-two/credentials", body)

        assert (said.status_code, pointers(said)) == (422, [pointer])
    assert api_key_used(two) == SECRET


def test_a_name_that_is_taken_is_refused(two: Api) -> None:
    said = two.post("/v1/accounts", WISH | {"credentials": {"sendgrid_api_key": OTHER}})

    assert (said.status_code, pointers(said)) == (409, ["/key"])
    assert "already" in said.json()["detail"]
    assert api_key_used(two) == SECRET


@pytest.mark.parametrize("api_settings", [{"sendgrid_api_key": "SG.of-settings"}], indirect=True)
def test_what_the_settings_make_is_left_to_them(api: Api) -> None:
    said = api.post("/v1/accounts", WISH | {"key": "sendgrid"})

    assert (said.status_code, pointers(said)) == (409, ["/key"])
    assert "The settings make" in said.json()["detail"]
    assert scalar(api.engine, STORED) == 0


def test_an_account_of_the_settings_is_neither_changed_nor_removed(shop: Api) -> None:
    body = {"credentials": WISH["credentials"]}

    for refused in (
        shop.put("/v1/accounts/simulator/credentials", body),
        shop.delete("/v1/accounts/simulator"),
    ):
        assert refused.status_code == 409
        assert "is the settings'" in refused.json()["detail"]
    assert shop.get("/v1/accounts/simulator").json()["state"] == "up"


@pytest.mark.parametrize(
    ("api_settings", "kind"),
    [
        ({"credential_keys": ""}, "no-credential-key"),
        ({"credential_keys": "one:MTIz"}, "misconfigured"),
    ],
    indirect=["api_settings"],
)
def test_without_a_key_to_encrypt_with_nothing_is_stored(api: Api, kind: str) -> None:
    said = api.post("/v1/accounts", WISH)

    assert said.status_code == 409
    assert said.json()["type"] == f"urn:carillon:problem:{kind}"
    assert "CARILLON_CREDENTIAL_KEYS" in said.json()["detail"]
    assert scalar(api.engine, "SELECT count(*) FROM provider_account") == 0


def while_open(
    engine: Engine, change: Callable[[Connection], object], ask: Callable[[], Response]
) -> Response:
    """The answer to who asks while the change is not committed, and waits for it."""
    with ThreadPoolExecutor(1) as pool:
        with engine.begin() as connection:
            change(connection)
            asked = pool.submit(ask)
            while not scalar(engine, WAITING) and not asked.done():
                time.sleep(0.01)
        return asked.result()


def test_of_two_who_add_one_name_at_once_the_second_is_refused(api: Api) -> None:
    first = NewAccount(
        key="sendgrid-two", provider="sendgrid", credentials={"sendgrid_api_key": OTHER}
    )

    said = while_open(
        api.engine,
        lambda c: add_account(c, api.settings, api.team, first, actor="first"),
        lambda: api.post("/v1/accounts", WISH),
    )

    assert said.status_code == 409
    assert api_key_used(api) == OTHER
    assert [actor for actor, *_ in audited(api)] == ["first"]


def test_new_credentials_do_not_bring_back_an_account_that_is_just_removed(two: Api) -> None:
    body = {"credentials": {"sendgrid_api_key": OTHER}}

    said = while_open(
        two.engine,
        lambda c: remove_account(c, two.settings, two.team, "sendgrid-two", actor="first"),
        lambda: two.put("/v1/accounts/sendgrid-two/credentials", body),
    )

    assert said.status_code == 409
    assert two.get("/v1/accounts/sendgrid-two").json()["state"] == "removed"
    assert api_key_used(two) is None

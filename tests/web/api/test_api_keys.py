"""API keys: shown once, stored as a keyed hash, with scopes; rotated with overlap, revoked at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import text

from domain.api_key import Scope
from models.idempotent_answer import forget_answers
from tests.builders import scalar
from tests.web.api.conftest import ORDER, Api, MakeApi

WISH: dict[str, Any] = {"name": "shop", "scopes": ["messages:send"]}


def with_key(api: Api, key: str) -> Api:
    """The same site for the holder of another key."""
    return Api(
        http=api.http,
        engine=api.engine,
        settings=api.settings,
        team=api.team,
        key=api.key,
        headers={"Authorization": f"Bearer {key}"},
    )


def test_threat_19_a_key_is_shown_once_and_only_its_keyed_hash_is_stored(api: Api) -> None:
    made = api.post("/v1/api-keys", WISH, key="k")
    again = api.post("/v1/api-keys", WISH, key="k")
    key = made.json()["key"]

    assert made.status_code == again.status_code == 201
    assert key.startswith("crl_live_")
    assert len(key) == len("crl_live_") + 8 + 1 + 43
    assert again.json() == made.json() | {"key": None}
    secret = key[-43:]
    for path in ("/v1/api-keys", f"/v1/api-keys/{made.json()['id']}"):
        assert secret not in api.get(path).text
    for table in ("api_key", "idempotent_answer"):
        rows = scalar(api.engine, f"SELECT string_agg(t::text, ' ') FROM {table} t")
        assert secret not in rows


def test_a_key_opens_what_its_scopes_say_and_nothing_else(shop: Api) -> None:
    key = shop.post("/v1/api-keys", WISH).json()["key"]
    holder = with_key(shop, key)

    assert holder.post("/v1/messages", ORDER).status_code == 202
    denied = holder.get("/v1/messages")
    assert denied.status_code == 403
    assert "messages:read" in denied.json()["detail"]


@pytest.mark.parametrize(
    "given",
    [
        "",
        "Bearer",
        "Bearer crl_live_",
        "Bearer crl_live_aaaaaaaa_" + "x" * 43,
        "Basic dXNlcjpwYXNz",
        "Bearer " + "x" * 5000,
        "Bearer crl_live_aaaaaaaa_\u00e4" + "x" * 42,
    ],
)
def test_without_a_good_key_nothing_opens(api: Api, given: str) -> None:
    answer = api.http.get("/v1/messages", headers={"Authorization": given.encode("latin-1")})

    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.json()["type"] == "urn:carillon:problem:no-key"


def test_a_key_with_another_secret_part_or_another_mode_is_wrong(api: Api) -> None:
    key = api.key.text

    for wrong in (key[:-1] + ("a" if key[-1] != "a" else "b"), key.replace("live", "test", 1)):
        assert with_key(api, wrong).get("/v1/messages").status_code == 401


def test_a_key_that_has_expired_or_was_revoked_is_unknown(api: Api) -> None:
    made = [api.post("/v1/api-keys", WISH | {"scopes": ["messages:read"]}).json() for _ in range(2)]
    with api.engine.begin() as connection:
        connection.execute(
            text("UPDATE api_key SET expires_at = now() WHERE id = (SELECT max(id) FROM api_key)")
        )

    assert with_key(api, made[0]["key"]).get("/v1/messages").status_code == 200
    revoked = api.post(f"/v1/api-keys/{made[0]['id']}/revoke")
    again = api.post(f"/v1/api-keys/{made[0]['id']}/revoke")

    assert revoked.json() == again.json()
    assert not revoked.json()["is_good"]
    for one in made:
        assert with_key(api, one["key"]).get("/v1/messages").status_code == 401


def test_after_a_rotation_both_keys_are_good_until_the_overlap_ends(api: Api) -> None:
    old = api.post("/v1/api-keys", WISH | {"scopes": ["messages:read"]}).json()

    new = api.post(f"/v1/api-keys/{old['id']}/rotate", {"overlap_seconds": 3600}).json()
    at_once = api.post(f"/v1/api-keys/{new['id']}/rotate", {"overlap_seconds": 0}).json()
    ended = api.post(f"/v1/api-keys/{new['id']}/rotate", {})

    assert new["scopes"] == old["scopes"]
    assert new["rotated_from"] == old["id"]
    codes = [with_key(api, k["key"]).get("/v1/messages").status_code for k in (old, new, at_once)]
    assert codes == [200, 401, 200]
    assert api.get(f"/v1/api-keys/{old['id']}").json()["expires_at"] is not None
    assert ended.status_code == 409


def test_nobody_makes_or_takes_a_key_that_may_more_than_their_own(
    api: Api, make_api: MakeApi
) -> None:
    clerk = make_api(["keys:write", "messages:send"])
    powerful = api.post("/v1/api-keys", WISH | {"scopes": ["admin"]}).json()

    assert clerk.post("/v1/api-keys", WISH).status_code == 201
    assert clerk.post("/v1/api-keys", WISH | {"scopes": ["admin"]}).status_code == 403
    assert clerk.post(f"/v1/api-keys/{powerful['id']}/rotate", {}).status_code == 403


def test_the_last_use_is_written_once_a_minute(api: Api) -> None:
    def used() -> Any:
        return scalar(api.engine, "SELECT last_used_at FROM api_key")

    assert used() is None
    api.get("/v1/messages")
    first = used()
    api.get("/v1/messages")

    assert first is not None
    assert used() == first
    with api.engine.begin() as connection:
        connection.execute(text("UPDATE api_key SET last_used_at = now() - interval '2 minutes'"))
    api.get("/v1/messages")
    assert used() >= first


def test_keys_are_listed_by_pages_and_a_cursor_is_good_for_its_list_alone(api: Api) -> None:
    for n in range(4):
        api.post("/v1/api-keys", WISH | {"name": f"key {n}"})

    first = api.get("/v1/api-keys?limit=3").json()
    rest = api.get(f"/v1/api-keys?limit=3&cursor={first['next']}").json()

    names = [line["name"] for line in (*first["data"], *rest["data"])]
    assert names == ["key 3", "key 2", "key 1", "key 0", "tests"]
    assert (first["has_more"], rest["has_more"], rest["next"]) == (True, False, None)
    changed = first["next"][:-2] + "AA"
    for path in (f"/v1/messages?cursor={first['next']}", f"/v1/api-keys?cursor={changed}"):
        assert api.get(path).status_code == 422


@pytest.mark.parametrize(
    "wish",
    [
        {"name": ""},
        {"name": "   "},
        {"scopes": []},
        {"scopes": ["everything"]},
        {"expires_in_seconds": 0},
        {"requests_per_second": 0},
        {"key": "crl_live_mine"},
    ],
)
def test_a_key_that_makes_no_sense_is_refused(api: Api, wish: dict[str, Any]) -> None:
    assert api.post("/v1/api-keys", WISH | wish).status_code == 422
    assert scalar(api.engine, "SELECT count(*) FROM api_key") == 1


def test_every_scope_is_a_word_of_the_schema(api: Api) -> None:
    schema = api.get("/v1/openapi.json").json()["components"]["schemas"]

    assert set(schema["Scope"]["enum"]) == {scope.value for scope in Scope}


def test_what_acts_needs_an_idempotency_key(api: Api) -> None:
    answer = api.post("/v1/api-keys", WISH, key=None)

    assert answer.status_code == 400
    assert answer.json()["type"] == "urn:carillon:problem:idempotency-key-missing"


def test_fifty_at_once_with_one_idempotency_key_make_one_key(api: Api) -> None:
    with ThreadPoolExecutor(50) as pool:
        asked = list(pool.map(lambda _: api.post("/v1/api-keys", WISH, key="k"), range(50)))

    made = [answer for answer in asked if answer.status_code == 201]
    waiting = [answer for answer in asked if answer.status_code == 409]
    assert len(made) + len(waiting) == 50
    assert len([answer for answer in made if answer.json()["key"] is not None]) == 1
    assert len({answer.json()["id"] for answer in made}) == 1
    assert all(answer.headers["retry-after"] == "1" for answer in waiting)
    assert api.post("/v1/api-keys", WISH, key="k").json()["id"] == made[0].json()["id"]
    assert scalar(api.engine, "SELECT count(*) FROM api_key") == 2


def test_a_refusal_is_not_kept_and_another_body_is_refused_only_after_an_answer(api: Api) -> None:
    refused = api.post("/v1/api-keys", WISH | {"name": " "}, key="k")
    made = api.post("/v1/api-keys", WISH, key="k")
    other = api.post("/v1/api-keys", WISH | {"name": "another"}, key="k")

    assert [answer.status_code for answer in (refused, made, other)] == [422, 201, 422]
    assert other.json()["type"] == "urn:carillon:problem:idempotency-key-reused"


def test_one_teams_idempotency_key_says_nothing_to_another_team(
    api: Api, make_api: MakeApi
) -> None:
    first = api.post("/v1/api-keys", WISH, key="k").json()

    other = make_api(team="other").post("/v1/api-keys", WISH, key="k")

    assert other.status_code == 201
    assert other.json()["id"] != first["id"]


def test_an_answer_is_forgotten_after_a_day(api: Api) -> None:
    first = api.post("/v1/api-keys", WISH, key="k").json()
    with api.engine.begin() as connection:
        connection.execute(text("UPDATE idempotent_answer SET expires_at = now()"))

    again = api.post("/v1/api-keys", WISH, key="k").json()
    with api.engine.begin() as connection:
        connection.execute(text("UPDATE idempotent_answer SET expires_at = now()"))
        assert forget_answers(connection) == 1

    assert again["id"] != first["id"]

"""What holds for every route: problems, ids, bodies that are no bodies, a database that is away."""

from __future__ import annotations

import json
from typing import Any

import pytest
from sqlalchemy import Engine

from models.database import connect
from settings import load
from tests.builders import scalar
from tests.web.api.conftest import ORDER, Api, MakeApi, site_client

KINDS = {"type", "title", "status", "detail", "instance", "request_id"}


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/nothing", 404),
        ("GET", "/v1", 404),
        ("GET", "/api/v2/x", 404),
        ("DELETE", "/v1/messages", 405),
        ("GET", "/v1/messages/snd_1", 404),
        ("GET", "/v1/messages/msg_0000000000000", 404),
        ("GET", "/v1/messages/msg_zzzzzzzzzzzzz1", 404),
        ("GET", "/v1/messages/%00", 400),
        ("GET", "/v1/messages?template=%00", 400),
        ("GET", "/v1/messages?limit=101", 422),
        ("GET", "/v1/messages?limit=99999999999999999999999", 422),
        ("GET", "/v1/messages?since=9999-12-31T23:59:59Z", 422),
        ("GET", "/v1/messages?since=0001-01-01T00:00:00Z", 422),
        ("GET", "/v1/messages?cursor=%C3%A4", 422),
        ("GET", "/v1/messages?outcome=lost", 422),
        ("GET", "/v1/sends/snd_%F0%9F%92%A3", 404),
        ("GET", "/v1/api-keys/key_7zzzzzzzzzzzz", 404),
    ],
)
def test_everything_that_is_not_done_is_a_problem(
    api: Api, method: str, path: str, status: int
) -> None:
    answer = api.http.request(method, path, headers=api.headers)

    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json().keys() >= KINDS
    assert answer.json()["status"] == status
    assert answer.json()["request_id"] == answer.headers["x-request-id"]


def test_a_good_request_id_of_the_caller_is_kept_and_a_bad_one_is_not(api: Api) -> None:
    def answered(given: str) -> str:
        headers = {**api.headers, "X-Request-Id": given}
        return str(api.http.get("/v1/messages", headers=headers).headers["x-request-id"])

    assert answered("order-42:1") == "order-42:1"
    assert answered("a b").startswith("req_")
    assert answered("x" * 101).startswith("req_")


DEEP = "[" * 5000 + "]" * 5000
BODIES = {
    "no JSON": b"{",
    "nothing": b"",
    "not UTF-8": b'{"template": "\xff"}',
    "NUL": b'{"template": "a\\u0000"}',
    "NUL in a name": b'{"template": "a", "variables": {"\\u0000": 1}}',
    "lone surrogate": b'{"template": "\\ud800"}',
    "deep": ('{"variables": ' + DEEP + "}").encode(),
    "deep enough for Python": b'{"variables": ' + b"[" * 40 + b"]" * 40 + b"}",
    "huge number": b'{"variables": {"n": ' + b"9" * 5000 + b"}}",
    "too large a number": b'{"variables": {"n": 18446744073709551615}}',
    "a number that some readers round": b'{"variables": {"n": 120391940555489197432139415552}}',
    "NaN": b'{"variables": {"n": NaN}}',
    "a list": b"[]",
    "null": b"null",
    "text": b'"x"',
}


@pytest.mark.parametrize("body", BODIES.values(), ids=list(BODIES))
def test_malformed_bodies_are_refused_and_break_nothing(shop: Api, body: bytes) -> None:
    headers = {**shop.headers, "Content-Type": "application/json", "Idempotency-Key": "k"}

    answer = shop.http.post("/v1/messages", content=body, headers=headers)

    assert answer.status_code in (400, 422), answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert scalar(shop.engine, "SELECT count(*) FROM send") == 0


@pytest.mark.parametrize(
    "kind", ["text/plain", "", "application/x-www-form-urlencoded", "application/json; charset=x"]
)
def test_a_body_of_another_type_is_refused(shop: Api, kind: str) -> None:
    headers = {**shop.headers, "Content-Type": kind, "Idempotency-Key": "k"}

    answer = shop.http.post("/v1/messages", content=json.dumps(ORDER), headers=headers)

    assert answer.status_code == 415


def test_a_body_that_is_too_large_is_refused_with_and_without_its_length(shop: Api) -> None:
    body = json.dumps(ORDER | {"variables": {"order": "x" * 1_000_000}}).encode()
    headers = {**shop.headers, "Content-Type": "application/json", "Idempotency-Key": "k"}

    def in_pieces() -> Any:
        yield from (body[at : at + 65536] for at in range(0, len(body), 65536))

    for content in (body, in_pieces()):
        answer = shop.http.post("/v1/messages", content=content, headers=headers)
        assert answer.status_code == 413
        assert answer.json()["type"] == "urn:carillon:problem:body-too-large"


@pytest.mark.parametrize("key", ["", "x" * 201, "\u00e4", "a\tb"])
def test_an_idempotency_key_that_cannot_be_one_is_refused(shop: Api, key: str) -> None:
    headers = {**shop.headers, "Idempotency-Key": key.encode("latin-1")}

    answer = shop.http.post("/v1/messages", json=ORDER, headers=headers)

    assert answer.status_code == 400


def test_without_postgresql_the_api_says_so_and_when_to_ask_again() -> None:
    nowhere = connect("postgresql+psycopg2://nobody@127.0.0.1:1/nothing")
    headers = {"Authorization": "Bearer crl_live_aaaaaaaa_" + "x" * 43}
    with site_client(nowhere, load(_env_file=None)) as http:
        answer = http.get("/v1/messages", headers=headers)

    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "5"
    assert answer.headers["content-type"] == "application/problem+json"


def test_what_nobody_foresaw_is_a_problem_without_details(
    api: Api, engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    with engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE api_key RENAME COLUMN rate TO tempo")

    answer = api.get("/v1/api-keys")

    assert answer.status_code == 500
    assert answer.json()["type"] == "urn:carillon:problem:internal"
    assert "tempo" not in answer.text
    assert "rate" not in answer.text
    assert "api.failed" in caplog.text


def test_threat_30_logs_hold_neither_addresses_nor_keys(
    shop: Api, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG", logger="web")
    shop.post("/v1/messages", ORDER | {"to": "ada@example.org"}, key="secret-key-of-ada")
    shop.get("/v1/messages?recipient=ada@example.org")

    said = [vars(record) for record in caplog.records if record.name.startswith("web")]
    assert [record["route"] for record in said] == ["/v1/messages", "/v1/messages"]
    for secret in ("ada@example.org", "secret-key-of-ada", shop.key.text):
        assert secret not in str(said)


def test_threat_20_wrong_keys_from_one_address_are_slowed_down(api: Api) -> None:
    wrong = {"Authorization": "Bearer crl_live_aaaaaaaa_" + "x" * 43}

    codes = [api.http.get("/v1/messages", headers=wrong).status_code for _ in range(100)]

    assert set(codes[:5]) == {401}
    assert 429 in codes
    assert api.get("/v1/messages").status_code == 200


def test_threat_37_a_key_that_asks_too_often_is_told_when_to_ask_again(
    make_api: MakeApi, engine: Engine
) -> None:
    api = make_api()
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE api_key SET rate = 1")

    answers = [api.get("/v1/messages") for _ in range(30)]
    limited = [answer for answer in answers if answer.status_code == 429]

    assert answers[0].headers["x-ratelimit-limit"] == "2"
    assert answers[0].headers["x-ratelimit-remaining"] == "1"
    assert limited
    assert int(limited[0].headers["retry-after"]) >= 1


def test_the_public_pages_are_where_they_were(api: Api) -> None:
    assert api.http.get("/livez").status_code == 200
    assert api.http.get("/readyz").status_code == 200
    assert "This link is not valid" in api.http.get("/u/nonsense").text


def test_threat_23_the_api_takes_no_cookies_and_sets_none(api: Api) -> None:
    with_cookie = api.http.get(
        "/v1/messages", headers={"Cookie": f"session={api.key.text}; key={api.key.text}"}
    )

    assert with_cookie.status_code == 401
    assert "set-cookie" not in api.get("/v1/messages").headers
    assert "access-control-allow-origin" not in api.get("/v1/messages").headers


def test_threat_5_a_request_id_cannot_break_into_the_headers(api: Api) -> None:
    headers = {**api.headers, "X-Request-Id": b"a\xc2\x85Set-Cookie: x=1"}

    answer = api.http.get("/v1/messages", headers=headers)

    assert answer.headers["x-request-id"].startswith("req_")


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"dry_run": "yes"}, "/dry_run"),
        ({"dry_run": 1}, "/dry_run"),
        ({"expires_after": "60"}, "/expires_after"),
        ({"at": "1800000000"}, "/at"),
        ({"at": 1800000000}, "/at"),
        ({"template": 5}, "/template"),
    ],
)
def test_nothing_is_taken_for_another_type(shop: Api, change: dict[str, Any], pointer: str) -> None:
    answer = shop.post("/v1/messages", ORDER | change)

    assert answer.status_code == 422
    assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/v1/messages", "GET, POST"),
        ("/v1/messages/cancel", "POST"),
        ("/v1/messages/msg_1", "GET"),
        ("/v1/api-keys", "GET, POST"),
    ],
)
def test_a_wrong_method_is_told_all_right_ones(api: Api, path: str, allowed: str) -> None:
    answer = api.http.request("PATCH", path, headers=api.headers)

    assert answer.status_code == 405
    assert answer.headers["allow"] == allowed

"""Threat 33: whatever id of another team stands in a path, the answer is that it is not there.

The routes come from the OpenAPI document. A new kind of thing in a path needs an example in
EXAMPLES, or the test of it fails; a body whose least form is refused for itself needs one in BODIES.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import orjson
import pytest
from httpx import Response
from pydantic import SecretStr
from sqlalchemy import Connection, Engine, text

from domain.identifier import KEY_PREFIX, public_id
from settings import Settings, load
from starter.import_jobs import run_next
from tests.web.api.conftest import ORDER, Api, MakeApi
from web.api.openapi import document

BOTH = "both"
"""External id of a person and key of a topic that both teams have: what bodies may name."""
TOKEN = "token-of-the-first-team"


def _made(answer: Response) -> dict[str, Any]:
    assert answer.is_success, answer.text
    made: dict[str, Any] = answer.json()
    return made


def _sent(owner: Api) -> dict[str, Any]:
    return _made(owner.post("/v1/messages", ORDER))


def _person(owner: Api) -> dict[str, Any]:
    ada = {"external_id": "ada", "email": "ada@example.org"}
    person: dict[str, Any] = _made(owner.post("/v1/recipients", ada))["recipient"]
    _made(owner.post(f"/v1/recipients/{person['id']}/push-tokens", {"token": TOKEN}))
    return person


def _published(owner: Api, word: str, **headers: str) -> dict[str, Any]:
    said = {"subject": word, "text": "{{ first_name }}"}
    wish = {"key": "welcome", "from": "Shop <shop@example.com>", "content": {"email": said}}
    all_headers = {**owner.headers, **headers, "Idempotency-Key": word}
    return _made(owner.http.post("/v1/templates", json=wish, headers=all_headers))


def _template(owner: Api) -> str:
    return str(_published(owner, "Welcome")["key"])


def _version(owner: Api) -> str:
    """Number of a version that only a team has which was asked for one."""
    _template(owner)
    return str(_published(owner, "Welcome again", **{"If-Match": "*"})["number"])


def _topic(owner: Api) -> str:
    wish = {"name": "Orders", "template": _template(owner)}
    return str(_made(owner.put("/v1/topics/orders", wish))["key"])


def _member(owner: Api) -> str:
    _person(owner)
    path = f"/v1/topics/{_topic(owner)}/members"
    return str(_made(owner.post(path, {"recipient": "ada"}))["recipient"])


def _rule(owner: Api) -> str:
    wish = {"field": "plan", "value": "silver", "joins": BOTH}
    return str(_made(owner.post(f"/v1/topics/{_topic(owner)}/rules", wish))["id"])


def _event(owner: Api) -> str:
    _member(owner)
    wish = {"topic": "orders", "key": "order-A-17", "data": {}}
    return str(_made(owner.post("/v1/events", wish, key=None))["id"])


def _campaign(owner: Api) -> str:
    wish = {"name": "May", "topic": "newsletter", "template": _template(owner)}
    return str(_made(owner.post("/v1/campaigns", wish))["id"])


def _import(owner: Api) -> str:
    """Id of a job that has ended and rejected a row."""
    wish = {"csv": "email\nbob@example.org\nnobody\n"}
    made = _made(owner.post("/v1/recipients/imports", wish))
    run_next(owner.engine)
    return str(made["id"])


def _suppression(owner: Api) -> str:
    return str(_made(owner.post("/v1/suppressions", {"address": "ada@example.org"}))["id"])


def _hold(owner: Api) -> str:
    wish = {"scope": "topic", "key": BOTH, "reason": "wrong link"}
    return str(_made(owner.post("/v1/holds", wish))["id"])


def _webhook(owner: Api) -> str:
    return str(_made(owner.post("/v1/webhooks", {"url": "https://hooks.example.com/x"}))["id"])


EXAMPLES: dict[str, Callable[[Api], str]] = {
    "messages/{id}": lambda owner: str(_sent(owner)["messages"][0]),
    "sends/{id}": lambda owner: str(_sent(owner)["id"]),
    "api-keys/{id}": lambda owner: public_id(KEY_PREFIX, owner.key.line.id),
    "recipients/{id}": lambda owner: str(_person(owner)["id"]),
    "contact-points/{contact_point}": lambda owner: str(_person(owner)["contact_points"][0]["id"]),
    "imports/{id}": _import,
    "templates/{template}": _template,
    "versions/{number}": _version,
    "topics/{key}": _topic,
    "members/{id}": _member,
    "rules/{id}": _rule,
    "events/{id}": _event,
    "campaigns/{id}": _campaign,
    "suppressions/{id}": _suppression,
    "accounts/{key}": lambda owner: "simulator",
    "holds/{id}": _hold,
    "webhooks/{id}": _webhook,
}
"""By the two parts of the path that say what kind it is: makes one of the team, and says its id."""

BODIES: dict[tuple[str, str], dict[str, Any]] = {
    ("post", "/v1/recipients/{id}/merge"): {"into": BOTH},
    ("post", "/v1/recipients/{id}/contact-points"): {
        "channel": "email",
        "address": "other@example.org",
    },
    ("put", "/v1/recipients/{id}/contact-points"): {
        "channel": "email",
        "address": "other@example.org",
    },
    ("patch", "/v1/recipients/{id}/contact-points/{contact_point}"): {"state": "verified"},
    ("post", "/v1/recipients/{id}/push-tokens/renew"): {"old": TOKEN, "new": "another"},
    ("post", "/v1/recipients/{id}/subscriptions"): {"topic": BOTH},
    ("post", "/v1/recipients/{id}/subscriptions/leave"): {"topic": BOTH},
    ("put", "/v1/topics/{key}"): {"name": "Ours"},
    ("post", "/v1/topics/{key}/members"): {"recipient": BOTH},
    ("post", "/v1/topics/{key}/members/link"): {"recipient": BOTH},
    ("patch", "/v1/topics/{key}/members/{id}"): {"cadence": "daily"},
    ("post", "/v1/topics/{key}/rules"): {"field": "plan", "value": "gold", "joins": BOTH},
}
"""By (method, path): a body that names nothing but what both teams have, so that the path decides."""

DOCUMENT = orjson.loads(document())
OPERATIONS = [
    (method, path, operation)
    for path, methods in DOCUMENT["paths"].items()
    for method, operation in methods.items()
    if "{" in path
]
MAKES_ITS_OWN = frozenset({("put", "/v1/topics/{key}")})
"""(method, path) of what makes a thing of the caller's team under a name that both teams may use."""


def kinds_in(path: str) -> list[str]:
    return re.findall(r"[^/]+/\{[^}]+\}", path)


def address_of(path: str, owners: list[Api]) -> str:
    """The path with an example in each place, of the team that is named for that place."""
    address = path
    for kind, owner in zip(kinds_in(path), owners, strict=True):
        assert kind in EXAMPLES, f"give EXAMPLES one of another team for {kind}"
        address = address.replace(kind.partition("/")[2], EXAMPLES[kind](owner), 1)
    return address


@pytest.fixture
def api_settings() -> Settings:
    """Webhooks can be signed."""
    return load(_env_file=None, webhook_secret=SecretStr("secret"))


@pytest.fixture
def other(shop: Api, make_api: MakeApi) -> Api:
    """A caller of another team than the shop's; both have a person and a topic named BOTH."""
    other = make_api(team="other")
    for team in (shop, other):
        _made(team.put(f"/v1/topics/{BOTH}", {"name": "Both"}))
        _made(team.post("/v1/recipients", {"external_id": BOTH, "email": "both@example.org"}))
    return other


def ask(caller: Api, method: str, path: str, operation: dict[str, Any], address: str) -> Response:
    """The answer to the operation at this address."""
    kind_of_body, body = a_body(operation)
    if (method, path) in BODIES:
        body = orjson.dumps(BODIES[method, path])
    headers = {**caller.headers, "Idempotency-Key": "of-this-request", **kind_of_body}
    answer: Response = caller.http.request(method.upper(), address, headers=headers, content=body)
    return answer


def is_not_there(answer: Response) -> bool:
    return (
        answer.status_code == 404 and answer.headers["content-type"] == "application/problem+json"
    )


@pytest.mark.parametrize(
    ("method", "path", "operation"),
    OPERATIONS,
    ids=[f"{method} {path}" for method, path, _ in OPERATIONS],
)
def test_threat_33_an_id_of_another_team_is_not_found(
    shop: Api, other: Api, method: str, path: str, operation: dict[str, Any]
) -> None:
    address = address_of(path, [shop] * len(kinds_in(path)))
    before = rows_but_of(shop.engine, other.team)

    answer = ask(other, method, path, operation, address)

    if (method, path) in MAKES_ITS_OWN:
        assert answer.status_code == 201, answer.text
    else:
        assert is_not_there(answer), answer.text
    assert rows_but_of(shop.engine, other.team) == before
    of_its_team = ask(shop, method, path, operation, address)
    assert of_its_team.status_code != 404, f"no example: {of_its_team.text}"


NESTED = [each for each in OPERATIONS if len(kinds_in(each[1])) > 1]


@pytest.mark.parametrize(
    ("method", "path", "operation"), NESTED, ids=[f"{method} {path}" for method, path, _ in NESTED]
)
def test_threat_33_an_id_of_another_team_is_not_found_below_an_own_one(
    shop: Api, other: Api, method: str, path: str, operation: dict[str, Any]
) -> None:
    parents = len(kinds_in(path)) - 1
    address = address_of(path, [other] * parents + [shop])
    before = rows_but_of(shop.engine, other.team)

    answer = ask(other, method, path, operation, address)

    assert is_not_there(answer), answer.text
    assert rows_but_of(shop.engine, other.team) == before


def rows_but_of(engine: Engine, team: int) -> dict[str, str]:
    """By table, all that is in the database, without the rows that say they are the team's."""
    with engine.connect() as connection:
        return {
            table: _rows(connection, table, "team_id <> :team" if has_team else "true", team)
            for table, has_team in connection.execute(text(_TABLES))
        }


_TABLES = """
    SELECT c.relname, EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid
        AND a.attname = 'team_id')
    FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p')
    AND NOT c.relispartition
"""


def _rows(connection: Connection, table: str, condition: str, team: int) -> str:
    sql = f"SELECT string_agg(t::text, ' ' ORDER BY t::text) FROM {table} t WHERE {condition}"
    return str(connection.execute(text(sql), {"team": team}).scalar())


def a_body(operation: dict[str, Any]) -> tuple[dict[str, str], bytes]:
    """Headers and content of the least body that the operation takes; a CSV where it takes that."""
    content = operation.get("requestBody", {}).get("content", {})
    if not content:
        return {}, b""
    kind = next(iter(content))
    body = b"external_id\nx\n"
    if kind == "application/json":
        body = orjson.dumps(least(content[kind]["schema"]))
    return {"Content-Type": kind}, body


def least(schema: dict[str, Any]) -> Any:
    """A small value that the schema allows: its example, its default, or its required parts."""
    if "$ref" in schema:
        return least(DOCUMENT["components"]["schemas"][schema["$ref"].rpartition("/")[2]])
    for word in ("example", "const", "default"):
        if word in schema:
            return schema[word]
    if schema.get("examples"):
        return schema["examples"][0]
    if "enum" in schema:
        return schema["enum"][0]
    for word in ("anyOf", "oneOf", "allOf"):
        if word in schema:
            return least(schema[word][0])
    return _of_type(schema)


def _of_type(schema: dict[str, Any]) -> Any:
    kind = schema.get("type")
    if kind == "object":
        parts = schema.get("properties", {})
        return {name: least(parts[name]) for name in schema.get("required", [])}
    if kind == "array":
        return [least(schema["items"])] * schema.get("minItems", 0)
    if kind == "string":
        if schema.get("format") == "date-time":
            return "2030-01-01T00:00:00Z"
        return "x" * max(1, schema.get("minLength", 1))
    if kind in ("integer", "number"):
        return max(schema.get("minimum", 1), schema.get("exclusiveMinimum", 0) + 1)
    return True

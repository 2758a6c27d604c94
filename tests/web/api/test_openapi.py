"""The OpenAPI document is checked in, says what the application does, and is served for people, too."""

from __future__ import annotations

import orjson

from tests.web.api.conftest import Api
from web.api.openapi import CHECKED_IN, document

OPERATIONS = [
    (method, path, operation)
    for path, methods in orjson.loads(document())["paths"].items()
    for method, operation in methods.items()
]


def test_the_document_is_the_one_that_is_checked_in() -> None:
    assert CHECKED_IN.read_text(encoding="utf-8") == document(), "run: python -m web.api.openapi"


def test_it_is_served_as_openapi_3_1(api: Api) -> None:
    served = api.http.get("/v1/openapi.json")

    assert served.status_code == 200
    assert served.json() == orjson.loads(document())
    assert served.json()["openapi"].startswith("3.1")


def test_every_operation_needs_a_key_and_says_its_problems() -> None:
    for method, path, operation in OPERATIONS:
        assert operation["security"] == [{"apiKey": []}], (method, path)
        assert "application/problem+json" in operation["responses"]["default"]["content"]
        assert "422" not in operation["responses"], (method, path)
        assert operation["description"], (method, path)


def test_operations_have_names_of_their_own() -> None:
    names = [operation["operationId"] for _, _, operation in OPERATIONS]

    assert len(set(names)) == len(names)


def test_without_a_key_every_operation_is_closed(api: Api) -> None:
    for method, path, operation in OPERATIONS:
        body: dict[str, str] | None = {} if "requestBody" in operation else None
        headers = {"Idempotency-Key": "k"}
        address = path.replace("{id}", "x")
        answer = api.http.request(method, address, headers=headers, json=body)

        assert answer.status_code == 401, (method, path)


def test_people_read_it_without_scripts(api: Api) -> None:
    page = api.http.get("/v1/docs")

    assert page.status_code == 200
    assert "POST /v1/messages" in page.text
    assert "<script" not in page.text
    assert "default-src 'none'" in page.headers["content-security-policy"]

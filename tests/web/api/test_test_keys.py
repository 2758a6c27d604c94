"""What a test key may do: read, and whatever ends in a log. The routes come from the OpenAPI document.

A route that changes something is refused to test keys, or stands in OPEN: one that is added decides.
"""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import SecretStr

from settings import Settings, load
from tests.web.api.conftest import ORDER, Api, MakeApi
from tests.web.api.test_other_teams import BOTH, DOCUMENT, address_of, ask, kinds_in, rows_but_of

OPEN = frozenset(
    {
        # These end in a log.
        ("post", "/v1/messages"),
        ("post", "/v1/messages/bulk"),
        ("post", "/api/v1/send_notification"),
        ("post", "/v1/events"),
        ("post", "/v1/campaigns"),
        # By the key of a send; one of a live key is refused (below).
        ("post", "/v1/messages/cancel"),
        # This stores nothing.
        ("post", "/v1/templates/{template}/render"),
        # People are the same for both kinds of key.
        ("post", "/v1/recipients"),
        ("post", "/v1/recipients/bulk"),
        ("post", "/v1/recipients/imports"),
        ("post", "/v1/recipients/{id}/contact-points"),
        ("put", "/v1/recipients/{id}/contact-points"),
        ("patch", "/v1/recipients/{id}/contact-points/{contact_point}"),
        ("delete", "/v1/recipients/{id}/contact-points/{contact_point}"),
        ("post", "/v1/recipients/{id}/push-tokens"),
        ("post", "/v1/recipients/{id}/push-tokens/renew"),
        ("post", "/v1/recipients/{id}/subscriptions"),
        ("post", "/v1/recipients/{id}/subscriptions/leave"),
        ("post", "/v1/topics/{key}/members"),
        ("post", "/v1/topics/{key}/members/link"),
        ("patch", "/v1/topics/{key}/members/{id}"),
        ("delete", "/v1/topics/{key}/members/{id}"),
    }
)
"""(method, path) of what changes something, and a test key may."""

CLOSED = frozenset({("get", "/v1/webhooks/{id}/secret")})
"""What changes nothing, and is not for a test key to read: with it events could be forged."""

OPERATIONS = [
    (method, path, operation)
    for path, methods in DOCUMENT["paths"].items()
    for method, operation in methods.items()
]
TEST_KEY = "urn:carillon:problem:test-key"
NO_TEAM = -1


@pytest.fixture
def api_settings() -> Settings:
    return load(_env_file=None, webhook_secret=SecretStr("secret"))


@pytest.fixture
def tester(shop: Api, make_api: MakeApi) -> Api:
    """A test key with every scope, in a team that has what bodies may name."""
    shop.put(f"/v1/topics/{BOTH}", {"name": "Both"})
    shop.post("/v1/recipients", {"external_id": BOTH, "email": "both@example.org"})
    return make_api(is_test=True)


@pytest.mark.parametrize(
    ("method", "path", "operation"),
    OPERATIONS,
    ids=[f"{method} {path}" for method, path, _ in OPERATIONS],
)
def test_a_test_key_reads_and_changes_nothing_that_real_sending_depends_on(
    shop: Api, tester: Api, method: str, path: str, operation: dict[str, Any]
) -> None:
    address = address_of(path, [shop] * len(kinds_in(path)))
    before = rows(shop)

    answer = ask(tester, method, path, operation, address)

    if (method == "get" and (method, path) not in CLOSED) or (method, path) in OPEN:
        assert answer.status_code not in (401, 403), answer.text
    else:
        assert (answer.status_code, answer.json().get("type")) == (403, TEST_KEY), answer.text
        assert "live key" in answer.json()["detail"]
        assert rows(shop) == before


def rows(caller: Api) -> dict[str, str]:
    """All that is in the database; but for the keys, of which the last use is written."""
    found = rows_but_of(caller.engine, NO_TEAM)
    return {table: said for table, said in found.items() if table != "api_key"}


def test_a_test_key_cancels_what_test_keys_sent_and_nothing_else(shop: Api, tester: Api) -> None:
    for caller, owner, status in ((tester, tester, 200), (tester, shop, 403), (shop, tester, 200)):
        for_message, for_send, for_key = (
            owner.post("/v1/messages", ORDER, key=f"{owner.key.line.id}-{status}-{n}").json()
            for n in range(3)
        )
        answers = [
            caller.post(f"/v1/messages/{for_message['messages'][0]}/cancel", key=None),
            caller.post(f"/v1/sends/{for_send['id']}/cancel", key=None),
            caller.post(
                "/v1/messages/cancel",
                {"idempotency_key": f"{owner.key.line.id}-{status}-2"},
                key=None,
            ),
        ]
        assert [answer.status_code for answer in answers] == [status] * 3, for_key

"""/v1/events: one effect a topic and key, everybody told by their cadence, tests told to nobody."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from domain.digest import Cadence
from tests.builders import scalar
from tests.topics import NEWS, a_topic, join, members
from tests.web.api.conftest import Api, MakeApi

EVENT: dict[str, Any] = {"topic": "orders", "key": "order-A-17", "data": NEWS}


@pytest.fixture
def orders(api: Api) -> Api:
    """A caller, and a topic `orders` with four members who are told at once."""
    members(api.engine, 4, a_topic(api.engine))
    return api


def digested(api: Api, key: str, cadence: Cadence) -> None:
    """A topic that all four take as a digest."""
    topic = a_topic(api.engine, key)
    with api.engine.begin() as connection:
        join(connection, (topic,), cadence)


def counts(api: Api) -> tuple[int, ...]:
    tables = ("topic_event", "send", "message", "outbox", "digest_item")
    return tuple(scalar(api.engine, f"SELECT count(*) FROM {table}") for table in tables)


def test_an_event_tells_everybody_and_can_be_read(orders: Api) -> None:
    raised = orders.post("/v1/events", EVENT, key=None)
    found = orders.get(f"/v1/events/{raised.json()['id']}")

    assert raised.status_code == 202
    assert raised.json()["messages"] == 4
    assert raised.json()["send"].startswith("snd_")
    assert found.json() == raised.json() | {
        "data": NEWS,
        "created_at": found.json()["created_at"],
    }
    assert counts(orders) == (1, 1, 4, 4, 0)
    assert orders.get(f"/v1/messages?send={raised.json()['send']}").json()["data"][0]["test"] is (
        False
    )


def test_who_takes_it_as_a_digest_is_counted_apart(orders: Api) -> None:
    digested(orders, "stock", Cadence.WEEKLY)

    raised = orders.post("/v1/events", EVENT | {"topic": "stock"}, key=None).json()

    assert (raised["messages"], raised["send"]) == (0, None)
    assert raised["digest_items"] == counts(orders)[4] == 4


def test_the_key_may_stand_in_the_header_and_two_must_be_equal(orders: Api) -> None:
    keyless = {"topic": "orders", "data": NEWS}

    first = orders.post("/v1/events", keyless, key="order-A-17")
    again = orders.post("/v1/events", EVENT, key="order-A-17")
    differs = orders.post("/v1/events", EVENT, key="another")
    none = orders.post("/v1/events", keyless, key=None)

    assert [a.status_code for a in (first, again, differs, none)] == [202, 202, 422, 400]
    assert again.content == first.content
    assert "idempotency-replayed" not in first.headers
    assert again.headers["idempotency-replayed"] == "true"
    assert differs.json()["errors"][0]["pointer"] == "/key"


def test_fifty_at_once_are_one_event_and_have_one_answer(orders: Api) -> None:
    with ThreadPoolExecutor(50) as pool:
        asked = list(pool.map(lambda _: orders.post("/v1/events", EVENT, key=None), range(50)))

    assert {answer.status_code for answer in asked} == {202}
    assert len({answer.content for answer in asked}) == 1
    assert counts(orders) == (1, 1, 4, 4, 0)


def test_the_same_key_with_other_data_is_refused(orders: Api) -> None:
    orders.post("/v1/events", EVENT, key=None)

    answer = orders.post("/v1/events", EVENT | {"data": {"title": "Another"}}, key=None)

    assert answer.status_code == 422
    assert answer.json()["type"] == "urn:carillon:problem:idempotency-key-reused"


@pytest.mark.parametrize(
    ("wrong", "pointer"),
    [
        ({"topic": "nothing"}, "/topic"),
        ({"data": {}}, None),
        ({"data": {**NEWS, "member": {}}}, None),
        ({"data": []}, "/data"),
        ({"key": ""}, "/key"),
        ({"key": "k\n"}, "/key"),
        ({"to": "person-1"}, "/to"),
    ],
)
def test_what_cannot_be_taken_is_a_problem_and_writes_nothing(
    orders: Api, wrong: dict[str, Any], pointer: str | None
) -> None:
    answer = orders.post("/v1/events", EVENT | wrong, key=None)

    assert answer.status_code == 422
    assert [error["pointer"] for error in answer.json().get("errors", [])] == (
        [pointer] if pointer else []
    )
    assert counts(orders) == (0, 0, 0, 0, 0)


def test_a_test_keys_event_ends_in_logs_and_is_in_no_digest(orders: Api, make_api: MakeApi) -> None:
    digested(orders, "stock", Cadence.DAILY)
    tester = make_api(is_test=True)

    raised = tester.post("/v1/events", EVENT, key=None).json()
    counted = tester.post("/v1/events", EVENT | {"topic": "stock"}, key=None).json()
    live = orders.post("/v1/events", EVENT, key=None)

    assert (raised["messages"], counted["digest_items"]) == (4, 4)
    assert scalar(orders.engine, "SELECT bool_and(is_test) FROM send") is True
    assert counts(orders)[4] == 0
    assert live.status_code == 422  # it is another event, and the key is taken


def test_events_are_their_teams_and_need_their_scope(orders: Api, make_api: MakeApi) -> None:
    raised = orders.post("/v1/events", EVENT, key=None).json()
    other = make_api(team="other")

    assert other.get(f"/v1/events/{raised['id']}").status_code == 404
    assert other.post("/v1/events", EVENT, key=None).json()["errors"][0]["pointer"] == "/topic"
    assert orders.get("/v1/events/evt_x").status_code == 404
    assert make_api(["events:read"]).post("/v1/events", EVENT).status_code == 403
    assert make_api(["events:write"]).get(f"/v1/events/{raised['id']}").status_code == 403

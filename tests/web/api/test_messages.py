"""Messages over HTTP: committed when answered, once a key, seen, cancelled."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.builders import scalar, scalars
from tests.web.api.conftest import ORDER, Api, MakeApi


def test_a_message_is_committed_when_it_is_answered(shop: Api) -> None:
    answer = shop.post("/v1/messages", ORDER)

    assert answer.status_code == 202, answer.text
    assert answer.json()["id"].startswith("snd_")
    assert len(answer.json()["messages"]) == 1
    assert scalar(shop.engine, "SELECT count(*) FROM outbox") == 1


def test_the_old_verb_takes_the_same_body(shop: Api) -> None:
    answer = shop.post("/api/v1/send_notification", ORDER)

    assert answer.status_code == 202
    assert scalar(shop.engine, "SELECT count(*) FROM outbox") == 1


def test_the_key_may_stand_in_the_body_but_must_stand_somewhere(shop: Api) -> None:
    missing = shop.post("/v1/messages", ORDER, key=None)
    in_body = shop.post("/v1/messages", ORDER | {"idempotency_key": "k"}, key=None)
    differing = shop.post("/v1/messages", ORDER | {"idempotency_key": "k"}, key="other")

    assert (missing.status_code, in_body.status_code, differing.status_code) == (400, 202, 422)
    assert missing.json()["type"] == "urn:carillon:problem:idempotency-key-missing"
    assert scalars(shop.engine, "SELECT idempotency_key FROM send") == ["k"]


def test_the_same_key_again_is_answered_again_and_says_so(shop: Api) -> None:
    first = shop.post("/v1/messages", ORDER, key="k")
    again = shop.post("/v1/messages", ORDER, key="k")

    assert (again.status_code, again.json()) == (first.status_code, first.json())
    assert "idempotency-replayed" not in first.headers
    assert again.headers["idempotency-replayed"] == "true"
    assert scalar(shop.engine, "SELECT count(*) FROM message") == 1


def test_the_same_key_with_another_body_is_refused(shop: Api) -> None:
    shop.post("/v1/messages", ORDER, key="k")

    answer = shop.post("/v1/messages", ORDER | {"to": "person-2"}, key="k")

    assert answer.status_code == 422
    assert answer.json()["type"] == "urn:carillon:problem:idempotency-key-reused"


def test_threat_38_fifty_at_once_with_one_key_have_one_effect(shop: Api) -> None:
    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(lambda _: shop.post("/v1/messages", ORDER, key="k"), range(50)))

    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert scalar(shop.engine, "SELECT count(*) FROM message") == 1


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"template": "no-such"}, "/template"),
        ({"to": "nobody"}, "/to"),
        ({"to": []}, "/to"),
        ({"variables": {}}, "/variables"),
        ({"topic": "no-such"}, "/topic"),
        ({"plan": "pigeon"}, "/plan"),
        ({"at": "2030-01-01T00:00:00"}, "/at"),
        ({"expires_after": 0}, "/expires_after"),
        ({"colour": "red"}, "/colour"),
        ({"variables": "x"}, "/variables"),
    ],
)
def test_what_is_wrong_is_pointed_at_and_writes_nothing(
    shop: Api, change: dict[str, Any], pointer: str
) -> None:
    answer = shop.post("/v1/messages", ORDER | change)

    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    pointers = [error["pointer"] for error in answer.json()["errors"]]
    assert any(found == pointer or found.startswith(pointer + "/") for found in pointers), pointers
    assert scalar(shop.engine, "SELECT count(*) FROM send") == 0


def test_a_dry_run_checks_everything_and_writes_nothing(shop: Api) -> None:
    good = shop.post("/v1/messages", ORDER | {"dry_run": True, "to": "new@example.org"}, key=None)
    bad = shop.post("/v1/messages", ORDER | {"dry_run": True, "to": "nobody"}, key=None)

    assert (good.status_code, bad.status_code) == (200, 422)
    assert good.json()["channels"] == ["email"]
    assert scalar(shop.engine, "SELECT count(*) FROM send") == 0
    assert scalar(shop.engine, "SELECT count(*) FROM recipient") == 10


def test_a_bulk_is_answered_item_by_item_and_is_one_effect(shop: Api) -> None:
    items = [
        ORDER,
        ORDER | {"to": "nobody"},
        ORDER | {"to": "new@example.org"},
        ORDER | {"plan": "pigeon"},
        ORDER | {"to": ["also@example.org", "nobody"]},
    ]

    answer = shop.post("/v1/messages/bulk", {"messages": items}, key="b")
    again = shop.post("/v1/messages/bulk", {"messages": items}, key="b")
    other = shop.post("/v1/messages/bulk", {"messages": items[:2]}, key="b")

    assert answer.status_code == 202, answer.text
    assert [item["status"] for item in answer.json()["items"]] == [202, 422, 202, 422, 422]
    assert (answer.json()["accepted"], answer.json()["refused"]) == (2, 3)
    assert answer.json()["items"][1]["problem"]["errors"][0]["pointer"] == "/to"
    assert again.json() == answer.json()
    assert again.headers["idempotency-replayed"] == "true"
    assert other.status_code == 422
    assert scalar(shop.engine, "SELECT count(*) FROM send") == 2
    # What a refused item had made is gone: ten customers and one new address.
    assert scalar(shop.engine, "SELECT count(*) FROM recipient") == 11


def test_a_thousand_go_in_one_bulk_and_one_more_does_not(shop: Api) -> None:
    many = [ORDER | {"to": f"person-{n % 10 + 1}"} for n in range(1000)]

    taken = shop.post("/v1/messages/bulk", {"messages": many})
    too_many = shop.post("/v1/messages/bulk", {"messages": [*many, ORDER]})

    assert taken.json()["accepted"] == 1000
    assert too_many.status_code == 422
    assert too_many.json()["errors"][0]["pointer"] == "/messages"
    assert scalar(shop.engine, "SELECT count(*) FROM outbox") == 1000


def test_messages_are_listed_by_pages_newest_first(shop: Api) -> None:
    for n in range(1, 6):
        shop.post("/v1/messages", ORDER | {"to": [f"person-{n}", f"person-{n + 1}"]})

    seen: list[str] = []
    path = "/v1/messages?limit=3"
    while path:
        page = shop.get(path).json()
        seen += [line["id"] for line in page["data"]]
        assert page["has_more"] == (page["next"] is not None)
        path = f"/v1/messages?limit=3&cursor={page['next']}" if page["has_more"] else ""

    assert len(set(seen)) == len(seen) == 10
    assert seen == sorted(seen, reverse=True)


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("recipient=person-2", 1),
        ("recipient=nobody", 0),
        ("recipient=' OR 1=1 --", 0),
        ("template=order-shipped", 3),
        ("template=no-such", 0),
        ("outcome=owed", 3),
        ("outcome=accepted", 0),
        ("idempotency_key=k-1", 1),
        ("since=2020-01-01T00:00:00Z", 3),
        ("until=2020-01-01T00:00:00Z", 0),
        ("topic=newsletter", 0),
    ],
)
def test_lists_are_filtered(shop: Api, query: str, count: int) -> None:
    for n in range(1, 4):
        shop.post("/v1/messages", ORDER | {"to": f"person-{n}"}, key=f"k-{n}")

    answer = shop.get(f"/v1/messages?{query}")

    assert answer.status_code == 200, answer.text
    assert len(answer.json()["data"]) == count


def test_a_message_has_its_trace_and_its_send_its_counts(shop: Api) -> None:
    sent = shop.post("/v1/messages", ORDER, key="k").json()

    message = shop.get(f"/v1/messages/{sent['messages'][0]}").json()
    send = shop.get(f"/v1/sends/{sent['id']}").json()
    listed = shop.get(f"/v1/messages?send={sent['id']}").json()["data"]

    assert message["trace"][0]["what"] == "requested"
    assert message["idempotency_key"] == "k"
    assert message["deliveries"] == []
    assert message["now"]["state"] == "owed"
    assert (send["state"], send["counts"]) == ("running", {"owed": 1})
    assert [line["id"] for line in listed] == sent["messages"]


def test_a_message_is_cancelled_by_its_id_its_send_or_its_key(shop: Api) -> None:
    one, two, three = (shop.post("/v1/messages", ORDER, key=f"k-{n}").json() for n in range(3))

    answers = [
        shop.post(f"/v1/messages/{one['messages'][0]}/cancel"),
        shop.post(f"/v1/sends/{two['id']}/cancel"),
        shop.post("/v1/messages/cancel", {"idempotency_key": "k-2"}),
        shop.post(f"/v1/messages/{one['messages'][0]}/cancel"),
    ]

    assert [answer.status_code for answer in answers] == [200, 200, 200, 200]
    assert answers[2].json() == {"id": three["id"], "state": "cancelled"}
    assert set(scalars(shop.engine, "SELECT state FROM send")) == {"cancelled"}


def test_one_of_many_messages_cannot_be_cancelled_alone(shop: Api) -> None:
    sent = shop.post("/v1/messages", ORDER | {"to": ["person-1", "person-2"]}).json()

    answer = shop.post(f"/v1/messages/{sent['messages'][0]}/cancel")

    assert answer.status_code == 409
    assert scalar(shop.engine, "SELECT state FROM send") == "running"


def test_threat_33_what_belongs_to_another_team_is_not_found(shop: Api, make_api: MakeApi) -> None:
    sent = shop.post("/v1/messages", ORDER, key="k").json()
    other = make_api(team="other")

    answers = [
        other.get(f"/v1/messages/{sent['messages'][0]}"),
        other.get(f"/v1/sends/{sent['id']}"),
        other.post(f"/v1/messages/{sent['messages'][0]}/cancel"),
        other.post(f"/v1/sends/{sent['id']}/cancel"),
        other.post("/v1/messages/cancel", {"idempotency_key": "k"}),
        other.get(f"/v1/api-keys/key_{1:013d}"),
    ]

    assert {answer.status_code for answer in answers} == {404}
    assert other.get("/v1/messages").json()["data"] == []
    assert other.get(f"/v1/messages?send={sent['id']}").json()["data"] == []
    assert other.post("/v1/messages", ORDER).status_code == 422
    assert scalar(shop.engine, "SELECT state FROM send") == "running"

"""/v1/topics: made by one call; members join, change and leave; rules; digests' periods."""

from __future__ import annotations

from typing import Any

import pytest

from domain.digest import Cadence
from domain.send import OptIn
from starter.digests import write_open
from tests.builders import scalar
from tests.topics import NEWS, a_topic, members
from tests.web.api.conftest import Api, MakeApi

TOPIC: dict[str, Any] = {"name": "New orders", "template": "order-shipped"}


def put_topic(api: Api, key: str = "orders", **body: Any) -> Any:
    return api.put(f"/v1/topics/{key}", TOPIC | body)


def states(answer: Any) -> dict[str, tuple[str, str]]:
    return {
        one["channel"]: (one["state"], one["cadence"]) for one in answer.json()["subscriptions"]
    }


def test_one_call_makes_a_topic_and_the_same_changes_it(shop: Api) -> None:
    made = put_topic(shop, plan="in_app:read/1h,email", cadence="daily", form=True, over_cap="skip")
    again = put_topic(shop, name="All orders")
    shown = shop.get("/v1/topics/orders")

    assert (made.status_code, again.status_code) == (201, 200)
    assert made.json() == {
        "key": "orders",
        "name": "New orders",
        "template": "order-shipped",
        "message_class": "transactional",
        "plan": [
            {"channel": "in_app", "wait_for": "read", "within": 3600.0},
            {"channel": "email"},
        ],
        "cadence": "daily",
        "opt_in": "explicit",
        "over_cap": "skip",
        "form_url": "http://127.0.0.1:8600/join/orders",
    }
    assert again.json() == shown.json()
    assert (shown.json()["name"], shown.json()["plan"]) == ("All orders", [])
    assert (shown.json()["form_url"], shown.json()["over_cap"]) == (None, "skip")


@pytest.mark.parametrize(
    ("key", "wrong", "pointer"),
    [
        ("Orders!", {}, None),
        ("digests", {}, None),
        ("orders", {"name": " "}, None),
        ("orders", {"template": "nothing"}, "/template"),
        ("orders", {"plan": "pigeon"}, "/plan"),
        ("orders", {"plan": "push"}, None),
        ("orders", {"cadence": "hourly"}, "/cadence"),
        ("orders", {"members": []}, "/members"),
    ],
)
def test_a_topic_that_cannot_be_is_refused(
    shop: Api, key: str, wrong: dict[str, Any], pointer: str | None
) -> None:
    answer = put_topic(shop, key, **wrong)

    assert answer.status_code == 422
    assert [error["pointer"] for error in answer.json().get("errors", [])] == (
        [pointer] if pointer else []
    )
    assert scalar(shop.engine, "SELECT count(*) FROM topic WHERE key <> 'newsletter'") == 0


def test_topics_are_listed_by_pages(shop: Api) -> None:
    for key in ("c", "a", "b"):
        put_topic(shop, key)

    first = shop.get("/v1/topics?limit=3").json()
    rest = shop.get(f"/v1/topics?limit=3&cursor={first['next']}").json()

    assert [topic["key"] for topic in (*first["data"], *rest["data"])] == [
        "newsletter",
        "c",
        "a",
        "b",
    ]
    assert (first["has_more"], rest["has_more"]) == (True, False)


def test_joining_is_one_call_that_can_be_repeated(shop: Api) -> None:
    put_topic(shop)
    body = {"recipient": "person-1", "cadence": "daily", "data": {"desk": "north"}}

    joined = shop.post("/v1/topics/orders/members", body, key="j")
    again = shop.post("/v1/topics/orders/members", body, key="j")
    new = shop.post("/v1/topics/orders/members", {"recipient": "new@example.org"})
    text_too = shop.post("/v1/topics/orders/members", {"recipient": "person-1", "channel": "sms"})

    assert joined.status_code == new.status_code == 201
    assert again.content == joined.content
    assert joined.json()["external_id"] == "person-1"
    assert joined.json()["subscriptions"][0]["data"] == {"desk": "north"}
    assert joined.json()["subscriptions"][0]["source"] == f"api key {shop.key.line.id}"
    assert new.json()["external_id"] is None
    assert states(text_too) == {
        "email": ("subscribed", "daily"),
        "sms": ("subscribed", "immediate"),
    }
    assert shop.post("/v1/topics/orders/members", body, key=None).status_code == 400


@pytest.mark.parametrize("is_test", [False, True])
def test_who_must_confirm_is_pending_and_gets_one_mail(
    shop: Api, make_api: MakeApi, is_test: bool
) -> None:
    put_topic(shop, opt_in="double")
    _with_sender(shop)
    caller = make_api(is_test=is_test)

    for _ in range(2):
        joined = caller.post("/v1/topics/orders/members", {"recipient": "ada@example.org"}, key="j")

    assert states(joined) == {"email": ("pending", "immediate")}
    assert scalar(shop.engine, "SELECT count(*) FROM outbox") == 1
    assert scalar(shop.engine, "SELECT is_test FROM send") is is_test


def _with_sender(api: Api) -> None:
    """A mail to confirm of the team's own, which names its sender."""
    from tests.requests import a_template

    said = {"subject": "Confirm", "html": "<p>{{ topic_name }} {{ confirm_url }}</p>", "text": ""}
    with api.engine.begin() as connection:
        a_template(connection, "confirm-joining", content={"email": {"": said}})


def test_a_link_joins_whom_it_was_made_for(shop: Api) -> None:
    put_topic(shop, opt_in="double")
    wish = {"recipient": "person-1"}

    made = shop.post("/v1/topics/orders/members/link", wish, key=None).json()["url"]
    again = shop.post("/v1/topics/orders/members/link", wish, key=None).json()["url"]
    before = shop.get("/v1/topics/orders/members").json()["data"]
    pressed = shop.http.post("/j/" + made.rpartition("/")[2])

    assert made == again
    assert before == []
    assert pressed.status_code == 200
    assert states(shop.get("/v1/topics/orders/members/person-1")) == {
        "email": ("subscribed", "immediate")
    }


def test_a_member_changes_how_often_and_leaves(shop: Api) -> None:
    put_topic(shop)
    shop.post("/v1/topics/orders/members", {"recipient": "person-1", "data": {"desk": "north"}})
    one = "/v1/topics/orders/members/person-1"

    weekly = shop.patch(one, {"cadence": "weekly"})
    south = shop.patch(one, {"data": {"desk": "south"}})
    left, again = shop.delete(one), shop.delete(one)

    assert states(weekly) == states(south) == {"email": ("subscribed", "weekly")}
    assert south.json()["subscriptions"][0]["data"] == {"desk": "south"}
    assert (left.json(), again.json()) == ({"changed": True}, {"changed": False})
    assert states(shop.get(one)) == {"email": ("left", "weekly")}
    assert shop.patch(one, {"cadence": "daily"}).status_code == 404


def test_changing_does_not_confirm_who_is_pending(shop: Api) -> None:
    put_topic(shop, opt_in="double")
    _with_sender(shop)
    shop.post("/v1/topics/orders/members", {"recipient": "person-1"})
    put_topic(shop)

    changed = shop.patch("/v1/topics/orders/members/person-1", {"cadence": "daily"})

    assert states(changed) == {"email": ("pending", "daily")}


def test_members_are_listed_by_person(shop: Api) -> None:
    put_topic(shop)
    for number in (1, 2, 3):
        shop.post("/v1/topics/orders/members", {"recipient": f"person-{number}"})
    shop.post("/v1/topics/orders/members", {"recipient": "person-2", "channel": "sms"})

    first = shop.get("/v1/topics/orders/members?limit=2").json()
    rest = shop.get(f"/v1/topics/orders/members?limit=2&cursor={first['next']}").json()

    listed = [(m["external_id"], len(m["subscriptions"])) for m in (*first["data"], *rest["data"])]
    assert listed == [("person-1", 1), ("person-2", 2), ("person-3", 1)]
    assert not rest["has_more"]


@pytest.mark.parametrize(
    ("wrong", "status", "pointer"),
    [
        ({"recipient": "nobody"}, 422, "/recipient"),
        ({"recipient": "no@address@"}, 422, None),
        ({"channel": "sms", "cadence": "daily"}, 422, None),
        ({"data": {"long": "x" * 10_001}}, 422, None),
        ({"cadence": "hourly"}, 422, "/cadence"),
    ],
)
def test_who_cannot_join_like_this_is_refused(
    shop: Api, wrong: dict[str, Any], status: int, pointer: str | None
) -> None:
    put_topic(shop)

    answer = shop.post("/v1/topics/orders/members", {"recipient": "person-1"} | wrong)

    assert answer.status_code == status
    assert [error["pointer"] for error in answer.json().get("errors", [])] == (
        [pointer] if pointer else []
    )
    assert (
        scalar(
            shop.engine,
            "SELECT count(*) FROM subscription s JOIN topic t ON t.id = s.topic_id WHERE t.key = 'orders'",
        )
        == 0
    )


def test_rules_are_added_listed_and_removed(shop: Api) -> None:
    put_topic(shop)
    put_topic(shop, "vips")
    rules = "/v1/topics/orders/rules"
    rule = {"field": "plan", "value": "gold=1", "joins": "vips"}

    added = shop.post(rules, rule)
    same = shop.post(rules, rule)
    raised = shop.post(
        "/v1/events",
        {
            "topic": "orders",
            "key": "k",
            "data": {"order": "A-17", "plan": "gold=1", "recipient": "person-3"},
        },
        key=None,
    )
    listed = shop.get(rules).json()["data"]
    removed = shop.delete(f"{rules}/{added.json()['id']}")

    assert added.status_code == 201
    assert added.json() == same.json() == {**rule, "id": added.json()["id"]}
    assert raised.json()["joined"] == 1
    assert states(shop.get("/v1/topics/vips/members/person-3")) == {
        "email": ("subscribed", "immediate")
    }
    assert listed == [added.json()]
    assert removed.json() == {"id": added.json()["id"]}
    assert shop.get(rules).json()["data"] == []
    assert shop.delete(f"{rules}/{added.json()['id']}").status_code == 404


@pytest.mark.parametrize(
    ("wrong", "pointer"),
    [
        ({"joins": "nothing"}, "/joins"),
        ({"joins": "orders"}, None),
        ({"joins": "double"}, None),
        ({"field": "a b"}, "/field"),
        ({"value": ""}, "/value"),
    ],
)
def test_a_rule_that_cannot_be_is_refused(
    shop: Api, wrong: dict[str, Any], pointer: str | None
) -> None:
    put_topic(shop)
    put_topic(shop, "vips")
    put_topic(shop, "double", opt_in=OptIn.DOUBLE.value)

    rule = {"field": "plan", "value": "gold", "joins": "vips"} | wrong
    answer = shop.post("/v1/topics/orders/rules", rule)

    assert answer.status_code == 422
    assert [error["pointer"] for error in answer.json().get("errors", [])] == (
        [pointer] if pointer else []
    )
    assert scalar(shop.engine, "SELECT count(*) FROM topic_rule") == 0


def test_digests_are_listed_by_pages(api: Api) -> None:
    topic = a_topic(api.engine)
    members(api.engine, 2, topic, cadence=Cadence.DAILY)
    api.post("/v1/events", {"topic": "orders", "key": "1", "data": NEWS}, key=None)
    settings = api.settings.model_copy(update={"default_from": "Shop <shop@example.com>"})
    write_open(api.engine, settings, Cadence.DAILY, None)
    api.post("/v1/events", {"topic": "orders", "key": "2", "data": NEWS}, key=None)

    first = api.get("/v1/digests?limit=1").json()
    rest = api.get(f"/v1/digests?limit=1&cursor={first['next']}").json()

    (waiting,), (written,) = first["data"], rest["data"]
    assert (waiting["items"], waiting["messages"], waiting["send"]) == (2, 0, None)
    assert (written["items"], written["messages"]) == (0, 2)
    assert written["send"].startswith("snd_")
    assert written["written_at"] is not None
    assert written["ends_at"] < waiting["ends_at"]
    assert not rest["has_more"]


def test_topics_are_their_teams_and_need_their_scope(shop: Api, make_api: MakeApi) -> None:
    put_topic(shop)
    put_topic(shop, "vips")
    member = shop.post("/v1/topics/orders/members", {"recipient": "person-1"}).json()["recipient"]
    rule = shop.post(
        "/v1/topics/orders/rules", {"field": "plan", "value": "gold", "joins": "vips"}
    ).json()["id"]
    other, reader = make_api(team="other"), make_api(["topics:read"])
    orders = "/v1/topics/orders"

    for answer in (
        other.get(orders),
        other.get(f"{orders}/members"),
        other.get(f"{orders}/members/{member}"),
        other.patch(f"{orders}/members/{member}", {"cadence": "daily"}),
        other.delete(f"{orders}/members/{member}"),
        other.post(f"{orders}/members", {"recipient": "person-1"}),
        other.post(f"{orders}/members/link", {"recipient": "person-1"}),
        other.get(f"{orders}/rules"),
        other.post(f"{orders}/rules", {"field": "a", "value": "b", "joins": "vips"}),
        other.delete(f"{orders}/rules/{rule}"),
    ):
        assert answer.status_code == 404, answer.url
        assert answer.json()["type"] == "urn:carillon:problem:not-found"
    assert other.get("/v1/topics").json()["data"] == other.get("/v1/digests").json()["data"] == []
    assert reader.get(orders).status_code == 200
    assert put_topic(reader).status_code == 403
    other.put("/v1/topics/orders", {"name": "Theirs"})
    assert other.get(f"{orders}/members/{member}").status_code == 404
    assert other.delete(f"{orders}/rules/{rule}").status_code == 404

"""Recipients over HTTP: upserts one by one and in bulk, lists, addresses, consent, merge, erasure."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import Engine

from models.recipient_import import import_session
from models.topic import add_topic
from tests.builders import scalar
from tests.web.api.conftest import Api, MakeApi

ADA: dict[str, Any] = {
    "external_id": "customer-42",
    "email": "Ada@Example.org",
    "first_name": "Ada",
    "time_zone": "Europe/Vienna",
    "attributes": {"plan": "gold", "points": 7},
}


def put(api: Api, **given: Any) -> dict[str, Any]:
    """The recipient of an upsert that succeeds."""
    answer = api.post("/v1/recipients", given)
    assert answer.status_code == 200, answer.text
    recipient: dict[str, Any] = answer.json()["recipient"]
    return recipient


def people_of(engine: Engine) -> Any:
    return scalar(engine, "SELECT count(*) FROM recipient WHERE merged_into IS NULL")


def a_topic(api: Api, key: str = "news", opt_in: str = "explicit") -> None:
    with api.engine.begin() as connection:
        add_topic(connection, api.team, key, key.title(), opt_in)


def addresses(answer: Any) -> list[tuple[str, str, bool]]:
    """Channel, address and whether it is the one in use; in the order of their ranks."""
    return [(one["channel"], one["address"], one["rank"] == 0) for one in answer.json()["data"]]


def test_a_new_person_is_stored_normalised_and_found_by_id_external_id_and_address(
    api: Api,
) -> None:
    answer = api.post("/v1/recipients", ADA)
    made = answer.json()["recipient"]

    assert answer.json()["created"] is True
    assert made["id"].startswith("rcp_")
    assert made["attributes"] == {"plan": "gold", "points": 7}
    assert [point["address"] for point in made["contact_points"]] == ["ada@example.org"]
    for name in (made["id"], "customer-42", "ada@example.org"):
        assert api.get(f"/v1/recipients/{name}").json() == made


def test_what_is_not_named_stays_and_null_removes_an_attribute(api: Api) -> None:
    put(api, **ADA)

    answer = api.post(
        "/v1/recipients",
        {
            "external_id": "customer-42",
            "locale": "de-at",
            "attributes": {"plan": None, "vip": True},
        },
    )

    changed = answer.json()["recipient"]
    assert answer.json()["created"] is False
    assert changed["locale"] == "de_AT"
    assert changed["first_name"] == "Ada"
    assert changed["attributes"] == {"points": 7, "vip": True}


def test_a_repeat_with_the_same_key_is_answered_and_not_done_again(api: Api) -> None:
    first = api.post("/v1/recipients", ADA, key="k")
    put(api, external_id="customer-42", first_name="Augusta")
    again = api.post("/v1/recipients", ADA, key="k")

    assert again.json() == first.json()
    assert again.headers["idempotency-replayed"] == "true"
    assert api.get("/v1/recipients/customer-42").json()["first_name"] == "Augusta"


def test_by_email_alone_the_person_who_uses_the_address_is_meant(api: Api) -> None:
    ada = put(api, **ADA)

    same = put(api, email="ada@example.org", last_name="Lovelace")
    other = put(api, email="bob@example.org")

    assert same["id"] == ada["id"]
    assert same["last_name"] == "Lovelace"
    assert other["external_id"] is None
    assert people_of(api.engine) == 2


def test_who_has_the_address_and_no_external_id_gets_the_one_that_is_given(api: Api) -> None:
    nameless = put(api, email="ada@example.org")

    named = put(api, **ADA)

    assert named["id"] == nameless["id"]
    assert named["external_id"] == "customer-42"


def test_an_address_that_two_people_use_names_neither(api: Api) -> None:
    put(api, **ADA)
    put(api, external_id="customer-43", email="ada@example.org")

    answer = api.post("/v1/recipients", {"email": "ada@example.org", "first_name": "X"})

    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "/email"
    assert api.get("/v1/recipients/ada@example.org").status_code == 404
    found = api.get("/v1/recipients?address=Ada@example.org").json()["data"]
    assert [one["external_id"] for one in found] == ["customer-43", "customer-42"]


@pytest.mark.parametrize(
    ("given", "pointer"),
    [
        ({}, None),
        ({"first_name": "Ada"}, None),
        ({"external_id": "  "}, "/external_id"),
        ({"external_id": "x" * 256}, "/external_id"),
        ({"email": "not an address"}, "/email"),
        ({"external_id": "a", "phone": "0660 1"}, "/phone"),
        ({"external_id": "a", "webhook": "http://x.org"}, "/webhook"),
        ({"external_id": "a", "locale": "xx-yy-zz"}, "/locale"),
        ({"external_id": "a", "time_zone": "Mars/Base"}, "/time_zone"),
        ({"external_id": "a", "attributes": {"no name": 1}}, "/attributes"),
        ({"external_id": "a", "preferred_channels": ["pigeon"]}, "/preferred_channels/0"),
        ({"external_id": "a", "emails": "a@b.org"}, "/emails"),
    ],
)
def test_what_makes_no_sense_is_refused_with_its_pointer(
    api: Api, given: dict[str, Any], pointer: str | None
) -> None:
    answer = api.post("/v1/recipients", given)

    assert answer.status_code == 422
    assert [one["pointer"] for one in answer.json().get("errors", [])] == (
        [] if pointer is None else [pointer]
    )
    assert people_of(api.engine) == 0


def test_a_bulk_answers_each_row_and_a_bad_one_changes_nothing_of_its_own(api: Api) -> None:
    known = put(api, **ADA)
    rows: list[Any] = [
        {"external_id": "new-1", "email": "new-1@example.org"},
        {"external_id": "customer-42", "first_name": "Changed", "email": "broken"},
        {"external_id": "customer-42", "last_name": "Lovelace"},
        {"email": 5},
        {"email": "nobody@example.org", "colour": "red"},
        {"external_id": "new-1", "first_name": "Twice"},
    ]

    answer = api.post("/v1/recipients/bulk", {"recipients": rows})

    body = answer.json()
    assert answer.status_code == 200
    assert [item["status"] for item in body["items"]] == [201, 422, 200, 422, 422, 200]
    assert (body["created"], body["updated"], body["refused"]) == (1, 2, 3)
    assert body["items"][1]["problem"]["errors"][0]["pointer"] == "/email"
    assert body["items"][4]["problem"]["errors"][0]["pointer"] == "/colour"
    assert body["items"][2]["id"] == known["id"]
    ada = api.get("/v1/recipients/customer-42").json()
    assert (ada["first_name"], ada["last_name"]) == ("Ada", "Lovelace")
    assert api.get("/v1/recipients/new-1").json()["first_name"] == "Twice"
    assert people_of(api.engine) == 2


def test_a_bulk_of_a_thousand_is_one_transaction_and_is_answered_again(api: Api) -> None:
    rows = [{"email": f"p{n}@example.org", "attributes": {"n": n}} for n in range(1000)]

    first = api.post("/v1/recipients/bulk", {"recipients": rows}, key="k")
    again = api.post("/v1/recipients/bulk", {"recipients": rows}, key="k")
    too_many = api.post("/v1/recipients/bulk", {"recipients": [*rows, {"email": "x@y.org"}]})

    assert first.json()["created"] == 1000
    assert again.json() == first.json()
    assert too_many.status_code == 422
    assert people_of(api.engine) == 1000


def test_the_same_person_asked_for_by_many_at_once_is_made_once(api: Api) -> None:
    wishes = [
        {"email": "ada@example.org"},
        {"external_id": "customer-42", "email": "ada@example.org"},
    ] * 12

    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(lambda wish: api.post("/v1/recipients", wish), wishes))

    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json()["recipient"]["id"] for answer in answers}) == 1
    assert sum(answer.json()["created"] for answer in answers) == 1
    assert api.get("/v1/recipients/customer-42").status_code == 200


def test_a_new_person_does_not_wait_for_an_import_and_a_known_one_is_changed(api: Api) -> None:
    put(api, **ADA)

    with import_session(api.engine, api.team):
        new = api.post("/v1/recipients", {"external_id": "new"})
        known = api.post("/v1/recipients", {"external_id": "customer-42", "first_name": "A"})
        bulk = api.post("/v1/recipients/bulk", {"recipients": [{"external_id": "new"}]})
        erased = api.delete("/v1/recipients/customer-42")

    assert (new.status_code, known.status_code, erased.status_code) == (409, 200, 409)
    assert new.headers["retry-after"] == "1"
    assert bulk.json()["items"][0]["status"] == 409
    assert api.post("/v1/recipients", {"external_id": "new"}).json()["created"] is True


def test_recipients_are_listed_newest_first_by_pages(shop: Api) -> None:
    first = shop.get("/v1/recipients?limit=6").json()
    rest = shop.get(f"/v1/recipients?limit=6&cursor={first['next']}").json()

    ids = [line["external_id"] for line in (*first["data"], *rest["data"])]
    assert ids == [f"person-{n}" for n in range(10, 0, -1)]
    assert (first["has_more"], rest["has_more"]) == (True, False)
    one = shop.get("/v1/recipients?external_id=person-3").json()["data"]
    assert [line["external_id"] for line in one] == ["person-3"]


def test_contact_points_are_added_replaced_ordered_verified_and_removed(api: Api) -> None:
    where = f"/v1/recipients/{put(api, **ADA)['id']}/contact-points"

    added = api.post(where, {"channel": "email", "address": "Second@Example.org"})
    listed = api.get(where)
    assert added.status_code == 201
    assert added.json()["state"] == "unverified"
    assert addresses(listed) == [
        ("email", "ada@example.org", True),
        ("email", "second@example.org", False),
    ]

    second = f"{where}/{added.json()['id']}"
    verified = api.patch(second, {"state": "verified", "first": True})
    assert addresses(verified)[0] == ("email", "second@example.org", True)
    assert verified.json()["data"][0]["verified_at"] is not None

    replaced = api.put(where, {"channel": "email", "address": "third@example.org"})
    assert addresses(replaced) == [
        ("email", "third@example.org", True),
        ("email", "ada@example.org", False),
    ]

    third = replaced.json()["data"][0]["id"]
    removed = api.delete(f"{where}/{third}")
    assert addresses(removed) == [("email", "ada@example.org", True)]
    assert api.delete(f"{where}/{third}").status_code == 404


@pytest.mark.parametrize(
    "body",
    [
        {"channel": "email", "address": "broken"},
        {"channel": "in_app", "address": "x"},
        {"channel": "sms", "address": "12"},
    ],
)
def test_an_address_that_is_none_is_refused(api: Api, body: dict[str, str]) -> None:
    who = put(api, **ADA)["id"]

    for answer in (
        api.post(f"/v1/recipients/{who}/contact-points", body),
        api.put(f"/v1/recipients/{who}/contact-points", body),
    ):
        assert answer.status_code == 422
        assert answer.json()["errors"][0]["pointer"] == "/address"


def test_a_push_token_belongs_to_who_registered_it_last_and_may_be_renewed(api: Api) -> None:
    ada, bob = (put(api, external_id=name)["id"] for name in ("ada", "bob"))

    api.post(f"/v1/recipients/{ada}/push-tokens", {"token": "Device-1"})
    api.post(f"/v1/recipients/{bob}/push-tokens", {"token": "Device-1"})
    renew = {"old": "Device-1", "new": "Device-2"}
    renewed = api.post(f"/v1/recipients/{bob}/push-tokens/renew", renew)
    refused = api.post(f"/v1/recipients/{ada}/push-tokens/renew", renew)

    assert addresses(api.get(f"/v1/recipients/{ada}/contact-points")) == []
    assert addresses(renewed) == [("push", "Device-2", True)]
    assert refused.status_code == 404


def test_joining_and_leaving_is_per_topic_and_channel_and_says_who_did_it(api: Api) -> None:
    a_topic(api)
    a_topic(api, "doubled", "double")
    where = f"/v1/recipients/{put(api, **ADA)['id']}/subscriptions"

    joined = api.post(where, {"topic": "news"}, key="k")
    api.post(where, {"topic": "news", "channel": "sms"})
    pending = api.post(where, {"topic": "doubled"})
    left = api.post(f"{where}/leave", {"topic": "news"}, key=None)
    again = api.post(f"{where}/leave", {"topic": "news"}, key=None)
    replayed = api.post(where, {"topic": "news"}, key="k")

    assert joined.json()["state"] == replayed.json()["state"] == "subscribed"
    assert pending.json()["state"] == "pending"
    assert (left.json()["ended"], again.json()["ended"]) == (True, False)
    # The repeat of the first request did not bring back who had left meanwhile.
    stands = {(one["topic"], one["channel"]): one["state"] for one in api.get(where).json()["data"]}
    assert stands == {
        ("news", "email"): "left",
        ("news", "sms"): "subscribed",
        ("doubled", "email"): "pending",
    }
    assert api.get(where).json()["data"][0]["source"].startswith("api key ")


def test_an_unknown_topic_is_a_fault_of_the_body(api: Api) -> None:
    where = f"/v1/recipients/{put(api, **ADA)['id']}/subscriptions"

    for answer in (
        api.post(where, {"topic": "nothing"}),
        api.post(f"{where}/leave", {"topic": "nothing"}),
    ):
        assert answer.status_code == 422
        assert answer.json()["errors"][0]["pointer"] == "/topic"


def test_two_are_merged_and_found_as_the_one_who_is_left(api: Api) -> None:
    ada = put(api, **ADA)
    twin = put(api, external_id="twin", email="twin@example.org", last_name="Lovelace")

    merged = api.post(f"/v1/recipients/{twin['id']}/merge", {"into": "customer-42"}, key="k")
    again = api.post(f"/v1/recipients/{twin['id']}/merge", {"into": "customer-42"}, key="k")
    anew = api.post(f"/v1/recipients/{twin['id']}/merge", {"into": "customer-42"})
    nobody = api.post(f"/v1/recipients/{ada['id']}/merge", {"into": "nobody"})

    assert merged.status_code == 200
    assert merged.json() == again.json()
    assert merged.json()["contact_points"] == 1
    assert merged.json()["recipient"]["merged"] == [twin["id"]]
    assert anew.status_code == 409
    assert nobody.json()["errors"][0]["pointer"] == "/into"
    assert api.get(f"/v1/recipients/{twin['id']}").json()["id"] == ada["id"]
    assert [one["id"] for one in api.get("/v1/recipients").json()["data"]] == [ada["id"]]


def test_all_about_a_person_is_exported_as_one_document(api: Api) -> None:
    a_topic(api)
    ada = put(api, **ADA)
    api.post(f"/v1/recipients/{ada['id']}/subscriptions", {"topic": "news"})

    answer = api.get("/v1/recipients/customer-42/export")

    document = answer.json()
    assert answer.headers["content-type"] == "application/json"
    assert ada["id"] in answer.headers["content-disposition"]
    assert document["recipients"][0]["external_id"] == "customer-42"
    assert document["contact_points"][0]["address"] == "ada@example.org"
    assert document["subscriptions"][0]["topic"] == "news"
    assert len(document["consent_history"]) == 1


def test_who_is_erased_is_gone_from_lists_and_takes_no_address_any_more(api: Api) -> None:
    ada = put(api, **ADA)

    erased = api.delete(f"/v1/recipients/{ada['id']}")
    again = api.delete(f"/v1/recipients/{ada['id']}")

    assert erased.json()["contact_points"] == 1
    assert again.json()["contact_points"] == 0
    assert api.get("/v1/recipients").json()["data"] == []
    shown = api.get(f"/v1/recipients/{ada['id']}").json()
    assert shown["erased_at"] is not None
    assert (shown["first_name"], shown["contact_points"]) == ("", [])
    point = {"channel": "email", "address": "ada@example.org"}
    assert api.post(f"/v1/recipients/{ada['id']}/contact-points", point).status_code == 409
    # The id may come back, as somebody new.
    assert put(api, **ADA)["id"] != ada["id"]


def test_another_teams_recipients_are_not_there(api: Api, make_api: MakeApi) -> None:
    ada = put(api, **ADA)
    bob = put(api, external_id="bob")
    point = ada["contact_points"][0]["id"]
    other = make_api(team="other")
    theirs = put(other, external_id="theirs")["id"]
    subscription = {"topic": "news"}

    for who in (ada["id"], "customer-42", "ada@example.org"):
        where = f"/v1/recipients/{who}"
        answers = [
            other.get(where),
            other.delete(where),
            other.post(f"{where}/merge", {"into": theirs}),
            other.get(f"{where}/export"),
            other.get(f"{where}/contact-points"),
            other.post(f"{where}/contact-points", {"channel": "sms", "address": "+436601234567"}),
            other.put(f"{where}/contact-points", {"channel": "sms", "address": "+436601234567"}),
            other.patch(f"{where}/contact-points/{point}", {"state": "verified"}),
            other.delete(f"{where}/contact-points/{point}"),
            other.post(f"{where}/push-tokens", {"token": "t"}),
            other.post(f"{where}/push-tokens/renew", {"old": "t", "new": "u"}),
            other.get(f"{where}/subscriptions"),
            other.post(f"{where}/subscriptions", subscription),
            other.post(f"{where}/subscriptions/leave", subscription),
        ]
        assert {answer.status_code for answer in answers} == {404}

    # Nor by an id inside another path or body.
    assert other.delete(f"/v1/recipients/{theirs}/contact-points/{point}").status_code == 404
    assert other.post(f"/v1/recipients/{theirs}/merge", {"into": ada["id"]}).status_code == 422
    listed = other.get("/v1/recipients").json()["data"]
    assert [one["id"] for one in listed] == [theirs]
    assert {ada["id"], bob["id"]} == {one["id"] for one in api.get("/v1/recipients").json()["data"]}
    assert api.get("/v1/recipients/customer-42").json() == ada


def test_each_side_needs_its_scope(api: Api, make_api: MakeApi) -> None:
    put(api, **ADA)
    reader, writer = make_api(["recipients:read"]), make_api(["recipients:write"])

    assert reader.get("/v1/recipients/customer-42").status_code == 200
    assert reader.delete("/v1/recipients/customer-42").status_code == 403
    assert reader.post("/v1/recipients", ADA).status_code == 403
    assert writer.get("/v1/recipients").status_code == 403
    assert writer.post("/v1/recipients", ADA).status_code == 200

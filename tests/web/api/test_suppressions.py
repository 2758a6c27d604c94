"""Suppressions over HTTP: added, found, taken away again."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import text

from tests.builders import scalar
from tests.web.api.conftest import Api, MakeApi

ADA: dict[str, Any] = {"address": "Ada@Example.com"}


def an_erased_persons(api: Api) -> str:
    """Id of a suppression of which only a hash is left."""
    made = api.post("/v1/suppressions", {"address": "gone@example.com"}).json()
    with api.engine.begin() as connection:
        connection.execute(text("UPDATE suppression SET address = hashed_address(address)"))
    return str(made["id"])


def test_an_address_is_suppressed_in_its_normal_form_and_who_did_it_is_kept(api: Api) -> None:
    made = api.post("/v1/suppressions", ADA)

    assert made.status_code == 201
    said = made.json()
    assert (said["address"], said["reason"]) == ("ada@example.com", "manual")
    assert said["source"].startswith("api key ")
    assert api.get(f"/v1/suppressions/{said['id']}").json() == said
    assert api.get("/v1/suppressions?address=ADA@example.com").json()["data"] == [said]


def test_one_that_stands_keeps_its_reason(api: Api) -> None:
    first = api.post("/v1/suppressions", ADA | {"reason": "complaint"}).json()
    second = api.post("/v1/suppressions", ADA | {"reason": "other"}).json()

    assert second == first


@pytest.mark.parametrize(
    "wish",
    [
        {"address": "nobody"},
        {"address": "+436641234567"},
        {"address": "ada@example.com", "channel": "in_app"},
        {"address": "ada@example.com", "reason": ""},
        {"address": "ada@example.com", "reason": "x" * 101},
        {"address": "ada@example.com", "source": "me"},
    ],
)
def test_what_is_no_address_is_refused(api: Api, wish: dict[str, Any]) -> None:
    assert api.post("/v1/suppressions", wish).status_code == 422
    assert scalar(api.engine, "SELECT count(*) FROM suppression") == 0


def test_they_are_listed_by_pages_channel_and_reason(api: Api) -> None:
    for n in range(3):
        api.post("/v1/suppressions", {"address": f"a{n}@example.com", "reason": f"r{n % 2}"})
    api.post("/v1/suppressions", {"address": "+436641234567", "channel": "sms"})

    first = api.get("/v1/suppressions?limit=3").json()
    rest = api.get(f"/v1/suppressions?limit=3&cursor={first['next']}").json()
    found = [row["address"] for row in (*first["data"], *rest["data"])]

    assert found == ["+436641234567", "a2@example.com", "a1@example.com", "a0@example.com"]
    of_sms = api.get("/v1/suppressions?channel=sms").json()["data"]
    of_r0 = api.get("/v1/suppressions?reason=r0").json()["data"]
    assert [row["address"] for row in of_sms] == ["+436641234567"]
    assert [row["address"] for row in of_r0] == ["a2@example.com", "a0@example.com"]


def test_one_is_taken_away_by_id_or_by_address(api: Api) -> None:
    made = api.post("/v1/suppressions", ADA).json()

    assert api.delete(f"/v1/suppressions/{made['id']}").status_code == 204
    assert api.delete(f"/v1/suppressions/{made['id']}").status_code == 404
    api.post("/v1/suppressions", ADA)
    removed = [api.post("/v1/suppressions/remove", ADA, key=None).json() for _ in range(2)]
    assert removed == [{"removed": 1}, {"removed": 0}]
    assert scalar(api.engine, "SELECT count(*) FROM suppression") == 0


def test_of_an_erased_person_no_address_is_shown_and_only_the_address_takes_it_away(
    api: Api,
) -> None:
    id_ = an_erased_persons(api)
    found = api.get("/v1/suppressions?address=gone@example.com").json()["data"]

    assert [(row["id"], row["address"]) for row in found] == [(id_, None)]
    assert "hash:" not in api.get("/v1/suppressions").text
    assert api.delete(f"/v1/suppressions/{id_}").status_code == 409
    again = api.post("/v1/suppressions", {"address": "gone@example.com"})
    assert (again.json()["id"], again.json()["address"]) == (id_, None)
    by_address = api.post("/v1/suppressions/remove", {"address": "Gone@example.com"}, key=None)
    assert by_address.json() == {"removed": 1}


def test_another_teams_suppressions_are_not_there(api: Api, make_api: MakeApi) -> None:
    made = api.post("/v1/suppressions", ADA).json()
    other = make_api(team="other")

    assert other.get(f"/v1/suppressions/{made['id']}").status_code == 404
    assert other.delete(f"/v1/suppressions/{made['id']}").status_code == 404
    assert other.post("/v1/suppressions/remove", ADA, key=None).json() == {"removed": 0}
    assert other.get("/v1/suppressions").json()["data"] == []
    assert other.post("/v1/suppressions", ADA).json()["id"] != made["id"]
    assert scalar(api.engine, "SELECT count(*) FROM suppression") == 2

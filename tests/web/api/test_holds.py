"""Holds over HTTP: every scope, with who placed them; another team's are out of reach."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import Engine

from domain.identifier import SEND_PREFIX, public_id
from models.hold import open_holds
from tests.builders import Draft, a_running_campaign, scalar
from tests.web.api.conftest import Api, MakeApi


@pytest.fixture
def send_id(api: Api) -> int:
    """A running campaign, on the topic `newsletter`, the template `news`, the account `simulator`."""
    return a_running_campaign(api.engine, Draft(people=2))


def held(engine: Engine, send_id: int) -> list[str]:
    with engine.connect() as connection:
        return [said.rpartition(" (")[0] for said in open_holds(connection, send_id)]


def place(caller: Api, scope: str, key: str = "", *, idempotency_key: str = "") -> Any:
    wish = {"scope": scope, "key": key, "reason": "wrong link"}
    return caller.post("/v1/holds", wish, key=idempotency_key)


@pytest.mark.parametrize(
    ("scope", "key"),
    [
        ("send", None),
        ("topic", "newsletter"),
        ("template", "news"),
        ("account", "simulator"),
        ("team", ""),
        ("team", "default"),
        ("everything", ""),
    ],
)
def test_each_scope_is_held_until_its_hold_is_released(
    api: Api, send_id: int, scope: str, key: str | None
) -> None:
    made = place(api, scope, public_id(SEND_PREFIX, send_id) if key is None else key)

    assert made.status_code == 201
    said = made.json()
    assert said["author"].startswith("api key ")
    assert held(api.engine, send_id) == [f"{scope}: wrong link"]
    path = f"/v1/holds/{said['id']}"
    released = [api.post(f"{path}/release", key=None).json() for _ in range(2)]
    assert released[0]["released_at"] is not None
    assert released[0] == released[1] == api.get(path).json()
    assert held(api.engine, send_id) == []


def test_a_hold_that_is_asked_for_twice_with_one_key_stands_once(api: Api, send_id: int) -> None:
    first, again = (place(api, "team", idempotency_key="k").json() for _ in range(2))

    assert first == again
    assert held(api.engine, send_id) == ["team: wrong link"]


@pytest.mark.parametrize(
    ("scope", "key"),
    [
        ("send", "snd_0000000000001"),
        ("send", "nonsense"),
        ("topic", "nothing"),
        ("template", "nothing"),
        ("account", "nothing"),
        ("team", "nothing"),
    ],
)
def test_what_is_not_there_is_not_held(api: Api, scope: str, key: str) -> None:
    answer = place(api, scope, key)

    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/key")
    assert scalar(api.engine, "SELECT count(*) FROM hold") == 0


@pytest.mark.parametrize(
    "wish",
    [
        {"scope": "topic", "reason": "r"},
        {"scope": "everything", "key": "x", "reason": "r"},
        {"scope": "everything", "reason": "  "},
        {"scope": "everything"},
        {"scope": "city", "key": "x", "reason": "r"},
    ],
)
def test_a_hold_that_makes_no_sense_is_refused(api: Api, wish: dict[str, Any]) -> None:
    assert api.post("/v1/holds", wish).status_code == 422
    assert scalar(api.engine, "SELECT count(*) FROM hold") == 0


def test_holds_are_listed_by_pages_and_released_ones_where_asked_for(
    api: Api, send_id: int
) -> None:
    ids = [place(api, "topic", "newsletter").json()["id"] for _ in range(3)]
    api.post(f"/v1/holds/{ids[0]}/release", key=None)

    standing = api.get("/v1/holds").json()["data"]
    first = api.get("/v1/holds?released=true&limit=2").json()
    rest = api.get(f"/v1/holds?released=true&limit=2&cursor={first['next']}").json()

    assert [hold["id"] for hold in standing] == ids[1:]
    assert [hold["id"] for hold in (*first["data"], *rest["data"])] == ids


def test_who_is_no_operator_holds_their_own_team_alone(
    api: Api, make_api: MakeApi, send_id: int
) -> None:
    clerk = make_api(["holds:write"])
    other = make_api(team="other")
    mine = place(api, "topic", "newsletter").json()

    assert place(clerk, "everything").status_code == 403
    assert place(other, "everything").status_code == 403
    assert place(other, "team", "default").status_code == 422
    assert place(other, "send", public_id(SEND_PREFIX, send_id)).status_code == 422
    assert place(other, "topic", "newsletter").status_code == 422
    assert place(other, "team").json()["key"] == "other"
    assert other.get(f"/v1/holds/{mine['id']}").status_code == 404
    assert other.post(f"/v1/holds/{mine['id']}/release", key=None).status_code == 404
    assert len(other.get("/v1/holds").json()["data"]) == 1
    assert held(api.engine, send_id) == ["topic: wrong link"]

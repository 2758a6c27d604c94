"""Audits over HTTP: whether every message is accounted for."""

from __future__ import annotations

from sqlalchemy import text

from domain.cap import Over
from domain.identifier import SEND_PREFIX, public_id
from models.cap import NewCap, add_cap
from tests.builders import Draft, a_running_campaign
from tests.web.api.conftest import ORDER, Api, MakeApi


def broken(api: Api) -> str:
    """Id of a campaign whose batch counts what its rows do not say."""
    send_id = a_running_campaign(api.engine, Draft(people=2))
    with api.engine.begin() as connection:
        connection.execute(text("UPDATE batch SET counts = '{\"accepted\": 1}'"))
    return public_id(SEND_PREFIX, send_id)


PROBLEM = "its batches count 1 accepted, its deliveries are 0"


def test_a_campaign_that_does_not_balance_is_named_with_what_is_wrong(api: Api) -> None:
    campaign = broken(api)
    expected = {"id": campaign, "balanced": False, "problems": [PROBLEM]}

    assert api.get(f"/v1/audit/sends/{campaign}").json() == expected
    listed = api.get("/v1/audit/campaigns").json()
    assert (listed["data"], listed["has_more"]) == ([expected], False)


def test_single_messages_balance_until_one_is_lost(shop: Api) -> None:
    send = shop.post("/v1/messages", ORDER).json()["id"]
    before = shop.get("/v1/audit/messages").json()
    with shop.engine.begin() as connection:
        connection.execute(text("DELETE FROM outbox"))
    after = shop.get("/v1/audit/messages").json()

    lost = "message 1 is not final, and nobody will look at it"
    assert before == {"balanced": True, "sends": []}
    assert after["balanced"] is False
    assert [(row["id"], row["problems"]) for row in after["sends"]] == [(send, [lost])]
    assert shop.get(f"/v1/audit/sends/{send}").json() == after["sends"][0]


def test_caps_balance_until_a_count_is_not_that_of_its_uses(shop: Api) -> None:
    before = shop.get("/v1/audit/caps").json()
    with shop.engine.begin() as connection:
        a_day = NewCap(
            team_id=shop.team,
            topic_id=None,
            message_class=None,
            channel=None,
            most=5,
            hours=None,
            over=Over.SKIP,
        )
        add_cap(connection, a_day)
        connection.execute(
            text(
                "INSERT INTO cap_count (recipient_id, cap_id, window_key, used)"
                " SELECT 1, id, '2999-01-01', 1 FROM cap"
            )
        )
    after = shop.get("/v1/audit/caps").json()

    assert before == {"balanced": True, "problems": []}
    assert after["balanced"] is False
    assert [problem.partition(" to ")[0] for problem in after["problems"]] == ["cap 1 counts 1"]


def test_what_keys_changed_is_recorded_with_who_did_it(shop: Api, make_api: MakeApi) -> None:
    made = shop.post("/v1/suppressions", {"address": "ada@example.com"}).json()
    shop.put("/v1/accounts/simulator/weight", {"weight": 40})
    shop.post("/v1/accounts/simulator/resume", key=None)
    shop.delete(f"/v1/suppressions/{made['id']}")
    shop.post("/v1/suppressions", {"address": "ada@example.com"})
    for _ in range(2):
        shop.post("/v1/suppressions/remove", {"address": "ada@example.com"}, key=None)

    first = shop.get("/v1/audit/entries?limit=3").json()
    rest = shop.get(f"/v1/audit/entries?limit=3&cursor={first['next']}").json()
    found = [(row["action"], row["details"]) for row in (*first["data"], *rest["data"])]

    assert found == [
        ("suppression.removed", {}),
        ("suppression.removed", {}),
        ("account.resumed", {}),
        ("account.weighted", {"weight": 40}),
    ]
    assert {row["actor"] for row in first["data"]} == {made["source"]}
    assert first["data"][1]["subject"] == made["id"]
    assert "ada@" not in str(first)
    assert make_api(team="other").get("/v1/audit/entries").json()["data"] == []


def test_another_teams_sends_are_not_audited(api: Api, make_api: MakeApi) -> None:
    campaign = broken(api)
    other = make_api(team="other")

    assert other.get(f"/v1/audit/sends/{campaign}").status_code == 404
    assert other.get("/v1/audit/campaigns").json()["data"] == []
    assert other.get("/v1/audit/messages").json() == {"balanced": True, "sends": []}

"""Campaigns over HTTP: made, looked at, started without Temporal, steered, reported."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import Engine, text

from domain.send import MessageClass
from models.account import NamedAccount, keep_account
from models.freeze import freeze
from models.team import default_team_id
from models.template import NewVersion, publish_version
from settings import Settings
from tests.builders import HTML, SUBJECT, TOPIC, people, scalar, scalars
from tests.web.api.conftest import ORDER, Api, MakeApi, site_client

WISH: dict[str, Any] = {"name": "May news", "topic": TOPIC, "template": "news"}


def a_newsroom(engine: Engine, *, subscribers: int = 10) -> None:
    """People on the topic `newsletter`, the template `news`, the simulator's account."""
    with engine.begin() as connection:
        team = default_team_id(connection)
        people(connection, subscribers)
        publish_version(
            connection,
            team,
            NewVersion(
                key="news",
                name="News",
                message_class=MessageClass.MARKETING,
                sender={"from": "Shop <shop@example.com>", "reply_to": ""},
                content={"email": {"": {"subject": SUBJECT, "html": HTML, "text": ""}}},
                variables={},
                links=[],
            ),
        )
        keep_account(
            connection,
            team,
            NamedAccount(
                key="simulator", provider="sendgrid", channel="email", is_real=False, rate=0
            ),
        )


@pytest.fixture
def newsroom(api: Api) -> Api:
    a_newsroom(api.engine)
    return api


def a_draft(caller: Api, **wish: Any) -> str:
    """Id of a new draft."""
    answer = caller.post("/v1/campaigns", WISH | wish)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def started(caller: Api) -> str:
    """Id of a campaign that was started."""
    campaign = a_draft(caller)
    assert caller.post(f"/v1/campaigns/{campaign}/start", {}).status_code == 202
    return campaign


def state_of(caller: Api, campaign: str) -> Any:
    return caller.get(f"/v1/campaigns/{campaign}").json()["state"]


def test_a_draft_has_all_that_was_asked_for(newsroom: Api) -> None:
    asked = {
        "channel": "email",
        "account": "simulator",
        "rate": 400.0,
        "on_unknown": "resend",
        "priority": "high",
        "window": "09:00-21:00",
        "local_at": "2030-12-24T18:00:00",
    }
    made = newsroom.post("/v1/campaigns", WISH | asked)

    assert made.status_code == 201
    said = made.json()
    assert {name: said[name] for name in asked} == asked
    assert (said["state"], said["template"], said["test"]) == ("draft", "news@1", False)
    assert newsroom.get(f"/v1/campaigns/{said['id']}").json() == said
    assert newsroom.get("/v1/campaigns").json()["data"] == [said]


@pytest.mark.parametrize(
    ("wish", "pointer"),
    [
        ({"topic": "nothing"}, "/topic"),
        ({"template": "nothing"}, "/template"),
        ({"account": "nothing"}, "/account"),
        ({"window": "9 to 5"}, "/window"),
        ({"window": "09:00-09:00"}, "/window"),
        ({"local_at": "2030-12-24T18:00:00+01:00"}, "/local_at"),
        ({"priority": "urgent"}, "/priority"),
        ({"rate": 0}, "/rate"),
        ({"state": "running"}, "/state"),
    ],
)
def test_what_is_wrong_is_refused_at_its_place_and_nothing_is_made(
    newsroom: Api, wish: dict[str, Any], pointer: str
) -> None:
    answer = newsroom.post("/v1/campaigns", WISH | wish)

    assert answer.status_code == 422
    assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]
    assert scalar(newsroom.engine, "SELECT count(*) FROM send") == 0


@pytest.mark.parametrize("wish", [{"name": "  "}, {"channel": "push"}, {"channel": "sms"}])
def test_a_campaign_that_cannot_go_is_refused(newsroom: Api, wish: dict[str, Any]) -> None:
    answer = newsroom.post("/v1/campaigns", WISH | wish)

    assert (answer.status_code, answer.json()["type"]) == (422, "urn:carillon:problem:refused")


def test_fifty_at_once_with_one_idempotency_key_make_one_draft(newsroom: Api) -> None:
    with ThreadPoolExecutor(50) as pool:
        asked = list(pool.map(lambda _: newsroom.post("/v1/campaigns", WISH, key="k"), range(50)))

    made = [answer for answer in asked if answer.status_code == 201]
    assert {answer.status_code for answer in asked} <= {201, 409}
    assert len({answer.json()["id"] for answer in made}) == 1
    assert scalar(newsroom.engine, "SELECT count(*) FROM send") == 1


def test_a_preflight_counts_who_is_in_and_who_is_out_for_which_reason(newsroom: Api) -> None:
    campaign = a_draft(newsroom)
    with newsroom.engine.begin() as connection:
        for statement in (
            "UPDATE subscription SET state = 'left' WHERE recipient_id IN (1, 2)",
            "UPDATE subscription SET state = 'pending' WHERE recipient_id = 3",
            "DELETE FROM contact_point WHERE recipient_id = 4",
            "INSERT INTO suppression (team_id, channel, address, reason, source)"
            " SELECT team_id, channel, address, 'hard_bounce', 'test' FROM contact_point"
            " WHERE recipient_id IN (5, 6)",
        ):
            connection.execute(text(statement))

    said = newsroom.get(f"/v1/campaigns/{campaign}/preflight").json()

    assert (said["messages"], said["eligible"]) == (7, 4)
    assert said["skipped"] == {"no_contact_point": 1, "suppressed": 2}
    assert said["excluded"] == {"left": 2, "pending": 1}
    assert said["account_is_real"] is False
    assert said["sender"]["address"] == "shop@example.com"
    assert state_of(newsroom, campaign) == "draft"


def test_without_temporal_a_start_is_committed_and_the_reconciler_finds_it(newsroom: Api) -> None:
    campaign = a_draft(newsroom)

    first = newsroom.post(f"/v1/campaigns/{campaign}/start", {}, key="k")
    again = newsroom.post(f"/v1/campaigns/{campaign}/start", {}, key="k")
    other = newsroom.post(f"/v1/campaigns/{campaign}/start", {})

    assert [answer.status_code for answer in (first, again, other)] == [202, 202, 409]
    assert first.json() == again.json()
    assert first.json()["state"] == "accepted"
    assert again.headers["idempotency-replayed"] == "true"
    assert scalar(newsroom.engine, "SELECT state FROM send WHERE started_at IS NOT NULL") == (
        "accepted"
    )


@pytest.fixture
def silent_temporal() -> Iterator[str]:
    """An address that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


def test_an_answer_does_not_wait_for_a_temporal_that_is_silent(
    newsroom: Api, api_settings: Settings, silent_temporal: str
) -> None:
    campaign = a_draft(newsroom)
    settings = api_settings.model_copy(update={"temporal_address": silent_temporal})

    with site_client(newsroom.engine, settings) as http:
        headers = newsroom.headers | {"Idempotency-Key": "k"}
        answer = http.post(f"/v1/campaigns/{campaign}/start", json={}, headers=headers)
        paused = http.post(f"/v1/campaigns/{campaign}/pause", headers=headers)

    assert (answer.status_code, paused.status_code) == (202, 202)
    assert state_of(newsroom, campaign) == "paused"


def test_a_start_at_a_time_is_scheduled_and_can_be_cancelled(newsroom: Api) -> None:
    campaign = a_draft(newsroom)
    path = f"/v1/campaigns/{campaign}"

    said = newsroom.post(f"{path}/start", {"at": "2099-12-24T18:00:00+01:00"}).json()
    cancelled = newsroom.post(f"{path}/cancel", key=None).json()

    assert (said["state"], said["due_at"]) == ("scheduled", "2099-12-24T17:00:00Z")
    assert cancelled["state"] == "cancelled"
    assert cancelled["closed_at"] is not None


@pytest.mark.parametrize(
    "at", ["2020-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "2099-12-24T18:00:00", "soon"]
)
def test_a_time_that_has_passed_or_is_none_starts_nothing(newsroom: Api, at: str) -> None:
    campaign = a_draft(newsroom)

    assert newsroom.post(f"/v1/campaigns/{campaign}/start", {"at": at}).status_code == 422
    assert state_of(newsroom, campaign) == "draft"


def test_a_campaign_to_nobody_is_not_started(newsroom: Api) -> None:
    campaign = a_draft(newsroom)
    with newsroom.engine.begin() as connection:
        connection.execute(text("UPDATE subscription SET state = 'left'"))

    answer = newsroom.post(f"/v1/campaigns/{campaign}/start", {})

    assert (answer.status_code, state_of(newsroom, campaign)) == (422, "draft")


def test_pause_resume_rate_and_cancel_are_rows_and_harmless_again(newsroom: Api) -> None:
    campaign = started(newsroom)
    path = f"/v1/campaigns/{campaign}"

    for verb, state in (("pause", "paused"), ("resume", "running"), ("cancel", "cancelled")):
        for _ in range(2):
            answer = newsroom.post(f"{path}/{verb}", key=None)
            assert (answer.status_code, answer.json()["state"]) == (202, state)
    assert newsroom.put(f"{path}/rate", {"rate": 25}).json()["rate"] == 25
    assert newsroom.put(f"{path}/rate", {"rate": None}).json()["rate"] is None
    assert newsroom.put(f"{path}/rate", {}).status_code == 422
    refused = newsroom.post(f"{path}/resume", key=None)
    assert (refused.status_code, refused.json()["type"]) == (
        409,
        "urn:carillon:problem:wrong-state",
    )
    recorded = newsroom.get("/v1/audit/entries").json()["data"]
    assert [(row["action"], row["subject"]) for row in recorded] == [
        (f"campaign.{what}", campaign)
        for what in ("set_rate", "set_rate", "cancel", "resume", "pause", "start")
    ]


def test_a_report_balances_and_a_preflight_after_the_freeze_is_refused(newsroom: Api) -> None:
    campaign = started(newsroom)
    with newsroom.engine.begin() as connection:
        send_id = connection.execute(text("SELECT id FROM send")).scalar_one()
        freeze(connection, send_id, most_per_batch=5000, shard_size=50_000)

    report = newsroom.get(f"/v1/campaigns/{campaign}/report").json()
    with newsroom.engine.begin() as connection:
        connection.execute(text("UPDATE batch SET counts = '{\"accepted\": 1}'"))
    broken = newsroom.get(f"/v1/campaigns/{campaign}/report").json()

    assert (report["messages"], report["owed"], report["balanced"]) == (10, 10, True)
    assert (broken["accepted"], broken["balanced"]) == (1, False)
    assert broken["problems"] == ["its batches count 1 accepted, its deliveries are 0"]
    assert newsroom.get(f"/v1/campaigns/{campaign}/preflight").status_code == 409


def test_campaigns_are_listed_by_pages_and_by_state(newsroom: Api) -> None:
    ids = [a_draft(newsroom, name=f"number {n}") for n in range(3)]
    newsroom.post(f"/v1/campaigns/{ids[1]}/cancel", key=None)

    first = newsroom.get("/v1/campaigns?limit=2").json()
    rest = newsroom.get(f"/v1/campaigns?limit=2&cursor={first['next']}").json()
    drafts = newsroom.get("/v1/campaigns?state=draft").json()

    assert [row["id"] for row in (*first["data"], *rest["data"])] == ids[::-1]
    assert [row["id"] for row in drafts["data"]] == [ids[2], ids[0]]
    assert newsroom.get("/v1/campaigns?state=lost").status_code == 422


def test_what_a_test_key_makes_ends_in_a_log_and_it_changes_no_live_campaign(
    newsroom: Api, make_api: MakeApi
) -> None:
    tester = make_api(is_test=True)
    live = a_draft(newsroom)
    made = tester.post("/v1/campaigns", WISH | {"account": "simulator"}).json()

    assert (made["test"], made["account"]) == (True, "test-email")
    assert tester.post(f"/v1/campaigns/{made['id']}/start", {}).status_code == 202
    assert tester.get(f"/v1/campaigns/{live}").status_code == 200
    assert tester.post(f"/v1/campaigns/{live}/start", {}).status_code == 403
    assert tester.post(f"/v1/campaigns/{live}/cancel", key=None).status_code == 403
    assert tester.put(f"/v1/campaigns/{live}/rate", {"rate": 1}).status_code == 403
    assert state_of(newsroom, live) == "draft"


def test_another_teams_campaign_is_not_there(newsroom: Api, make_api: MakeApi) -> None:
    campaign = a_draft(newsroom)
    other = make_api(team="other")
    path = f"/v1/campaigns/{campaign}"

    answers = [
        *(other.get(f"{path}{part}") for part in ("", "/preflight", "/report")),
        other.post(f"{path}/start", {}),
        *(other.post(f"{path}/{verb}", key=None) for verb in ("pause", "resume", "cancel")),
        other.put(f"{path}/rate", {"rate": 1}),
    ]

    assert [answer.status_code for answer in answers] == [404] * 8
    assert other.get("/v1/campaigns").json()["data"] == []
    assert scalars(newsroom.engine, "SELECT state FROM send") == ["draft"]
    assert other.post("/v1/campaigns", WISH).json()["errors"][0]["pointer"] == "/topic"


def test_a_send_of_single_messages_is_no_campaign(shop: Api) -> None:
    send = shop.post("/v1/messages", ORDER)

    assert shop.get(f"/v1/campaigns/{send.json()['id']}").status_code == 404

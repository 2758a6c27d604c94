"""Webhook endpoints over HTTP: made, changed, tested, listed with what became of their events."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import text

from domain.identifier import key_of
from domain.webhook_signature import event_secret
from settings import Settings, load
from tests.builders import scalar, scalars
from tests.web.api.conftest import Api, MakeApi

URL = "https://hooks.example.com/carillon?token=abc"


@pytest.fixture
def api_settings() -> Settings:
    return load(_env_file=None, webhook_secret=SecretStr("new old"))


def added(caller: Api, **wish: Any) -> dict[str, Any]:
    answer = caller.post("/v1/webhooks", {"url": URL, **wish})
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


def path(made: dict[str, Any], rest: str = "") -> str:
    return f"/v1/webhooks/{made['id']}{rest}"


def test_an_endpoint_is_made_read_changed_and_removed(api: Api) -> None:
    made = added(api, events=["message.rejected", "suppression.added"], description="CRM")

    assert made["id"].startswith("whk_")
    assert api.get(path(made)).json() == made
    assert made["url"] == URL
    assert (made["is_enabled"], made["disabled_reason"], made["failing_since"]) == (
        True,
        None,
        None,
    )
    changed = api.patch(path(made), {"events": [], "url": "https://other.example.com/"}).json()
    assert changed == made | {"events": [], "url": "https://other.example.com/"}
    assert api.delete(path(made)).status_code == 204
    assert api.get(path(made)).status_code == 404
    assert api.delete(path(made)).status_code == 404
    actions = scalars(api.engine, "SELECT action FROM audit_entry ORDER BY id")
    assert actions == ["webhook.added", "webhook.changed", "webhook.removed"]
    assert "hooks.example.com" not in str(scalars(api.engine, "SELECT details FROM audit_entry"))


def test_the_same_key_makes_one_endpoint(api: Api) -> None:
    first, again = (api.post("/v1/webhooks", {"url": URL}, key="k") for _ in range(2))

    assert first.json() == again.json()
    assert again.headers["Idempotency-Replayed"] == "true"
    assert scalar(api.engine, "SELECT count(*) FROM webhook_endpoint") == 1


@pytest.mark.parametrize(
    "url",
    [
        "http://hooks.example.com/",
        "https://hooks.example.com:8080/",
        "https://user:pass@hooks.example.com/",
        "https://127.0.0.1/",
        "https://2130706433/",
        "https://localhost/",
        "https://169.254.169.254/latest/meta-data/",
        "https://[::1]:8443/",
        "ftp://hooks.example.com/",
        "nonsense",
    ],
)
def test_a_url_that_leads_inside_or_is_none_is_refused(api: Api, url: str) -> None:
    made = added(api)

    answers = [api.post("/v1/webhooks", {"url": url}), api.patch(path(made), {"url": url})]

    for answer in answers:
        assert answer.status_code == 422
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["errors"][0]["pointer"] == "/url"
    assert scalars(api.engine, "SELECT url FROM webhook_endpoint") == [URL]


def test_an_event_that_is_none_is_refused_with_its_place(api: Api) -> None:
    answer = api.post("/v1/webhooks", {"url": URL, "events": ["message.accepted", "message.eaten"]})

    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/events/1")


def test_a_team_has_twenty_endpoints_at_most(api: Api, make_api: MakeApi) -> None:
    for _ in range(20):
        added(api)

    assert api.post("/v1/webhooks", {"url": URL}).status_code == 409
    added(make_api(team="other"))


def test_the_secret_is_derived_shown_to_who_may_write_and_of_this_endpoint_alone(
    api: Api, make_api: MakeApi
) -> None:
    made, twin = added(api), added(make_api(team="other"))
    reader = make_api(["webhooks:read"])

    shown = api.get(path(made, "/secret")).json()["secrets"]

    assert shown == [event_secret(master, made["id"], 1) for master in ("new", "old")]
    assert reader.get(path(made, "/secret")).status_code == 403
    assert reader.get(path(made)).status_code == 200
    assert made["id"] != twin["id"]
    stored = str(scalars(api.engine, "SELECT webhook_endpoint::text FROM webhook_endpoint"))
    assert "whsec_" not in stored


def test_a_rotated_secret_stands_before_the_old_one_for_a_day(api: Api) -> None:
    made = added(api)
    before = api.get(path(made, "/secret")).json()["secrets"]

    rotated = [api.post(path(made, "/secret/rotate"), key="once") for _ in range(2)]

    during = api.get(path(made, "/secret")).json()["secrets"]
    with api.engine.begin() as connection:
        connection.execute(
            text("UPDATE webhook_endpoint SET rotated_at = now() - interval '25 hours'")
        )
    after = api.get(path(made, "/secret")).json()["secrets"]
    assert [answer.status_code for answer in rotated] == [200, 200]
    assert during == [*after, *before]
    assert len(set(during)) == 4


def test_a_test_event_is_owed_and_listed(api: Api) -> None:
    made = added(api, events=["campaign.started"])

    answers = [api.post(path(made, "/test")) for _ in range(3)]

    assert {answer.status_code for answer in answers} == {202}
    ids = [answer.json()["id"] for answer in answers]
    first = api.get(path(made, "/deliveries?limit=2")).json()
    rest = api.get(path(made, f"/deliveries?limit=2&cursor={first['next']}")).json()
    listed = [*first["data"], *rest["data"]]
    assert [row["id"] for row in listed] == ids[::-1]
    assert listed[0] == answers[2].json()
    assert listed[0]["type"] == "webhook.test"
    assert (listed[0]["tries"], listed[0]["delivered_at"], listed[0]["last_error"]) == (
        0,
        None,
        None,
    )
    assert (first["has_more"], rest["has_more"]) == (True, False)


def test_a_disabled_endpoint_is_tested_and_told_only_once_it_is_enabled(api: Api) -> None:
    made = added(api)

    disabled = api.patch(path(made), {"is_enabled": False}).json()
    refused = api.post(path(made, "/test"))
    api.post("/v1/suppressions", {"address": "ada@example.org"})
    untold = api.get(path(made, "/deliveries")).json()["data"]
    enabled = api.patch(path(made), {"is_enabled": True}).json()
    api.post("/v1/suppressions", {"address": "bob@example.org"})

    assert disabled["disabled_reason"] == "Disabled by its team."
    assert (refused.status_code, untold) == (409, [])
    assert enabled == made
    told = api.get(path(made, "/deliveries")).json()["data"]
    assert [row["type"] for row in told] == ["suppression.added"]
    assert told[0]["data"]["suppression"].startswith("sup_")


def test_what_failed_is_shown_with_why_and_tried_at_once_when_it_is_enabled(api: Api) -> None:
    made = added(api)
    api.post(path(made, "/test"))
    with api.engine.begin() as connection:
        connection.execute(
            text(
                "UPDATE webhook_delivery SET tries = 7, next_at = now() + interval '1 hour',"
                " last_error = 'The endpoint answered 500.';"
                "UPDATE webhook_endpoint SET failing_since = now(), is_enabled = false,"
                " disabled_reason = 'It failed for 72 hours. The endpoint answered 500.'"
            )
        )

    shown = api.get(path(made)).json()
    (failed,) = api.get(path(made, "/deliveries")).json()["data"]
    api.patch(path(made), {"is_enabled": True})
    (again,) = api.get(path(made, "/deliveries")).json()["data"]

    assert shown["disabled_reason"] == "It failed for 72 hours. The endpoint answered 500."
    assert shown["failing_since"] is not None
    assert (failed["tries"], failed["last_error"]) == (7, "The endpoint answered 500.")
    assert failed["next_at"] is not None
    assert again["next_at"] is None
    assert api.get(path(made)).json() == made


def test_what_happens_over_the_api_is_owed_by_ids_of_the_outside(shop: Api) -> None:
    made = added(shop)
    shop.put("/v1/topics/orders", {"name": "Orders"})
    person = shop.post(
        "/v1/recipients", {"external_id": "ada", "email": "ada@example.org", "first_name": "Ada"}
    ).json()["recipient"]["id"]
    shop.post("/v1/topics/orders/members", {"recipient": "ada"})
    member = shop.get("/v1/topics/orders/members").json()["data"][0]["recipient"]
    shop.delete(f"/v1/topics/orders/members/{member}")

    told = shop.get(path(made, "/deliveries")).json()["data"][::-1]

    assert [row["type"] for row in told] == ["subscription.joined", "subscription.left"]
    assert told[0]["data"] == {"recipient": person, "topic": "orders", "channel": "email"}
    rows = str(scalars(shop.engine, "SELECT webhook_delivery::text FROM webhook_delivery"))
    assert "ada" not in rows.lower()


def test_lists_are_paged_newest_first(api: Api) -> None:
    ids = [added(api)["id"] for _ in range(3)]

    first = api.get("/v1/webhooks?limit=2").json()
    rest = api.get(f"/v1/webhooks?limit=2&cursor={first['next']}").json()

    assert [row["id"] for row in (*first["data"], *rest["data"])] == ids[::-1]


def test_a_removed_endpoint_leaves_nothing(api: Api) -> None:
    made = added(api)
    api.post(path(made, "/test"))

    api.delete(path(made))

    assert scalar(api.engine, "SELECT count(*) FROM webhook_delivery") == 0
    assert key_of("whk_", made["id"])


class TestWithoutASecret:
    @pytest.fixture
    def api_settings(self) -> Settings:
        return load(_env_file=None)

    def test_nothing_is_registered_where_nothing_can_be_signed(self, api: Api) -> None:
        answer = api.post("/v1/webhooks", {"url": URL})

        assert answer.status_code == 409
        assert "CARILLON_WEBHOOK_SECRET" in answer.json()["detail"]


class TestWithTheSimulatorAlone:
    @pytest.fixture(params=["development", "production"])
    def api_settings(self, request: pytest.FixtureRequest) -> Settings:
        return load(
            _env_file=None, mode=request.param, simulator_webhook_url="http://127.0.0.1:8614/hook"
        )

    def test_a_private_address_may_be_told_in_development_alone(self, api: Api) -> None:
        answer = api.post("/v1/webhooks", {"url": "http://127.0.0.1:9000/"})

        expected = 201 if api.settings.mode == "development" else 409
        assert answer.status_code == expected

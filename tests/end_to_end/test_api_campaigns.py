"""Campaigns that are made and started over HTTP, through the real parts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi.testclient import TestClient
from sqlalchemy import Engine

from domain.identifier import SEND_PREFIX, key_of
from models.team import default_team_id
from settings import Settings
from starter.api_keys import KeyWish, create_key
from tests.builders import Draft
from tests.scenario import Scenario, wait_until
from web.site import create_site

MakeScenario = Callable[..., Scenario]

PEOPLE = 20
WISH = {"name": "May news", "topic": "newsletter", "template": "news"}


def a_key(engine: Engine, settings: Settings, *, is_test: bool) -> dict[str, str]:
    """The header that shows a new key of the team `default`."""
    secret = settings.api_secret.get_secret_value().encode()
    wish = KeyWish(name="tests", scopes=["admin"], is_test=is_test)
    with engine.begin() as connection:
        made = create_key(connection, secret, default_team_id(connection), wish)
    return {"Authorization": f"Bearer {made.text}"}


def started(http: TestClient, key: dict[str, str], name: str) -> str:
    """Id of a campaign that was made and started with the key."""
    headers = key | {"Idempotency-Key": f"make {name}"}
    campaign = http.post("/v1/campaigns", json=WISH, headers=headers)
    assert campaign.status_code == 201, campaign.text
    id_ = str(campaign.json()["id"])
    path = f"/v1/campaigns/{id_}/start"
    assert http.post(path, json={}, headers=key | {"Idempotency-Key": "go"}).status_code == 202
    return id_


def test_a_start_reaches_temporal_at_once_and_a_test_keys_campaign_ends_in_the_log(
    make_scenario: MakeScenario,
) -> None:
    # The reconciler looks too late to be the one who starts them.
    made = make_scenario(reconcile_every=3600.0)
    made.draft(Draft(people=PEOPLE))
    made.start_workers()
    keys = [a_key(made.engine, made.settings, is_test=is_test) for is_test in (False, True)]

    with TestClient(create_site(made.engine, made.settings)) as http:
        ids = [started(http, key, name) for key, name in zip(keys, ("live", "test"), strict=True)]

        def report(id_: str) -> Any:
            return http.get(f"/v1/campaigns/{id_}/report", headers=keys[0]).json()

        wait_until(lambda: all(report(id_)["closed_at"] for id_ in ids), 60)
        reports = [report(id_) for id_ in ids]

    assert [said["accepted"] for said in reports] == [PEOPLE, PEOPLE]
    assert all(said["balanced"] for said in reports)
    assert [said["account"] for said in reports] == ["simulator", "test-email"]
    received = [len(made.simulator.received(key_of(SEND_PREFIX, id_))) for id_ in ids]
    assert received == [PEOPLE, 0]

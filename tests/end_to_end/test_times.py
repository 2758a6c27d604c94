"""Campaigns at a time: by everybody's own clock, and scheduled."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from sqlalchemy import text

from tests.builders import Draft
from tests.scenario import Scenario, wait_until

MakeScenario = Callable[..., Scenario]


def live_in(made: Scenario, zone: str, first: int, last: int) -> None:
    with made.engine.begin() as connection:
        connection.execute(
            text(
                "UPDATE recipient SET time_zone = :zone"
                " WHERE split_part(external_id, '-', 2)::integer BETWEEN :first AND :last"
            ),
            {"zone": zone, "first": first, "last": last},
        )


def received_before(made: Scenario, moment: datetime) -> set[int]:
    return {
        entry["ordinal"]
        for entry in made.simulator.received(made.send_id)
        if datetime.fromisoformat(entry["at"]) < moment
    }


def test_each_gets_a_campaign_when_it_is_that_time_where_they_are(
    make_scenario: MakeScenario,
) -> None:
    made = make_scenario()
    made.start_workers()
    moment = datetime.now(UTC) + timedelta(seconds=12)
    made.draft(Draft(people=200, local_at=moment.replace(tzinfo=None)))
    live_in(made, "Etc/GMT-1", 1, 80)  # there it was that time almost an hour ago
    live_in(made, "UTC", 81, 200)
    made.begin()
    made.wait_received(80)
    wait_until(lambda: made.report()["deferred"], 10)

    waiting = made.report()
    report = made.wait_closed()

    assert received_before(made, moment) == set(range(1, 81))
    assert (waiting["owed"], waiting["deferred"]) == (120, {"local_time": 120})
    assert made.copies() == dict.fromkeys(range(1, 201), 1)
    assert (report["accepted"], report["deferred"]) == (200, {})
    assert report["balanced"], report["problems"]


def test_a_scheduled_campaign_that_expired_before_it_began_ends_without_sending(
    make_scenario: MakeScenario,
) -> None:
    made = make_scenario()
    made.begin(Draft(people=50), at=datetime.now(UTC) + timedelta(hours=1))
    with made.engine.begin() as connection:
        connection.execute(text("UPDATE send SET due_at = now(), expires_at = now()"))

    made.start_workers()
    report = made.wait_closed()

    assert made.copies() == {}
    assert report["expired"] == 50
    assert report["balanced"], report["problems"]

"""When and how often people may be told: a campaign waits for quiet hours and obeys caps."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy import text

from models.database import clock
from tests.builders import Draft
from tests.scenario import Scenario, wait_until

MakeScenario = Callable[..., Scenario]

BERLIN = ZoneInfo("Europe/Berlin")
"""Where the people of tests are."""


def quiet_for(made: Scenario, last_ordinal: int, seconds: float) -> datetime:
    """The first people have quiet hours, which end after so many seconds; when that is."""
    with made.engine.begin() as connection:
        now = clock(connection)
        end = now + timedelta(seconds=seconds)
        connection.execute(
            text(
                "UPDATE recipient SET time_zone = 'UTC', quiet_from = :start, quiet_until = :until"
                " WHERE split_part(external_id, '-', 2)::integer <= :last"
            ),
            {
                "start": (now - timedelta(hours=2)).time(),
                "until": end.time(),
                "last": last_ordinal,
            },
        )
    return end


def test_who_has_quiet_hours_gets_it_when_they_end_and_the_others_at_once(
    make_scenario: MakeScenario,
) -> None:
    made = make_scenario()
    made.start_workers()
    made.draft(Draft(people=300))
    end = quiet_for(made, 120, seconds=12)
    made.begin()
    made.wait_received(180)
    wait_until(lambda: made.report()["deferred"], 10)

    waiting = made.report()
    report = made.wait_closed()

    early = {
        entry["ordinal"]
        for entry in made.simulator.received(made.send_id)
        if datetime.fromisoformat(entry["at"]) < end
    }
    assert early == set(range(121, 301))
    assert (waiting["owed"], waiting["deferred"]) == (120, {"quiet_hours": 120})
    assert waiting["balanced"], waiting["problems"]
    assert made.copies() == dict.fromkeys(range(1, 301), 1)
    assert (report["accepted"], report["deferred"]) == (300, {})
    assert report["balanced"], report["problems"]


def test_who_has_had_enough_today_is_skipped_and_who_is_refused_is_not_counted(
    make_scenario: MakeScenario,
) -> None:
    made = make_scenario()
    made.simulator.faults(
        {"provider": "sendgrid", "kind": "status", "status": 503, "at_request": [1]}
    )
    made.start_workers()
    made.draft(Draft(people=200))
    cap_the_first(made, 50)
    made.begin()

    report = made.wait_closed()

    assert report["skipped"] == {"capped": 50}
    assert report["accepted"] == 150
    assert set(made.copies()) == set(range(51, 201))
    assert made.values("SELECT DISTINCT used FROM cap_count") == [1]
    assert made.value("SELECT count(*) FROM cap_use") == 150
    assert report["balanced"], report["problems"]


def cap_the_first(made: Scenario, people: int) -> None:
    """One message a day; so many have had theirs, and tomorrow's: the test may run at midnight."""
    with made.engine.begin() as connection:
        today = clock(connection).astimezone(BERLIN).date()
        days = [(today + timedelta(days=more)).isoformat() for more in (0, 1)]
        connection.execute(
            text(
                "WITH made AS (INSERT INTO cap (team_id, most, over)"
                " SELECT id, 1, 'skip' FROM team RETURNING id)"
                " INSERT INTO cap_count (recipient_id, cap_id, window_key, used)"
                " SELECT r.id, made.id, day, 1 FROM made, recipient r, unnest(:days) AS day"
                " WHERE split_part(r.external_id, '-', 2)::integer <= :people"
            ),
            {"days": days, "people": people},
        )

"""The audit of caps: it balances after whatever was taken and handed back, and names what does not."""

from __future__ import annotations

from datetime import UTC, timedelta

import pytest
from sqlalchemy import Engine, text

from domain.cap import Over
from domain.identifier import RECIPIENT_PREFIX, public_id
from models.cap import NewCap, add_cap, caps_on
from models.cap_audit import cap_imbalances
from models.caps import CapMember, return_caps, take_caps
from models.database import clock

PEOPLE = (1, 2, 3)


@pytest.fixture
def send(engine: Engine, team: int) -> int:
    """A send that three people got under a cap a day and one of rolling hours, and one gave back.

    One of the uses is older than the rolling hours.
    """
    with engine.begin() as connection:
        for hours in (None, 24):
            new = NewCap(
                team_id=team,
                topic_id=None,
                message_class=None,
                channel=None,
                most=5,
                hours=hours,
                over=Over.SKIP,
            )
            add_cap(connection, new)
        caps = caps_on(
            connection, team_id=team, topic_id=None, message_class="marketing", channel="email"
        )
        key: int = connection.execute(text("SELECT key_at(now())")).scalar_one()
        now = clock(connection)
        for place, at in enumerate((now - timedelta(hours=30), now)):
            members = [CapMember(person, person, UTC) for person in PEOPLE]
            take_caps(connection, key + place, members, caps, at)
        return_caps(connection, key + 1, [3])
    return key


def problems(engine: Engine, team: int) -> list[str]:
    with engine.connect() as connection:
        return cap_imbalances(connection, team)


def test_what_was_taken_and_handed_back_balances(engine: Engine, team: int, send: int) -> None:
    assert problems(engine, team) == []


@pytest.mark.parametrize(
    ("breakage", "said"),
    [
        (
            "UPDATE cap_count SET used = used + 1 WHERE recipient_id = 2 AND cap_id = 1"
            " AND window_key = to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD')",
            "cap 1 counts 2 to {who}",
        ),
        (
            "UPDATE cap_count SET used = 0, used_at = '{}' WHERE recipient_id = 2 AND cap_id = 2",
            "cap 2 counts 0 to {who} (rolling), its uses are 1",
        ),
        (
            "DELETE FROM cap_count WHERE recipient_id = 2 AND cap_id = 2",
            "cap 2 counts 0 to {who} (rolling), its uses are 1",
        ),
        (
            "DELETE FROM cap_use WHERE recipient_id = 2 AND cap_id = 2",
            "cap 2 counts 1 to {who} (rolling), its uses are 0",
        ),
    ],
)
def test_a_count_that_is_not_that_of_its_uses_is_named(
    engine: Engine, team: int, send: int, breakage: str, said: str
) -> None:
    with engine.begin() as connection:
        assert connection.exec_driver_sql(breakage).rowcount >= 1

    (problem,) = problems(engine, team)

    assert problem.startswith(said.format(who=public_id(RECIPIENT_PREFIX, 2)))


def test_a_use_that_no_cap_counts_any_more_is_no_problem(
    engine: Engine, team: int, send: int
) -> None:
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM cap_count WHERE cap_id = 1"))
        connection.execute(text("DELETE FROM cap WHERE id = 1"))

    assert problems(engine, team) == []

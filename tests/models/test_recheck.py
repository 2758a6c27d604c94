"""What is looked at again when somebody's clock changes."""

from __future__ import annotations

from datetime import datetime

import pytest
from sqlalchemy import Engine, text

from models.database import in_transaction
from models.merge import merge
from models.recheck import recheck_local_sends, recheck_recipient, recheck_send
from models.recipient_edit import ProfileChange, edit_recipient
from models.team import default_team_id
from tests.builders import Draft, a_running_campaign, scalar, scalars

AT = datetime(2026, 12, 24, 18)  # noqa: DTZ001  on everybody's own clock


@pytest.fixture
def send(engine: Engine) -> int:
    """A campaign by local time, of which three batches wait."""
    made = a_running_campaign(engine, Draft(people=30, local_at=AT), batch_size=10)
    with engine.begin() as connection:
        connection.execute(text("UPDATE batch SET resume_at = now() + interval '5 hours'"))
    return made


def due(engine: Engine) -> list[int]:
    return list(scalars(engine, "SELECT lo FROM batch WHERE resume_at IS NULL ORDER BY lo"))


def person(engine: Engine, number: int) -> int:
    found: int = scalar(
        engine, "SELECT id FROM recipient WHERE external_id = :id", {"id": f"person-{number}"}
    )
    return found


def test_a_recipient_who_moved_makes_their_batch_due_alone(engine: Engine, send: int) -> None:
    with engine.begin() as connection:
        team = default_team_id(connection)
        edit_recipient(
            connection, team, person(engine, 15), ProfileChange(time_zone="Pacific/Auckland")
        )

    assert due(engine) == [11]


def test_an_edit_of_a_name_makes_nothing_due(engine: Engine, send: int) -> None:
    with engine.begin() as connection:
        team = default_team_id(connection)
        edit_recipient(connection, team, person(engine, 15), ProfileChange(first_name="Ada"))

    assert due(engine) == []


def test_who_was_merged_is_found_by_who_they_are_now(engine: Engine, send: int) -> None:
    gone, kept = person(engine, 25), person(engine, 1)
    with engine.begin() as connection:
        connection.execute(
            text("UPDATE recipient SET merged_into = :kept WHERE id = :gone"),
            {"kept": kept, "gone": gone},
        )

    found = in_transaction(engine, lambda c: recheck_recipient(c, kept))

    assert (due(engine), found.campaigns) == ([1, 21], [send])


def test_a_merge_looks_again_at_what_waits_for_either(engine: Engine, send: int) -> None:
    gone, kept = person(engine, 25), person(engine, 1)

    merged = in_transaction(engine, lambda c: merge(c, default_team_id(c), gone, kept))

    assert (due(engine), merged.rechecked.campaigns) == ([1, 21], [send])


def test_all_of_a_send_or_of_all_sends_by_local_time_is_due(engine: Engine, send: int) -> None:
    of_send = in_transaction(engine, lambda c: recheck_send(c, send))
    again = in_transaction(engine, lambda c: recheck_local_sends(c, default_team_id(c)))

    assert due(engine) == [1, 11, 21]
    assert (of_send.campaigns, of_send.parked, of_send.groups) == ([send], 0, [])
    assert again.campaigns == [], "they are due already"

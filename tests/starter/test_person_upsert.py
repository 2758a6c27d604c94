"""Many people in one transaction: as one after the other, and in statements that do not grow."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, event, text

from domain.send import Channel
from models.recipient_edit import ProfileChange, upsert_recipient
from models.team import default_team_id
from starter.person_roster import ReadyPerson
from starter.person_upsert import PersonGiven, UpsertedPerson, ready, upsert_many, upsert_one

EMAIL, SMS = Channel.EMAIL, Channel.SMS


def statements_of(engine: Engine, people: Sequence[ReadyPerson]) -> int:
    """How many statements an upsert of these takes."""
    seen: list[str] = []
    with engine.begin() as connection:
        event.listen(connection, "before_cursor_execute", lambda *given: seen.append(given[2]))
        answers = upsert_many(connection, default_team_id(connection), people)
        assert not any(isinstance(answer, Exception) for answer in answers)
    return len(seen)


def crowd(name: str, size: int, **given: Any) -> list[ReadyPerson]:
    return [
        ready(
            PersonGiven(
                external_id=f"{name}-{n}",
                addresses={EMAIL: f"{name}-{n}@example.org", SMS: f"+4366012{n:05}"},
                attributes={"n": n},
                **given,
            )
        )
        for n in range(size)
    ]


def test_a_thousand_people_take_as_many_statements_as_two(engine: Engine) -> None:
    zone = {"time_zone": "Asia/Tokyo"}

    few_made = statements_of(engine, crowd("few", 2))
    many_made = statements_of(engine, crowd("many", 1000))
    few_changed = statements_of(engine, crowd("few", 2, texts=zone))
    many_changed = statements_of(engine, crowd("many", 1000, texts=zone))

    assert (many_made, many_changed) == (few_made, few_changed)
    assert max(many_made, many_changed) <= 15


def a_wish(choose: random.Random) -> ReadyPerson | Exception:
    """One of few people, addresses and values, so that wishes meet."""
    if choose.random() < 0.05:
        return ValueError("refused before")
    external_id = choose.choice([None, "a", "b", "c", "old"])
    addresses = {}
    if external_id is None or choose.random() < 0.7:
        addresses[EMAIL] = choose.choice([f"{name}@example.org" for name in "uvwx"])
    if choose.random() < 0.3:
        addresses[SMS] = choose.choice(["+436601234567", "+436601234568"])
    return ReadyPerson(
        external_id=external_id,
        addresses=addresses,
        change=ProfileChange(
            first_name=choose.choice([None, "Ada", ""]),
            locale=choose.choice([None, "de_AT", ""]),
            time_zone=choose.choice([None, "Asia/Tokyo", ""]),
            preferred_channels=choose.choice([None, [], [SMS, EMAIL]]),
            attributes=choose.choice([None, {"p": 1, "q": "x"}, {"p": None}, {"q": True}]),
        ),
    )


def some_are_there(connection: Connection, team: int, choose: random.Random) -> None:
    """People with further addresses, shared ones, without external ids, merged into others."""
    for wish in (a_wish(choose) for _ in range(choose.randrange(6))):
        if isinstance(wish, ReadyPerson):
            upsert_many(connection, team, [wish])
    connection.execute(
        text(
            "INSERT INTO contact_point (team_id, recipient_id, channel, address, rank)"
            " SELECT :team, r.id, 'email', x.address, x.rank FROM recipient r,"
            " (VALUES ('x@example.org', 1), ('further@example.org', 2)) AS x(address, rank)"
            " WHERE r.first_name = '' AND EXISTS (SELECT FROM contact_point c WHERE c.recipient_id = r.id"
            "  AND c.channel = 'email' AND c.rank = 0 AND c.address <> 'x@example.org')"
        ),
        {"team": team},
    )
    kept = upsert_recipient(connection, team, "a", ProfileChange()).id
    gone = upsert_recipient(connection, team, "old", ProfileChange()).id
    connection.execute(
        text("UPDATE recipient SET merged_into = :kept WHERE id = :gone"),
        {"kept": kept, "gone": gone},
    )


def all_people(connection: Connection) -> list[Any]:
    """Everything about everybody but ids and times, which are not given twice."""
    rows = connection.execute(
        text(
            "SELECT row_number() OVER (ORDER BY r.id), r.external_id, r.first_name, r.last_name,"
            " r.locale, r.time_zone, r.attributes, r.preferred_channels, r.merged_into IS NULL,"
            " ARRAY(SELECT c.channel || c.rank || c.address || c.state FROM contact_point c"
            "  WHERE c.recipient_id = r.id ORDER BY c.channel, c.rank),"
            " (SELECT attribute_names FROM team WHERE id = r.team_id) FROM recipient r ORDER BY r.id"
        )
    )
    return [tuple(row) for row in rows]


def answered(
    connection: Connection, answers: Sequence[UpsertedPerson | Exception]
) -> list[tuple[Any, ...]]:
    ids = list(connection.execute(text("SELECT id FROM recipient ORDER BY id")).scalars())
    return [
        (type(one), str(one)) if isinstance(one, Exception) else (ids.index(one.id), one.is_new)
        for one in answers
    ]


@pytest.mark.parametrize("first_seed", [0, 20, 40])
def test_what_is_asked_for_at_once_comes_out_as_one_after_the_other(
    engine: Engine, first_seed: int
) -> None:
    for seed in range(first_seed, first_seed + 20):
        at_once, one_by_one = (outcome(engine, seed, at_once=how) for how in (True, False))

        assert at_once == one_by_one, f"seed {seed}"


def outcome(engine: Engine, seed: int, *, at_once: bool) -> tuple[list[Any], list[Any]]:
    """What is answered to some wishes, and whom there are then; nothing of it stays."""
    choose = random.Random(seed)
    with engine.connect() as connection:
        team = default_team_id(connection)
        some_are_there(connection, team, choose)
        wishes = [a_wish(choose) for _ in range(12)]
        answers = (
            upsert_many(connection, team, wishes)
            if at_once
            else [upsert_many(connection, team, [wish])[0] for wish in wishes]
        )
        return answered(connection, answers), all_people(connection)


def test_who_was_made_by_others_meanwhile_is_changed_and_not_made_twice(engine: Engine) -> None:
    """The command line does not wait for the locks of the API: it may come between read and write."""
    made_by_others: list[int] = []
    wish = ready(PersonGiven(external_id="ada", texts={"first_name": "Ada"}))

    def others_come_first(_: Any, __: Any, statement: str, *___: Any) -> None:
        if statement.startswith("INSERT INTO recipient (id,") and not made_by_others:
            with engine.begin() as other:
                team = default_team_id(other)
                made_by_others.append(upsert_recipient(other, team, "ada", ProfileChange()).id)

    with engine.begin() as connection:
        event.listen(connection, "before_cursor_execute", others_come_first)
        made = upsert_one(connection, default_team_id(connection), wish)

        assert [made.id] == made_by_others
        assert not made.is_new
        assert [row[2] for row in all_people(connection)] == ["Ada"]

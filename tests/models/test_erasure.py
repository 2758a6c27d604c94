"""Erasure: what goes, what stays as numbers, and what a hash still stops."""

from __future__ import annotations

import threading

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import ProgrammingError

from domain.outcome import Reason
from domain.send import Channel
from models.contact import UnknownContact, add_contact
from models.database import connect
from models.erasure import Erased, erase
from models.export import export_parts
from models.facts import read_people, send_facts
from models.merge import merge
from models.recipient_edit import ProfileChange, upsert_recipient
from models.recipient_import import import_session
from models.suppression import suppress
from tests.builders import Draft, a_running_campaign, people, scalar, scalars

FIRST = "person-1@example.com"


def of(engine: Engine, external_id: str = "person-1") -> int:
    found: int = scalar(
        engine, "SELECT id FROM recipient WHERE external_id = :id", {"id": external_id}
    )
    return found


def erased(engine: Engine, team: int, recipient: int) -> Erased:
    with engine.begin() as connection:
        return erase(connection, team, recipient)


def suppressed(engine: Engine, team: int, address: str, reason: str = "hard_bounce") -> int:
    with engine.begin() as connection:
        return suppress(connection, team, {address: reason}, channel=Channel.EMAIL, source="test")


def verdicts(engine: Engine, send_id: int) -> list[int]:
    with engine.begin() as connection:
        found = read_people(connection, send_facts(connection, send_id), range(1, 4))
    return [person.verdict for person in found]


def test_nothing_about_the_person_is_left_in_any_table(engine: Engine, team: int) -> None:
    send_id = a_running_campaign(engine, Draft(people=3))
    suppressed(engine, team, FIRST)
    with engine.begin() as connection:
        connection.execute(text('UPDATE message SET variables = \'{"code": "secret-1"}\''))
        connection.execute(text('UPDATE subscription SET details = \'{"note": "secret-1"}\''))
    recipient = of(engine)

    done = erased(engine, team, recipient)

    assert done == Erased(
        recipients=1, contact_points=1, suppressions=1, subscriptions=1, messages=1
    )
    for table in ("recipient", "contact_point", "subscription", "suppression", "message"):
        where = "id" if table == "recipient" else "recipient_id"
        some = "" if table == "suppression" else f" WHERE {where} = {recipient}"
        rows = str(scalars(engine, f"SELECT CAST(t AS text) FROM {table} t{some}"))
        for word in ("person-1", "First1", "Last1", "secret-1", "Berlin", "p1"):
            assert word not in rows, (table, word)
    assert scalar(engine, "SELECT messages FROM send WHERE id = :id", {"id": send_id}) == 3
    assert scalar(engine, "SELECT count(*) FROM message") == 3


def test_running_work_skips_the_person_and_nobody_else(engine: Engine, team: int) -> None:
    send_id = a_running_campaign(engine, Draft(people=3))

    erased(engine, team, of(engine))

    assert verdicts(engine, send_id) == [Reason.ERASED, Reason.NONE, Reason.NONE]


def test_a_person_who_is_erased_again_stays_as_they_are(engine: Engine, team: int) -> None:
    with engine.begin() as connection:
        people(connection, 1)
    recipient = of(engine)
    erased(engine, team, recipient)
    first = scalar(engine, "SELECT erased_at FROM recipient")

    again = erased(engine, team, recipient)

    assert again.recipients == 0
    assert scalar(engine, "SELECT erased_at FROM recipient") == first


def test_who_was_merged_into_the_person_is_erased_too(engine: Engine, team: int) -> None:
    with engine.begin() as connection:
        people(connection, 3)
    first, second = of(engine), of(engine, "person-2")
    with engine.begin() as connection:
        merge(connection, team, second, first)

    done = erased(engine, team, first)

    assert (done.recipients, done.contact_points) == (2, 2)
    names = scalars(engine, "SELECT first_name FROM recipient ORDER BY id")
    assert list(names) == ["", "", "First3"]


def test_who_had_left_keeps_the_evidence_and_the_others_leave_as_erased(
    engine: Engine, team: int
) -> None:
    with engine.begin() as connection:
        people(connection, 1)
        people_left = people(connection, 0, topic="other")
        connection.execute(
            text(
                "INSERT INTO subscription (topic_id, channel, recipient_id, state, source)"
                " SELECT :topic, 'email', id, 'left', 'unsubscribe link' FROM recipient"
            ),
            {"topic": people_left},
        )

    erased(engine, team, of(engine))

    states = scalars(engine, "SELECT state || ' ' || source FROM subscription ORDER BY topic_id")
    assert list(states) == ["left erased", "left unsubscribe link"]
    events = scalars(
        engine,
        "SELECT from_state || ' ' || source FROM consent_event WHERE to_state = 'left'"
        " AND from_state IS NOT NULL",
    )
    assert list(events) == ["subscribed erased"]


def test_the_hash_still_stops_the_address_when_somebody_brings_it_again(
    engine: Engine, team: int
) -> None:
    send_id = a_running_campaign(engine, Draft(people=3))
    suppressed(engine, team, FIRST)
    erased(engine, team, of(engine))
    with engine.begin() as connection:
        add_contact(connection, of(engine, "person-2"), Channel.EMAIL, FIRST, first=True)

    assert verdicts(engine, send_id) == [Reason.ERASED, Reason.SUPPRESSED, Reason.NONE]
    assert suppressed(engine, team, FIRST, "manual") == 0
    assert list(scalars(engine, "SELECT reason FROM suppression")) == ["hard_bounce"]


def test_another_person_with_the_same_address_stays_suppressed(engine: Engine, team: int) -> None:
    send_id = a_running_campaign(engine, Draft(people=3))
    with engine.begin() as connection:
        add_contact(connection, of(engine, "person-3"), Channel.EMAIL, FIRST, first=True)
    suppressed(engine, team, FIRST)

    erased(engine, team, of(engine))

    assert verdicts(engine, send_id) == [Reason.ERASED, Reason.NONE, Reason.SUPPRESSED]


def test_the_hash_is_the_keys_own_and_a_session_without_the_key_fails_where_one_is_compared(
    engine: Engine, team: int
) -> None:
    send_id = a_running_campaign(engine, Draft(people=3))
    suppressed(engine, team, FIRST)
    url = engine.url.render_as_string(hide_password=False)
    keyless, other = connect(url), connect(url, address_key="ab" * 32)

    assert len(verdicts(keyless, send_id)) == 3
    erased(engine, team, of(engine))

    with pytest.raises(ProgrammingError, match=r"carillon\.address_key"):
        verdicts(keyless, send_id)
    (hashed,) = scalars(engine, "SELECT address FROM suppression")
    assert hashed == scalar(engine, "SELECT hashed_address(:a)", {"a": FIRST})
    assert hashed != scalar(other, "SELECT hashed_address(:a)", {"a": FIRST})
    keyless.dispose()
    other.dispose()


def test_nothing_can_be_given_to_somebody_who_is_erased(engine: Engine, team: int) -> None:
    with engine.begin() as connection:
        recipient = upsert_recipient(connection, team, "ada", ProfileChange()).id
        erase(connection, team, recipient)

    with pytest.raises(UnknownContact), engine.begin() as connection:
        add_contact(connection, recipient, Channel.EMAIL, "ada@example.org")
    with engine.begin() as connection:
        again = upsert_recipient(connection, team, "ada", ProfileChange(first_name="Ada"))
    assert again.is_new
    assert again.id != recipient


def test_an_erasure_waits_for_an_import_that_is_under_way(engine: Engine, team: int) -> None:
    """The import knows already whom its rows mean: it would give the person their address back."""
    with engine.begin() as connection:
        people(connection, 1)
    thread = threading.Thread(target=erased, args=(engine, team, of(engine)))

    with import_session(engine, team):
        thread.start()
        thread.join(0.3)
        assert thread.is_alive()
    thread.join(5)

    assert scalar(engine, "SELECT erased_at FROM recipient") is not None


def test_variables_of_a_request_go_once_all_its_people_are_erased(
    engine: Engine, team: int
) -> None:
    send_id = a_running_campaign(engine, Draft(people=2))
    with engine.begin() as connection:
        connection.execute(
            text("UPDATE send SET kind = 'request', variables = '{\"code\": \"7\"}'")
        )

    erased(engine, team, of(engine))
    kept = scalar(engine, "SELECT variables FROM send WHERE id = :id", {"id": send_id})
    erased(engine, team, of(engine, "person-2"))
    left = scalar(engine, "SELECT variables FROM send WHERE id = :id", {"id": send_id})

    assert (kept, left) == ({"code": "7"}, {})


def test_an_export_has_everything_about_the_person_and_those_merged_into_them(
    engine: Engine, team: int
) -> None:
    a_running_campaign(engine, Draft(people=3))
    first, second = of(engine), of(engine, "person-2")
    with engine.begin() as connection:
        merge(connection, team, second, first)

    with engine.connect() as connection:
        parts = {name: list(rows) for name, rows in export_parts(connection, first)}

    assert [each["external_id"] for each in parts["recipients"]] == ["person-1", "person-2"]
    assert parts["recipients"][1]["merged_into"] == parts["recipients"][0]["id"]
    assert [each["address"] for each in parts["contact_points"]] == [
        "person-1@example.com",
        "person-2@example.com",
    ]
    assert [each["send"][:4] for each in parts["messages"]] == ["snd_", "snd_"]
    assert {each["to_state"] for each in parts["consent_history"]} == {"subscribed", "left"}
    assert parts["in_app_items"] == []

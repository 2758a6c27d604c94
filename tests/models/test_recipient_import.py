"""Staging and writing of imported recipients, beside others who write."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest
from sqlalchemy import Engine, text

from domain.contact import ContactState
from domain.send import Channel, SubscriptionState
from models.contact import add_contact, contacts, set_contact_state
from models.recipient_edit import ProfileChange, Upserted, upsert_recipient
from models.recipient_import import (
    Counts,
    Joining,
    StagedRow,
    Staging,
    import_session,
    joining,
    staging_tables,
)
from models.recipient_match import resolve
from models.topic import add_topic, leave_topic


def a_row(line: int = 2, email: str = "ada@example.org", **fields: str) -> StagedRow:
    empty = dict.fromkeys(StagedRow._fields[1:], "")
    return StagedRow(line=line, **{**empty, "email": email, **fields})


@pytest.fixture
def write(engine: Engine, team: int) -> Callable[..., Counts]:
    """Stages and writes rows in one chunk."""

    def run(*rows: StagedRow, into: Joining | None = None) -> Counts:
        with import_session(engine, team) as session, staging_tables(session, team) as staging:
            staging.copy(session, list(rows))
            people = resolve(session, staging)
            session.commit()
            with engine.begin() as connection:
                return staging.write(connection, 0, people, into)

    return run


@pytest.mark.parametrize(
    "name",
    ["\\", "\\N", "\\.", "a\tb", "a\nb", "a\r\nb", "\\t", "{}", "'; --", "Ωé𝔘", "%s", ":x", " "],
)
def test_any_text_is_stored_as_it_is(
    engine: Engine, write: Callable[..., Counts], name: str
) -> None:
    write(a_row(first_name=name, attributes='{"a":"\\\\ \\" \\n \\t"}'))

    with engine.connect() as connection:
        found = connection.execute(text("SELECT first_name, attributes FROM recipient")).one()
    assert tuple(found) == (name, {"a": '\\ " \n \t'})


def test_tables_that_a_killed_import_left_are_replaced(engine: Engine, team: int) -> None:
    with engine.connect() as session:
        left = Staging(team)
        left.make(session)
        left.copy(session, [a_row(email="old@example.org")])
        resolve(session, left)
        session.commit()

    with import_session(engine, team) as session, staging_tables(session, team) as staging:
        assert resolve(session, staging) == 0


def test_imports_of_a_team_run_one_after_the_other(engine: Engine, team: int) -> None:
    entered = threading.Event()

    def second() -> None:
        with import_session(engine, team):
            entered.set()

    with import_session(engine, team):
        thread = threading.Thread(target=second)
        thread.start()
        assert not entered.wait(0.3)
    thread.join(5)

    assert entered.is_set()


def test_the_lock_is_free_after_an_import_that_failed(engine: Engine, team: int) -> None:
    with pytest.raises(ZeroDivisionError), import_session(engine, team):
        raise ZeroDivisionError

    with import_session(engine, team):
        pass


def test_who_leaves_while_the_chunk_is_written_stays_away(
    engine: Engine, team: int, write: Callable[..., Counts]
) -> None:
    with engine.begin() as connection:
        topic = add_topic(connection, team, "news", "News", "double")
        into = joining(connection, topic, brings_back=False)
    assert into.state is SubscriptionState.PENDING
    write(a_row(), into=into)
    confirmed = Joining(topic_id=topic, state=SubscriptionState.SUBSCRIBED, brings_back=False)

    with engine.connect() as leaving:
        recipient = leaving.execute(text("SELECT id FROM recipient")).scalar_one()
        leave_topic(
            leaving, topic=topic, recipient_id=recipient, channel=Channel.EMAIL, source="link"
        )
        thread = threading.Thread(target=write, args=(a_row(),), kwargs={"into": confirmed})
        thread.start()
        _wait_for_a_waiter(engine)
        leaving.commit()
        thread.join(5)

    with engine.connect() as connection:
        state = connection.execute(text("SELECT state, source FROM subscription")).one()
    assert tuple(state) == ("left", "link")


def _wait_for_a_waiter(engine: Engine) -> None:
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        for _ in range(500):
            if connection.execute(
                text(
                    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
                    " AND wait_event_type = 'Lock'"
                )
            ).scalar_one():
                return
            time.sleep(0.01)
    pytest.fail("nobody waits")


def test_who_was_merged_into_another_is_updated_there(
    engine: Engine, write: Callable[..., Counts]
) -> None:
    write(a_row(external_id="old"), a_row(3, "new@example.org"))
    with engine.begin() as connection:
        connection.execute(
            text(
                "UPDATE recipient SET merged_into = (SELECT max(id) FROM recipient)"
                " WHERE external_id = 'old'"
            )
        )

    counts = write(a_row(email="new@example.org", external_id="old", first_name="Ada"))

    assert (counts.added, counts.updated) == (0, 1)
    with engine.connect() as connection:
        found = connection.execute(
            text("SELECT external_id, first_name FROM recipient ORDER BY id")
        )
        assert [tuple(row) for row in found] == [("old", ""), (None, "Ada")]


def test_an_address_that_was_a_further_one_is_the_one_in_use_and_not_there_twice(
    engine: Engine, write: Callable[..., Counts]
) -> None:
    write(a_row(external_id="ada", email="old@example.org"))
    with engine.begin() as connection:
        ada = connection.execute(text("SELECT id FROM recipient")).scalar_one()
        for name in ("new", "third"):
            add_contact(connection, ada, Channel.EMAIL, f"{name}@example.org")
        set_contact_state(connection, ada, Channel.EMAIL, "old@example.org", ContactState.VERIFIED)

    counts = write(a_row(external_id="ada", email="new@example.org"))

    assert counts.updated == 1
    with engine.connect() as connection:
        found = [(each.address, each.state) for each in contacts(connection, ada)]
    assert found == [
        ("new@example.org", ContactState.UNVERIFIED),
        ("third@example.org", ContactState.UNVERIFIED),
    ]


def test_a_new_person_waits_for_the_import_that_may_add_them(engine: Engine, team: int) -> None:
    made: list[Upserted] = []

    def make() -> None:
        with engine.begin() as connection:
            made.append(upsert_recipient(connection, team, "ada", ProfileChange()))

    thread = threading.Thread(target=make)
    with import_session(engine, team):
        thread.start()
        thread.join(0.3)
        assert thread.is_alive()
    thread.join(5)

    assert [each.is_new for each in made] == [True]

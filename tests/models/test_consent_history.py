"""Every change of a subscription is in the history of consent, whoever makes it."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine, text

from domain.send import Channel, SubscriptionState
from models.recipient_edit import ProfileChange, upsert_recipient
from models.recipient_import import StagedRow, import_session, joining, staging_tables
from models.recipient_match import resolve
from models.topic import add_topic, join_topic, leave_topic

E = Channel.EMAIL


def events(engine: Engine) -> list[tuple[str | None, str, str]]:
    with engine.connect() as connection:
        rows = connection.execute(
            text("SELECT from_state, to_state, source FROM consent_event ORDER BY id")
        )
        return [(row[0], row[1], row[2]) for row in rows]


def test_joining_leaving_and_joining_again_are_three_events_and_no_change_is_none(
    engine: Engine, team: int
) -> None:
    with engine.begin() as connection:
        topic = add_topic(connection, team, "news", "News", "explicit")
        who = upsert_recipient(connection, team, "ada", ProfileChange()).id

        def join() -> SubscriptionState:
            return join_topic(connection, topic=topic, recipient_id=who, channel=E, source="api")

        def leave() -> bool:
            return leave_topic(connection, topic=topic, recipient_id=who, channel=E, source="link")

        assert not leave()
        assert [join(), join()] == [SubscriptionState.SUBSCRIBED] * 2
        assert (leave(), leave()) == (True, False)
        join()

    assert events(engine) == [
        (None, "subscribed", "api"),
        ("subscribed", "left", "link"),
        ("left", "subscribed", "api"),
    ]


def test_joining_a_topic_with_double_opt_in_waits_for_the_confirmation(
    engine: Engine, team: int
) -> None:
    with engine.begin() as connection:
        topic = add_topic(connection, team, "news", "News", "double")
        who = upsert_recipient(connection, team, "ada", ProfileChange()).id
        state = join_topic(connection, topic=topic, recipient_id=who, channel=E, source="api")

    assert state is SubscriptionState.PENDING


def test_an_import_writes_an_event_for_each_change_and_none_the_second_time(
    engine: Engine, team: int
) -> None:
    with engine.begin() as connection:
        topic = add_topic(connection, team, "news", "News", "explicit")

    def run(subscribed: str, people: int = 3000) -> None:
        empty = dict.fromkeys(StagedRow._fields[1:], "")
        rows = [
            StagedRow(line=n, **{**empty, "email": f"p{n}@example.org", "subscribed": subscribed})
            for n in range(2, people + 2)
        ]
        with import_session(engine, team) as session, staging_tables(session, team) as staging:
            staging.copy(session, rows)
            found = resolve(session, staging)
            into = joining(session, topic, brings_back=False)
            session.commit()
            with engine.begin() as connection:
                staging.write(connection, 0, found, into)

    run("")
    run("")
    assert events(engine) == [(None, "subscribed", "import")] * 3000
    run("false")
    assert events(engine)[3000:] == [("subscribed", "left", "import")] * 3000


def test_the_history_is_only_added_to(engine: Engine, team: int) -> None:
    with engine.begin() as connection:
        topic = add_topic(connection, team, "news", "News", "explicit")
        who = upsert_recipient(connection, team, "ada", ProfileChange()).id
        join_topic(connection, topic=topic, recipient_id=who, channel=E, source="api")

    for statement in ("UPDATE consent_event SET source = 'x'", "DELETE FROM consent_event"):
        with pytest.raises(Exception, match="only added to"), engine.begin() as connection:
            connection.execute(text(statement))

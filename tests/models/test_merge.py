"""Merging two recipients: what comes over, what stays, and who is found afterwards."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import Connection, Engine, text

from domain.contact import ContactState
from domain.identifier import Reference
from domain.send import Channel
from models.contact import add_contact, contacts, set_contact_state
from models.merge import MergeRefused, merge
from models.recipient_edit import ProfileChange, upsert_recipient
from models.recipient_identity import UnknownRecipient, find_recipient, resolve_recipient
from models.suppression import suppress
from models.topic import add_topic, join_topic, leave_topic
from models.unsubscribe import find_linked
from tests.builders import Draft, a_running_campaign

E = Channel.EMAIL


@pytest.fixture
def connection(engine: Engine) -> Iterator[Connection]:
    with engine.begin() as made:
        yield made


@pytest.fixture
def ada(connection: Connection, team: int) -> int:
    change = ProfileChange(first_name="Ada", attributes={"plan": "gold"})
    return upsert_recipient(connection, team, "ada", change).id


@pytest.fixture
def old(connection: Connection, team: int) -> int:
    change = ProfileChange(
        first_name="A.", last_name="Lovelace", attributes={"plan": "free", "city": "London"}
    )
    return upsert_recipient(connection, team, "old", change).id


def state(connection: Connection, recipient: int, topic: int) -> str:
    found: str = connection.execute(
        text("SELECT state FROM subscription WHERE recipient_id = :r AND topic_id = :t"),
        {"r": recipient, "t": topic},
    ).scalar_one()
    return found


def test_addresses_that_are_not_there_yet_move_behind_those_that_are(
    connection: Connection, team: int, ada: int, old: int
) -> None:
    add_contact(connection, ada, E, "a@example.org")
    for name in ("x", "a", "y"):
        add_contact(connection, old, E, f"{name}@example.org")
    add_contact(connection, old, Channel.SMS, "+436601234567")
    set_contact_state(connection, old, E, "a@example.org", ContactState.VERIFIED)

    merged = merge(connection, team, old, ada)

    assert merged.contact_points == 3
    emails = contacts(connection, ada, E)
    assert [each.address for each in emails] == ["a@example.org", "x@example.org", "y@example.org"]
    assert emails[0].state is ContactState.VERIFIED
    assert [each.rank for each in contacts(connection, ada, Channel.SMS)] == [0]
    assert contacts(connection, old) == []


def test_what_the_one_who_is_left_says_nothing_about_is_taken_from_the_other(
    connection: Connection, team: int, ada: int, old: int
) -> None:
    merge(connection, team, old, ada)

    row = connection.execute(text("SELECT * FROM recipient WHERE id = :id"), {"id": ada}).one()
    assert (row.first_name, row.last_name) == ("Ada", "Lovelace")
    assert row.attributes == {"plan": "gold", "city": "London"}


def test_a_consent_comes_over_and_the_other_one_ends(
    connection: Connection, team: int, ada: int, old: int
) -> None:
    topic = add_topic(connection, team, "news", "News", "explicit")
    join_topic(connection, topic=topic, recipient_id=old, channel=E, source="import")

    assert merge(connection, team, old, ada).subscriptions == 1

    assert (state(connection, ada, topic), state(connection, old, topic)) == ("subscribed", "left")
    sources = connection.execute(
        text("SELECT source FROM subscription ORDER BY recipient_id = :ada"), {"ada": ada}
    ).scalars()
    assert list(sources) == ["merge", "merge: import"]


def test_who_has_left_stays_away_though_the_other_was_subscribed(
    connection: Connection, team: int, ada: int, old: int
) -> None:
    topic = add_topic(connection, team, "news", "News", "explicit")
    for who in (ada, old):
        join_topic(connection, topic=topic, recipient_id=who, channel=E, source="import")
    leave_topic(connection, topic=topic, recipient_id=old, channel=E, source="link")

    merge(connection, team, old, ada)

    assert state(connection, ada, topic) == "left"


def test_suppressions_and_messages_stay_what_they_are(
    connection: Connection, team: int, ada: int, old: int
) -> None:
    suppress(connection, team, {"x@example.org": "manual"}, channel=E, source="test")
    connection.execute(
        text(
            "INSERT INTO message (send_id, ordinal, recipient_id)"
            " VALUES (key_at(now()), 1, :old), (key_at(now()) + 1, 1, :ada)"
        ),
        {"old": old, "ada": ada},
    )

    merge(connection, team, old, ada)

    owners = connection.execute(text("SELECT recipient_id FROM message ORDER BY send_id"))
    assert list(owners.scalars()) == [old, ada]
    assert connection.execute(text("SELECT address FROM suppression")).scalar() == "x@example.org"


def test_who_is_merged_is_found_as_who_they_are_also_over_two_merges(
    connection: Connection, team: int, ada: int, old: int
) -> None:
    oldest = upsert_recipient(connection, team, "oldest", ProfileChange()).id
    merge(connection, team, oldest, old)
    merge(connection, team, old, ada)

    assert [resolve_recipient(connection, team, name) for name in ("ada", "old", "oldest")] == [
        ada
    ] * 3
    assert not upsert_recipient(connection, team, "oldest", ProfileChange(locale="en")).is_new
    targets = connection.execute(
        text("SELECT DISTINCT merged_into FROM recipient WHERE id <> :a"), {"a": ada}
    )
    assert list(targets.scalars()) == [ada]


def test_the_link_in_an_old_mail_ends_the_subscription_of_who_they_are_now(
    engine: Engine, team: int
) -> None:
    send_id = a_running_campaign(engine, Draft(people=2))
    with engine.begin() as connection:
        first, second = connection.execute(text("SELECT id FROM recipient ORDER BY id")).scalars()
        merge(connection, team, first, second)

        linked = find_linked(connection, Reference(send_id=send_id, ordinal=1))

    assert linked is not None
    assert linked.recipient_id == second


def test_a_circle_of_merges_finds_nobody_and_ends(
    connection: Connection, team: int, ada: int, old: int
) -> None:
    connection.execute(
        text("UPDATE recipient SET merged_into = CASE id WHEN :ada THEN :old ELSE :ada END"),
        {"ada": ada, "old": old},
    )

    assert resolve_recipient(connection, team, "ada") is None
    with pytest.raises(UnknownRecipient):
        find_recipient(connection, team, "ada")


def test_nobody_is_merged_into_themselves_into_somebody_merged_or_when_erased(
    connection: Connection, team: int, ada: int, old: int
) -> None:
    with pytest.raises(MergeRefused, match="one recipient already"):
        merge(connection, team, ada, ada)
    merge(connection, team, old, ada)
    with pytest.raises(MergeRefused, match="just been merged"):
        merge(connection, team, ada, old)
    connection.execute(text("UPDATE recipient SET erased_at = now(), merged_into = NULL"))
    with pytest.raises(MergeRefused, match="erased"):
        merge(connection, team, ada, old)

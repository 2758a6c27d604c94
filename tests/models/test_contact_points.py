"""Contact points of one recipient: ranks, states, and push tokens by their vendors' rules."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from sqlalchemy import Connection, Engine, text

from domain.contact import ContactState
from domain.send import Channel
from models.contact import (
    UnknownContact,
    add_contact,
    contacts,
    order_contacts,
    remove_contact,
    replace_contact,
    set_contact_state,
)
from models.database import in_transaction
from models.push_token import register_push_token, remove_push_token, replace_push_token
from models.recipient_edit import ProfileChange, edit_recipient, upsert_recipient
from tests.builders import scalar

E = Channel.EMAIL


@pytest.fixture
def connection(engine: Engine) -> Iterator[Connection]:
    with engine.begin() as made:
        yield made


@pytest.fixture
def ada(connection: Connection, team: int) -> int:
    return upsert_recipient(connection, team, "ada", ProfileChange(first_name="Ada")).id


@pytest.fixture
def bob(connection: Connection, team: int) -> int:
    return upsert_recipient(connection, team, "bob", ProfileChange()).id


def addresses(connection: Connection, recipient: int, channel: Channel = E) -> list[str]:
    """In the order of their ranks, the first of which must be 0."""
    found = contacts(connection, recipient, channel)
    assert [contact.rank for contact in found[:1]] in ([], [0])
    return [contact.address for contact in found]


def test_a_recipient_is_made_once_and_then_changed_where_something_was_given(
    connection: Connection, team: int
) -> None:
    first = upsert_recipient(
        connection,
        team,
        "ada",
        ProfileChange(first_name="Ada", attributes={"plan": "p", "age": 36}),
    )
    again = upsert_recipient(
        connection,
        team,
        "ada",
        ProfileChange(
            locale="de_AT",
            preferred_channels=[Channel.SMS, Channel.EMAIL],
            attributes={"plan": None, "city": "Wien"},
        ),
    )

    assert (first.is_new, again.is_new, again.id) == (True, False, first.id)
    row = connection.execute(text("SELECT * FROM recipient")).mappings().one()
    assert (row["first_name"], row["locale"], row["time_zone"]) == ("Ada", "de_AT", None)
    assert row["attributes"] == {"age": 36, "city": "Wien"}
    assert row["preferred_channels"] == ["sms", "email"]


def test_a_change_that_changes_nothing_is_told_and_not_written(
    connection: Connection, team: int, ada: int
) -> None:
    assert not edit_recipient(connection, team, ada, ProfileChange(first_name="Ada"))
    assert not edit_recipient(connection, team, ada, ProfileChange())
    assert edit_recipient(connection, team, ada, ProfileChange(locale="de"))
    assert edit_recipient(connection, team, ada, ProfileChange(locale=""))


def test_addresses_come_behind_those_that_are_there_and_none_twice(
    connection: Connection, ada: int
) -> None:
    first = add_contact(connection, ada, E, "a@example.org")
    add_contact(connection, ada, E, "b@example.org")
    add_contact(connection, ada, E, "c@example.org", first=True)

    assert add_contact(connection, ada, E, "a@example.org") == first
    assert addresses(connection, ada) == ["c@example.org", "a@example.org", "b@example.org"]


def test_where_the_address_in_use_is_removed_the_next_one_is_used(
    connection: Connection, ada: int
) -> None:
    for name in "abc":
        add_contact(connection, ada, E, f"{name}@example.org")

    assert remove_contact(connection, ada, E, "a@example.org")
    assert addresses(connection, ada) == ["b@example.org", "c@example.org"]
    assert not remove_contact(connection, ada, E, "a@example.org")


def test_replacing_takes_the_place_of_the_address_in_use_alone(
    connection: Connection, ada: int
) -> None:
    for name in "abc":
        add_contact(connection, ada, E, f"{name}@example.org")

    assert replace_contact(connection, ada, E, "c@example.org")
    assert addresses(connection, ada) == ["c@example.org", "b@example.org"]
    assert replace_contact(connection, ada, E, "d@example.org")
    assert addresses(connection, ada) == ["d@example.org", "b@example.org"]
    assert not replace_contact(connection, ada, E, "d@example.org")


def test_ranks_are_given_anew_and_an_address_nobody_has_is_refused(
    connection: Connection, ada: int
) -> None:
    for name in "abc":
        add_contact(connection, ada, E, f"{name}@example.org")

    order_contacts(connection, ada, E, ["c@example.org", "b@example.org"])

    assert addresses(connection, ada) == ["c@example.org", "b@example.org", "a@example.org"]
    with pytest.raises(UnknownContact):
        order_contacts(connection, ada, E, ["x@example.org"])


def test_a_state_is_noted_and_the_time_of_the_first_verification_kept(
    connection: Connection, ada: int
) -> None:
    add_contact(connection, ada, E, "a@example.org")
    assert contacts(connection, ada)[0].state is ContactState.UNVERIFIED

    for state in (ContactState.VERIFIED, ContactState.BOUNCED):
        set_contact_state(connection, ada, E, "a@example.org", state)

    (contact,) = contacts(connection, ada)
    assert (contact.state, contact.verified_at is not None) == (ContactState.BOUNCED, True)
    with pytest.raises(UnknownContact):
        set_contact_state(connection, ada, E, "x@example.org", ContactState.GONE)


def test_a_device_that_changes_hands_takes_its_token_along(
    connection: Connection, ada: int, bob: int
) -> None:
    register_push_token(connection, ada, "phone")
    register_push_token(connection, ada, "tablet")

    register_push_token(connection, bob, "phone")

    assert addresses(connection, ada, Channel.PUSH) == ["tablet"]
    assert addresses(connection, bob, Channel.PUSH) == ["phone"]


def test_a_token_that_is_renewed_keeps_its_place(
    connection: Connection, ada: int, bob: int
) -> None:
    register_push_token(connection, ada, "phone")
    register_push_token(connection, ada, "tablet")

    assert replace_push_token(connection, ada, "phone", "phone-2")
    assert addresses(connection, ada, Channel.PUSH) == ["phone-2", "tablet"]
    assert not replace_push_token(connection, bob, "phone-2", "phone-3")
    register_push_token(connection, bob, "watch")
    assert replace_push_token(connection, ada, "phone-2", "watch")
    assert addresses(connection, bob, Channel.PUSH) == []


def test_a_token_that_was_registered_after_the_vendor_says_it_is_gone_stays(
    connection: Connection, team: int, ada: int
) -> None:
    register_push_token(connection, ada, "phone")
    (contact,) = contacts(connection, ada, Channel.PUSH)
    before = contact.registered_at - timedelta(seconds=1)

    assert not remove_push_token(connection, team, "phone", gone_since=before)
    assert remove_push_token(connection, team, "phone", gone_since=contact.registered_at)
    assert addresses(connection, ada, Channel.PUSH) == []


def test_a_token_that_is_gone_at_no_known_time_is_removed_and_the_next_one_used(
    connection: Connection, team: int, ada: int
) -> None:
    register_push_token(connection, ada, "phone")
    register_push_token(connection, ada, "tablet")

    assert remove_push_token(connection, team, "phone")
    assert not remove_push_token(connection, team, "phone")
    assert addresses(connection, ada, Channel.PUSH) == ["tablet"]


def test_registering_again_makes_the_registration_younger(connection: Connection, ada: int) -> None:
    first = register_push_token(connection, ada, "phone")
    since = contacts(connection, ada, Channel.PUSH)[0].registered_at

    assert register_push_token(connection, ada, "phone") == first
    assert contacts(connection, ada, Channel.PUSH)[0].registered_at > since


def test_of_two_who_register_a_token_at_once_one_has_it(engine: Engine, team: int) -> None:
    with engine.begin() as connection:
        both = [
            upsert_recipient(connection, team, name, ProfileChange()).id for name in ("ada", "bob")
        ]

    def register(recipient: int) -> None:
        for _ in range(20):
            in_transaction(engine, lambda c: register_push_token(c, recipient, "phone"))

    with ThreadPoolExecutor(2) as devices:
        list(devices.map(register, both))

    assert scalar(engine, "SELECT count(*) FROM contact_point") == 1

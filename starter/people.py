"""The use cases of single recipients: look up, set, contact points, topics, merge, erase.

Texts from outside become their normal form here, or one sentence says what is wrong with them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from sqlalchemy import Connection, Engine

from domain.contact import ContactState, normalise_address
from domain.identifier import RECIPIENT_PREFIX
from domain.person import (
    InvalidValue,
    is_attribute_name,
    normalise_external_id,
    normalise_locale,
    normalise_time_zone,
)
from domain.send import Channel
from models.contact import add_contact, remove_contact, replace_contact, set_contact_state
from models.database import in_transaction
from models.erasure import Erased, erase
from models.export import profile
from models.merge import Merged, merge
from models.recipient_edit import ProfileChange, edit_recipient, upsert_recipient
from models.recipient_identity import find_recipient
from models.team import default_team_id
from models.topic import leave_topic, topic_id

SOURCE = "operator"


class ChangeRefused(Exception):
    """A change that cannot be done like this; the message is one sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonWish:
    """What `recipients set` was given, as it was written; None: nothing was said."""

    texts: Mapping[str, str] = field(default_factory=dict)
    """By name: first_name, last_name, locale, time_zone."""
    addresses: Mapping[Channel, str] = field(default_factory=dict)
    """The address to use on a channel; it replaces the one used so far."""
    preferred: Sequence[Channel] | None = None
    attributes: Sequence[str] = ()
    """NAME=VALUE each; NAME= removes it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """A recipient after a change."""

    is_new: bool
    profile: dict[str, Any]


def look_up(engine: Engine, given: str) -> int:
    """Id of the recipient meant by rcp_…, an external id or an address. Raises UnknownRecipient."""
    with engine.connect() as connection:
        return find_recipient(connection, default_team_id(connection), given)


def show(engine: Engine, given: str) -> dict[str, Any]:
    """The recipient's profile, addresses and subscriptions. Raises UnknownRecipient."""
    with engine.connect() as connection:
        return profile(connection, find_recipient(connection, default_team_id(connection), given))


def set_person(engine: Engine, who: str, wish: PersonWish) -> Person:
    """The recipient of the external id (made if there is none) or rcp_… with the wish fulfilled.

    Raises InvalidValue and UnknownRecipient, with nothing changed.
    """
    change = _change(wish)
    addresses = {
        channel: _named(channel, partial(normalise_address, channel), raw)
        for channel, raw in wish.addresses.items()
    }
    who = _external_id(who)

    def work(connection: Connection) -> Person:
        team = default_team_id(connection)
        if who.startswith(RECIPIENT_PREFIX):
            recipient_id, is_new = find_recipient(connection, team, who), False
            edit_recipient(connection, team, recipient_id, change)
        else:
            upserted = upsert_recipient(connection, team, who, change)
            recipient_id, is_new = upserted.id, upserted.is_new
        for channel, address in addresses.items():
            replace_contact(connection, recipient_id, channel, address)
        return Person(is_new=is_new, profile=profile(connection, recipient_id))

    return in_transaction(engine, work)


_TEXT_RULES: dict[str, Callable[[str], str]] = {
    "first_name": str.strip,
    "last_name": str.strip,
    "locale": lambda raw: normalise_locale(raw) if raw.strip() else "",
    "time_zone": lambda raw: normalise_time_zone(raw) if raw.strip() else "",
}


def _change(wish: PersonWish) -> ProfileChange:
    texts = {name: _named(name, _TEXT_RULES[name], raw) for name, raw in wish.texts.items()}
    return ProfileChange(
        **texts,
        preferred_channels=wish.preferred,
        attributes=dict(map(_attribute, wish.attributes)) if wish.attributes else None,
    )


def _named(name: str, rule: Callable[[str], str], raw: str) -> str:
    if "\0" in raw:  # PostgreSQL cannot store it
        raise InvalidValue(f"{name}: A text must not hold the character NUL.")
    try:
        return rule(raw)
    except InvalidValue as error:
        raise InvalidValue(f"{name}: {error}") from error


def _attribute(given: str) -> tuple[str, str | None]:
    name, equals, value = given.partition("=")
    if not equals or not is_attribute_name(name):
        raise InvalidValue(f"'{given[:100]}' is not an attribute; write it like plan=gold.")
    return name, value or None


def _external_id(given: str) -> str:
    normal = normalise_external_id(given)
    if not normal or "\0" in normal:
        raise InvalidValue("Say who: an id of your own, or rcp_….")
    return normal


def add_address(
    engine: Engine, who: str, channel: Channel, raw: str, *, first: bool
) -> dict[str, Any]:
    """The recipient with the address, behind the others or `first`: the one that is used."""

    def change(connection: Connection, recipient_id: int, address: str) -> None:
        add_contact(connection, recipient_id, channel, address, first=first)

    return _change_contact(engine, who, channel, raw, change)


def remove_address(engine: Engine, who: str, channel: Channel, raw: str) -> dict[str, Any]:
    """The recipient without the address. Raises ChangeRefused where there was none."""

    def change(connection: Connection, recipient_id: int, address: str) -> None:
        if not remove_contact(connection, recipient_id, channel, address):
            raise ChangeRefused(f"The recipient has no {channel} address {address}.")

    return _change_contact(engine, who, channel, raw, change)


def verify_address(engine: Engine, who: str, channel: Channel, raw: str) -> dict[str, Any]:
    """The recipient with the address verified. Raises UnknownContact where there is none."""

    def change(connection: Connection, recipient_id: int, address: str) -> None:
        set_contact_state(connection, recipient_id, channel, address, ContactState.VERIFIED)

    return _change_contact(engine, who, channel, raw, change)


def _change_contact(
    engine: Engine,
    who: str,
    channel: Channel,
    raw: str,
    change: Callable[[Connection, int, str], None],
) -> dict[str, Any]:
    """The recipient after the change. Raises InvalidValue and UnknownRecipient."""
    address = normalise_address(channel, raw)

    def work(connection: Connection) -> dict[str, Any]:
        recipient_id = find_recipient(connection, default_team_id(connection), who)
        change(connection, recipient_id, address)
        return profile(connection, recipient_id)

    return in_transaction(engine, work)


def leave(engine: Engine, key: str, who: str, channel: Channel) -> bool:
    """Whether a subscription was ended. Raises UnknownTopic, UnknownRecipient."""

    def work(connection: Connection) -> bool:
        team = default_team_id(connection)
        return leave_topic(
            connection,
            topic=topic_id(connection, team, key),
            recipient_id=find_recipient(connection, team, who),
            channel=channel,
            source=SOURCE,
        )

    return in_transaction(engine, work)


def living_recipient(connection: Connection, team: int, who: str) -> int:
    """Id of the recipient meant, who is not erased. Raises UnknownRecipient, ChangeRefused."""
    recipient_id = find_recipient(connection, team, who)
    if profile(connection, recipient_id)["erased_at"] is not None:
        raise ChangeRefused("The recipient is erased.")
    return recipient_id


def merge_people(engine: Engine, gone: str, into: str) -> tuple[Merged, dict[str, Any]]:
    """What came over, and who is left. Raises UnknownRecipient, MergeRefused."""

    def work(connection: Connection) -> tuple[Merged, dict[str, Any]]:
        team = default_team_id(connection)
        kept = find_recipient(connection, team, into)
        moved = merge(connection, team, find_recipient(connection, team, gone), kept)
        return moved, profile(connection, kept)

    return in_transaction(engine, work)


def erase_person(engine: Engine, recipient_id: int) -> Erased:
    """What was taken away."""
    return in_transaction(
        engine, lambda connection: erase(connection, default_team_id(connection), recipient_id)
    )

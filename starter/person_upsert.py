"""People added or changed by external id or e-mail address, one or a thousand at a time.

Who is meant is found as an import finds them: by external id, else by the address in use; somebody
who has the address and no external id gets the one that is given.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial

from sqlalchemy import Connection

from domain.contact import normalise_address
from domain.person import (
    InvalidValue,
    is_attribute_name,
    normalise_external_id,
    normalise_locale,
    normalise_time_zone,
)
from domain.send import Channel
from models.contact import add_contact, replace_contact
from models.recipient_edit import ProfileChange, edit_recipient, make_recipient, upsert_recipient
from models.recipient_identity import resolve_recipient
from models.recipient_import import try_hold_off_imports
from models.recipient_list import adopt, email_owners, lock_names
from models.recipient_lookup import lock_address

Scalar = str | int | float | bool
MAX_TEXT = 10_000
"""Characters of an attribute or a name: as many as a cell of an import may have."""


class InvalidField(InvalidValue):
    """A value that must not be stored; `pointer` says which, as a JSON pointer."""

    def __init__(self, pointer: str, sentence: str) -> None:
        super().__init__(sentence)
        self.pointer = pointer


class AmbiguousAddress(Exception):
    """Several people use the address; the message is one sentence."""


class ImportUnderWay(Exception):
    """An import is adding people just now; the message is one sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonGiven:
    """A person as a service writes it; None: nothing is said, and what is there stays."""

    external_id: str | None = None
    addresses: Mapping[Channel, str] = field(default_factory=dict)
    """The address to use on a channel; it replaces the one used so far."""
    texts: Mapping[str, str] = field(default_factory=dict)
    """By name: first_name, last_name, locale, time_zone; "" forgets it."""
    preferred: Sequence[Channel] | None = None
    attributes: Mapping[str, Scalar | None] | None = None
    """None as a value removes the attribute."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadyPerson:
    """The same, normalised."""

    external_id: str | None
    addresses: Mapping[Channel, str]
    change: ProfileChange

    @property
    def names(self) -> list[str]:
        """By what others may be about to make the same person."""
        found = [] if self.external_id is None else [f"id {self.external_id}"]
        email = self.addresses.get(Channel.EMAIL)
        return found if email is None else [*found, f"email {email}"]


@dataclass(frozen=True, slots=True, kw_only=True)
class UpsertedPerson:
    """Who was meant."""

    id: int
    is_new: bool


def ready(given: PersonGiven) -> ReadyPerson:
    """The person in normal form. Raises InvalidField for the first value that is wrong."""
    external_id = None
    if given.external_id is not None:
        external_id = _at("/external_id", normalise_external_id, given.external_id)
        if not external_id:
            raise InvalidField("/external_id", "The external id is empty.")
    addresses = {
        channel: _at(_address_pointer(channel), partial(normalise_address, channel), raw)
        for channel, raw in given.addresses.items()
    }
    if external_id is None and Channel.EMAIL not in addresses:
        raise InvalidField("", "Say who: external_id or email.")
    return ReadyPerson(
        external_id=external_id,
        addresses=addresses,
        change=ProfileChange(
            **{name: _at(f"/{name}", _TEXT_RULES[name], raw) for name, raw in given.texts.items()},
            preferred_channels=given.preferred,
            attributes=None if given.attributes is None else _attributes(given.attributes),
        ),
    )


def upsert_one(connection: Connection, team_id: int, person: ReadyPerson) -> UpsertedPerson:
    """The person, made if there is none, with all that is given.

    Raises AmbiguousAddress, and ImportUnderWay where somebody new must wait for an import.
    """
    if _known(connection, team_id, person) is None:
        lock_names(connection, team_id, person.names)
    return _upsert(connection, team_id, person)


def upsert_many(
    connection: Connection, team_id: int, people: Sequence[ReadyPerson | Exception]
) -> list[UpsertedPerson | Exception]:
    """What became of each, in their order; who is refused changes nothing.

    What could not be made ready is handed through. The caller's transaction commits all of it.
    """
    found = [name for person in people if isinstance(person, ReadyPerson) for name in person.names]
    lock_names(connection, team_id, found)
    answers: list[UpsertedPerson | Exception] = []
    for person in people:
        if isinstance(person, Exception):
            answers.append(person)
            continue
        try:
            with connection.begin_nested():
                answers.append(_upsert(connection, team_id, person))
        except (AmbiguousAddress, ImportUnderWay, InvalidValue) as error:
            answers.append(error)
    return answers


def spellings(address: str) -> list[str]:
    """The forms in which the address may be stored: as it is, as an e-mail address, as a number."""
    found = [address.strip()]
    for channel in (Channel.EMAIL, Channel.SMS, Channel.WEBHOOK):
        with suppress(InvalidValue):
            found.append(normalise_address(channel, address))
    return found


def _upsert(connection: Connection, team_id: int, person: ReadyPerson) -> UpsertedPerson:
    known = _known(connection, team_id, person)
    if known is not None:
        edit_recipient(connection, team_id, known, person.change)
        made = UpsertedPerson(id=known, is_new=False)
    else:
        made = _make(connection, team_id, person)
    for channel, address in person.addresses.items():
        if made.is_new:  # with no address yet: a third of the statements
            add_contact(connection, made.id, channel, address)
        else:
            replace_contact(connection, made.id, channel, address)
    return made


def _known(connection: Connection, team_id: int, person: ReadyPerson) -> int | None:
    """Whom the external id, else the address means; they may get the external id. None: nobody."""
    if person.external_id is not None:
        return resolve_recipient(connection, team_id, person.external_id)
    address = person.addresses[Channel.EMAIL]
    owners = email_owners(connection, team_id, address)
    if len(owners) > 1:
        raise AmbiguousAddress(
            f"{len(owners)} recipients use this address; say which by external_id."
        )
    return owners[0].id if owners else None


def _make(connection: Connection, team_id: int, person: ReadyPerson) -> UpsertedPerson:
    if not try_hold_off_imports(connection, team_id):
        raise ImportUnderWay("An import is adding recipients just now; ask again when it is done.")
    email = person.addresses.get(Channel.EMAIL)
    if person.external_id is None:
        assert email is not None  # noqa: S101  ready() saw to it
        lock_address(connection, team_id, Channel.EMAIL, email)
        known = _known(connection, team_id, person)  # somebody may have made them meanwhile
        recipient_id = known or make_recipient(connection, team_id)
        edit_recipient(connection, team_id, recipient_id, person.change)
        return UpsertedPerson(id=recipient_id, is_new=known is None)
    owners = email_owners(connection, team_id, email) if email else []
    nameless = [owner.id for owner in owners if owner.external_id is None]
    if nameless and adopt(connection, nameless[0], person.external_id):
        edit_recipient(connection, team_id, nameless[0], person.change)
        return UpsertedPerson(id=nameless[0], is_new=False)
    made = upsert_recipient(connection, team_id, person.external_id, person.change)
    return UpsertedPerson(id=made.id, is_new=made.is_new)


_TEXT_RULES: dict[str, Callable[[str], str]] = {
    "first_name": str.strip,
    "last_name": str.strip,
    "locale": lambda raw: normalise_locale(raw) if raw.strip() else "",
    "time_zone": lambda raw: normalise_time_zone(raw) if raw.strip() else "",
}
_FIELDS = {Channel.SMS: "phone"}


def _address_pointer(channel: Channel) -> str:
    return "/" + _FIELDS.get(channel, channel.value)


def _at(pointer: str, rule: Callable[[str], str], raw: str) -> str:
    if len(raw) > MAX_TEXT:
        raise InvalidField(pointer, f"A text has at most {MAX_TEXT:,} characters.")
    try:
        return rule(raw)
    except InvalidValue as error:
        raise InvalidField(pointer, str(error)) from error


def _attributes(given: Mapping[str, Scalar | None]) -> dict[str, Scalar | None]:
    for name, value in given.items():
        if not is_attribute_name(name) or len(name) > 100:
            raise InvalidField(
                "/attributes",
                "An attribute's name has up to 100 letters, digits and _, no digit first.",
            )
        if isinstance(value, str) and len(value) > MAX_TEXT:
            raise InvalidField("/attributes", f"A text has at most {MAX_TEXT:,} characters.")
    return dict(given)

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
from sqlalchemy.exc import IntegrityError

from domain.contact import normalise_address
from domain.person import (
    InvalidValue,
    is_attribute_name,
    normalise_external_id,
    normalise_locale,
    normalise_time_zone,
)
from domain.send import Channel
from models.recipient_bulk import Person, find_people, lock_people, write_people
from models.recipient_edit import ProfileChange
from models.recipient_import import try_hold_off_imports
from models.recipient_list import lock_names
from models.recipient_lookup import lock_addresses
from starter.person_roster import AmbiguousAddress, ReadyPerson, Roster

Scalar = str | int | float | bool
MAX_TEXT = 10_000
"""Characters of an attribute or a name: as many as a cell of an import may have."""


class InvalidField(InvalidValue):
    """A value that must not be stored; `pointer` says which, as a JSON pointer."""

    def __init__(self, pointer: str, sentence: str) -> None:
        super().__init__(sentence)
        self.pointer = pointer


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
    [answer] = upsert_many(connection, team_id, [person])
    if isinstance(answer, Exception):
        raise answer
    return answer


def upsert_many(
    connection: Connection, team_id: int, people: Sequence[ReadyPerson | Exception]
) -> list[UpsertedPerson | Exception]:
    """What became of each, in their order; who is refused changes nothing.

    What could not be made ready is handed through. The caller's transaction commits all of it. The
    statements are as many for a thousand people as for one.
    """
    for _ in range(_MOST_TRIES - 1):
        # Only in between two of ours can others make somebody without waiting for our locks: by the
        # command line, say. What they made is found in the next try.
        with suppress(IntegrityError), connection.begin_nested():
            return _Upsert(connection, team_id, people).written()
    return _Upsert(connection, team_id, people).written()


def spellings(address: str) -> list[str]:
    """The forms in which the address may be stored: as it is, as an e-mail address, as a number."""
    found = [address.strip()]
    for channel in (Channel.EMAIL, Channel.SMS, Channel.WEBHOOK):
        with suppress(InvalidValue):
            found.append(normalise_address(channel, address))
    return found


_MOST_TRIES = 5


class _Upsert:
    """One transaction's wishes: decided in memory, again whenever a lock may have waited for others."""

    def __init__(
        self, connection: Connection, team_id: int, people: Sequence[ReadyPerson | Exception]
    ) -> None:
        self._connection = connection
        self._team_id = team_id
        self._people = people
        self._ready = [person for person in people if isinstance(person, ReadyPerson)]
        self._is_held: bool | None = None
        """Whether imports are held off; None: it was not needed yet."""
        self._locked: set[int] = set()

    def written(self) -> list[UpsertedPerson | Exception]:
        """What became of each, written."""
        roster, answers = self._decided()
        people = list(roster.touched)
        write_people(self._connection, self._team_id, people, roster.attribute_names)
        return [
            answer
            if isinstance(answer, Exception)
            else UpsertedPerson(id=answer[0].known_id, is_new=answer[1])
            for answer in answers
        ]

    def _decided(self) -> tuple[Roster, list[tuple[Person, bool] | Exception]]:
        """What becomes of each, of rows that are locked. Names come first in the order of locks."""
        while True:
            roster = self._roster()
            answers = [self._answer(roster, person) for person in self._people]
            if roster.needs_imports_held_off and self._is_held is None:
                self._hold_off()
            elif missing := roster.known_ids - self._locked:
                lock_people(self._connection, missing)
                self._locked |= missing
            else:
                return roster, answers

    def _roster(self) -> Roster:
        ids = {one.external_id for one in self._ready if one.external_id is not None}
        emails = {
            one.addresses[Channel.EMAIL] for one in self._ready if Channel.EMAIL in one.addresses
        }
        return Roster(find_people(self._connection, self._team_id, sorted(ids), sorted(emails)))

    def _answer(
        self, roster: Roster, person: ReadyPerson | Exception
    ) -> tuple[Person, bool] | Exception:
        if isinstance(person, Exception):
            return person
        try:
            if self._is_held is False and roster.find(person) is None:
                return ImportUnderWay(
                    "An import is adding recipients just now; ask again when it is done."
                )
            return roster.take(person)
        except AmbiguousAddress as error:
            return error

    def _hold_off(self) -> None:
        """Wait for others who are about to make the same people, and keep imports from doing so."""
        names = [name for person in self._ready for name in person.names]
        lock_names(self._connection, self._team_id, names)
        self._is_held = try_hold_off_imports(self._connection, self._team_id)
        bare = {one.addresses[Channel.EMAIL] for one in self._ready if one.external_id is None}
        if bare and self._is_held:
            lock_addresses(self._connection, self._team_id, Channel.EMAIL, sorted(bare))


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

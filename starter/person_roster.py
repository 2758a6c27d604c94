"""People while a list of wishes is gone through: each wish sees what those before it changed.

Everything happens in memory; `models.recipient_bulk` finds the people before and writes them after.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace

from domain.send import Channel
from models.contact import UnknownContact
from models.recipient_bulk import Found, Person, Point
from models.recipient_edit import ProfileChange


class AmbiguousAddress(Exception):
    """Several people use the address; the message is one sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadyPerson:
    """A person as they are to be stored, normalised."""

    external_id: str | None
    addresses: Mapping[Channel, str]
    change: ProfileChange

    @property
    def names(self) -> list[str]:
        """By what others may be about to make the same person."""
        found = [] if self.external_id is None else [f"id {self.external_id}"]
        email = self.addresses.get(Channel.EMAIL)
        return found if email is None else [*found, f"email {email}"]


class Roster:
    """The people that wishes name."""

    def __init__(self, found: Found) -> None:
        self._by_external_id = found.by_external_id
        self._by_email = found.by_email
        self.touched: dict[Person, int] = {}
        """Whom a wish changed or made, each with their place in that order."""
        self.attribute_names: set[str] = set()
        """Of the attributes that people got."""

    @property
    def needs_imports_held_off(self) -> bool:
        """Whether somebody was made, or got an external id: an import might do so, too."""
        return any(person.id is None or person.is_named for person in self.touched)

    @property
    def known_ids(self) -> set[int]:
        """Of those who were there and were changed."""
        return {person.id for person in self.touched if person.id is not None}

    def find(self, wish: ReadyPerson) -> Person | None:
        """Whom the external id, else the address means; None: nobody. Raises AmbiguousAddress."""
        if wish.external_id is not None:
            return self._by_external_id.get(wish.external_id)
        owners = self._owners(wish)
        if len(owners) > 1:
            raise AmbiguousAddress(
                f"{len(owners)} recipients use this address; say which by external_id."
            )
        return owners[0] if owners else None

    def take(self, wish: ReadyPerson) -> tuple[Person, bool]:
        """Who is meant, changed as is wished, and whether they were made for it.

        A new external id is given to the first who has the address and none. Raises
        AmbiguousAddress, and UnknownContact for an address of somebody who is erased.
        """
        known = self.find(wish)
        nameless = (owner for owner in self._owners(wish) if owner.external_id is None)
        person = known or next(nameless, None) or Person()
        if person.is_erased and wish.addresses:
            raise UnknownContact("The recipient is erased.")
        is_new = person.id is None and person not in self.touched
        self.touched.setdefault(person, len(self.touched))
        if known is None and wish.external_id is not None:
            person.external_id, person.is_named = wish.external_id, True
            self._by_external_id[wish.external_id] = person
        self._change(person, wish.change)
        for channel, address in wish.addresses.items():
            self._address(person, channel, address)
        return person, is_new

    def _owners(self, wish: ReadyPerson) -> list[Person]:
        """Who uses the e-mail address."""
        return self._by_email.get(wish.addresses.get(Channel.EMAIL, ""), [])

    def _change(self, person: Person, change: ProfileChange) -> None:
        given = {
            each.name: value
            for each in fields(change)
            if (value := getattr(change, each.name)) is not None
        }
        if change.attributes is not None:
            before = person.change.attributes or {}
            given["attributes"] = {**before, **change.attributes}
            kept = (name for name, value in change.attributes.items() if value is not None)
            self.attribute_names.update(kept)
        person.change = replace(person.change, **given)

    def _address(self, person: Person, channel: Channel, address: str) -> None:
        """Use the address instead of the one used so far, as `models.contact.replace_contact` does."""
        points = person.points.setdefault(channel, [])
        old = points[0] if points else None
        if old is not None and old.address == address:
            return
        point = next((one for one in points if one.address == address), None)
        used = point or Point(address=address, rank=0)
        order = [used, *(one for one in points if one is not used)]
        for rank, one in enumerate(order):
            one.rank = rank
        person.points[channel] = [one for one in order if one is not old]
        person.moved.add(channel)
        if old is not None and old.id is not None:
            person.gone.append(old.id)
        if channel is Channel.EMAIL:
            self._moved(person, old, address)

    def _moved(self, person: Person, old: Point | None, address: str) -> None:
        if old is not None and person in self._by_email.get(old.address, ()):
            self._by_email[old.address].remove(person)
        owners = self._by_email.setdefault(address, [])
        owners.append(person)
        # Who was first comes first; who is yet to be made comes last, in the order of the wishes.
        owners.sort(key=lambda one: (one.id or _NEWEST, self.touched.get(one, 0)))


_NEWEST = 1 << 63

"""The contact points of one recipient: add, replace, remove, order, verify.

Every change locks the recipient's row first, so that ranks are given once. Addresses come in
normalised (domain.contact). Rank 0 is used; where it is removed the next one takes its place.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, text

from domain.contact import ContactState
from domain.send import Channel


class UnknownContact(Exception):
    """The recipient does not have the address; the message is one sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contact:
    """A contact point as lists and use cases see it."""

    id: int
    channel: Channel
    rank: int
    address: str
    state: ContactState
    verified_at: datetime | None
    registered_at: datetime


def contacts(
    connection: Connection, recipient_id: int, channel: Channel | None = None
) -> list[Contact]:
    """The recipient's contact points, by channel and rank."""
    rows = connection.execute(
        text(
            "SELECT id, channel, rank, address, state, verified_at, registered_at FROM contact_point"
            " WHERE recipient_id = :recipient AND channel = coalesce(:channel, channel)"
            " ORDER BY channel, rank"
        ),
        {"recipient": recipient_id, "channel": channel},
    ).mappings()
    return [
        Contact(**{**row, "channel": Channel(row["channel"]), "state": ContactState(row["state"])})
        for row in rows
    ]


def add_contact(
    connection: Connection,
    recipient_id: int,
    channel: Channel,
    address: str,
    *,
    first: bool = False,
) -> int:
    """Id of the contact point, made behind the others, or before them where it is to be `first`.

    One that is there already stays what it is, but for its rank where it is to be first.
    """
    _lock(connection, recipient_id)
    there = [contact.address for contact in contacts(connection, recipient_id, channel)]
    if address not in there:
        _insert(connection, recipient_id, channel, address)
    if first:
        order_contacts(connection, recipient_id, channel, [address])
    return _id(connection, recipient_id, channel, address)


def replace_contact(
    connection: Connection, recipient_id: int, channel: Channel, address: str
) -> bool:
    """Whether the address that is used was replaced by this one.

    As the import does it: the old one is gone, further ones stay, and none is there twice.
    """
    _lock(connection, recipient_id)
    there = contacts(connection, recipient_id, channel)
    if there and there[0].address == address:
        return False
    add_contact(connection, recipient_id, channel, address, first=True)
    if there:
        remove_contact(connection, recipient_id, channel, there[0].address)
    return True


def remove_contact(
    connection: Connection, recipient_id: int, channel: Channel, address: str
) -> bool:
    """Whether the recipient had the address; where it was the one used, the next one is now."""
    _lock(connection, recipient_id)
    removed = connection.execute(
        text(
            "DELETE FROM contact_point"
            " WHERE recipient_id = :recipient AND channel = :channel AND address = :address"
        ),
        _keys(recipient_id, channel, address),
    ).rowcount
    promote_next(connection, recipient_id, channel)
    return removed > 0


def order_contacts(
    connection: Connection, recipient_id: int, channel: Channel, addresses: Sequence[str]
) -> None:
    """Give the addresses the first ranks, in this order; others follow in theirs.

    Raises UnknownContact for an address that the recipient does not have.
    """
    _lock(connection, recipient_id)
    there = {contact.address: contact.id for contact in contacts(connection, recipient_id, channel)}
    for address in addresses:
        if address not in there:
            raise UnknownContact(f"The recipient has no {channel} address {address}.")
    ordered = [*dict.fromkeys(addresses), *(each for each in there if each not in addresses)]
    # By way of negative ranks: each UPDATE checks the unique ranks row by row.
    for expression in ("-CAST(w.place AS smallint)", "CAST(w.place AS smallint) - 1"):
        connection.execute(
            text(
                f"UPDATE contact_point c SET rank = {expression}"  # noqa: S608  constants
                " FROM unnest(CAST(:ids AS bigint[])) WITH ORDINALITY AS w(id, place)"
                " WHERE c.id = w.id"
            ),
            {"ids": [there[address] for address in ordered]},
        )


def set_contact_state(
    connection: Connection, recipient_id: int, channel: Channel, address: str, state: ContactState
) -> None:
    """Note what is known of the address. Raises UnknownContact.

    `verified_at` is when it was first verified; it stays where the address bounces later.
    """
    changed = connection.execute(
        text(
            "UPDATE contact_point SET state = :state, verified_at ="
            " CASE WHEN :state = :verified THEN coalesce(verified_at, now()) ELSE verified_at END"
            " WHERE recipient_id = :recipient AND channel = :channel AND address = :address"
        ),
        {
            **_keys(recipient_id, channel, address),
            "state": state,
            "verified": ContactState.VERIFIED,
        },
    )
    if changed.rowcount == 0:
        raise UnknownContact(f"The recipient has no {channel} address {address}.")


def promote_next(connection: Connection, recipient_id: int, channel: Channel) -> None:
    """Give rank 0 to the recipient's best address where none has it. Holds the recipient's lock."""
    connection.execute(
        text(
            "UPDATE contact_point SET rank = 0 WHERE id = (SELECT id FROM contact_point"
            "  WHERE recipient_id = :recipient AND channel = :channel ORDER BY rank LIMIT 1)"
            " AND rank > 0"
        ),
        {"recipient": recipient_id, "channel": channel},
    )


def _keys(recipient_id: int, channel: Channel, address: str) -> dict[str, object]:
    return {"recipient": recipient_id, "channel": channel, "address": address}


def _lock(connection: Connection, recipient_id: int) -> None:
    connection.execute(
        text("SELECT 1 FROM recipient WHERE id = :recipient FOR NO KEY UPDATE"),
        {"recipient": recipient_id},
    )


def _insert(connection: Connection, recipient_id: int, channel: Channel, address: str) -> None:
    connection.execute(
        text(
            "INSERT INTO contact_point (team_id, recipient_id, channel, rank, address)"
            " SELECT team_id, id, :channel, coalesce((SELECT max(rank) + 1 FROM contact_point"
            "  WHERE recipient_id = :recipient AND channel = :channel), 0), :address"
            " FROM recipient WHERE id = :recipient AND erased_at IS NULL"
        ),
        _keys(recipient_id, channel, address),
    )


def _id(connection: Connection, recipient_id: int, channel: Channel, address: str) -> int:
    found: int | None = connection.execute(
        text(
            "SELECT id FROM contact_point"
            " WHERE recipient_id = :recipient AND channel = :channel AND address = :address"
        ),
        _keys(recipient_id, channel, address),
    ).scalar()
    if found is None:
        raise UnknownContact("The recipient is erased.")
    return found

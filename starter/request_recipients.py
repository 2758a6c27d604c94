"""Whom a request names: external ids, or bare addresses, which may be nobody's yet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from domain.person import InvalidAddress, normalise_email, normalise_phone
from domain.send import Channel
from models.recipient_lookup import anonymous_recipient, find_by_external_ids


class UnknownRecipient(Exception):
    """Nobody has this external id; the message is one sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """A recipient that a request names, with what its templates may ask for."""

    name: str
    """As the request writes it."""
    recipient_id: int
    attributes: Mapping[str, Any]
    time_zone: str | None = None


def find_recipients(connection: Connection, team_id: int, to: Sequence[str]) -> list[Named]:
    """The recipients in the order of the request; a bare address makes one where there is none.

    Raises UnknownRecipient, InvalidAddress; the caller's transaction is then rolled back.
    """
    addresses = {name: found_at for name in to if (found_at := address_of(name))}
    ids = [name for name in to if name not in addresses]
    known = find_by_external_ids(connection, team_id, ids) if ids else {}
    unknown = [name for name in ids if name not in known]
    if unknown:
        some = ", ".join(f"'{name}'" for name in unknown[:3])
        more = f" and {len(unknown) - 3} more" if len(unknown) > 3 else ""
        raise UnknownRecipient(f"There is no recipient {some}{more}.")
    made = []
    for name in to:
        if name in known:
            found = known[name]
            made.append(
                Named(
                    name=name,
                    recipient_id=found.id,
                    attributes=found.attributes,
                    time_zone=found.time_zone,
                )
            )
        else:
            channel, address = addresses[name]
            recipient_id = anonymous_recipient(connection, team_id, channel, address)
            made.append(Named(name=name, recipient_id=recipient_id, attributes={}))
    return made


def address_of(name: str) -> tuple[Channel, str] | None:
    """Channel and normalised address of a bare address; None: it is an external id.

    Raises InvalidAddress.
    """
    if "@" in name:
        return Channel.EMAIL, normalise_email(name)
    if name.startswith("+"):
        return Channel.SMS, normalise_phone(name)
    if "://" in name:
        if not name.startswith("https://"):
            raise InvalidAddress(
                f"'{name}' is no address of a webhook: it must begin with https://."
            )
        return Channel.WEBHOOK, name
    return None

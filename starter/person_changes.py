"""What services do with one recipient of their team: addresses, push tokens, consent, merge, erase.

`who` is rcp_…, an external id, or an address that one person has; each function works in the
caller's transaction.
"""

from __future__ import annotations

from sqlalchemy import Connection

from domain.contact import ContactState, normalise_address
from domain.identifier import CONTACT_PREFIX, key_of
from domain.send import Channel, SubscriptionState
from models.contact import (
    Contact,
    UnknownContact,
    add_contact,
    contacts,
    order_contacts,
    remove_contact,
    replace_contact,
    set_contact_state,
)
from models.erasure import Erased, erase
from models.merge import Merged, merge
from models.push_token import register_push_token, replace_push_token
from models.recipient_identity import UnknownRecipient, find_recipient
from models.recipient_import import try_hold_off_imports
from models.recipient_list import read_recipient
from models.topic import join_topic, leave_topic, topic_id
from starter.people import ChangeRefused
from starter.person_upsert import ImportUnderWay, InvalidField

TOKEN_CHANNELS = (Channel.PUSH, Channel.WEB_PUSH)


class UnknownOther(Exception):
    """Nobody is meant by whom a body names; the message is one sentence."""


def living(connection: Connection, team_id: int, who: str) -> int:
    """Id of the recipient. Raises UnknownRecipient, and ChangeRefused for one who is erased."""
    recipient_id = find_recipient(connection, team_id, who)
    if read_recipient(connection, team_id, recipient_id).erased_at is not None:
        raise ChangeRefused("The recipient is erased.")
    return recipient_id


def add_point(
    connection: Connection, team_id: int, who: str, channel: Channel, raw: str, *, first: bool
) -> tuple[int, int]:
    """Ids of the recipient and of the contact point, behind the others or `first`: the one in use."""
    recipient_id = living(connection, team_id, who)
    address = _address(channel, raw)
    return recipient_id, add_contact(connection, recipient_id, channel, address, first=first)


def replace_point(
    connection: Connection, team_id: int, who: str, channel: Channel, raw: str
) -> int:
    """Id of the recipient, whose address in use on the channel is this one now."""
    recipient_id = living(connection, team_id, who)
    replace_contact(connection, recipient_id, channel, _address(channel, raw))
    return recipient_id


def change_point(
    connection: Connection,
    team_id: int,
    who: str,
    point: str,
    *,
    state: ContactState | None,
    first: bool,
) -> int:
    """Id of the recipient, of whose contact point cpt_… this is known now.

    Raises UnknownContact, also for one of somebody else.
    """
    recipient_id, found = _point(connection, team_id, who, point)
    if state is not None:
        set_contact_state(connection, recipient_id, found.channel, found.address, state)
    if first:
        order_contacts(connection, recipient_id, found.channel, [found.address])
    return recipient_id


def remove_point(connection: Connection, team_id: int, who: str, point: str) -> int:
    """Id of the recipient, who does not have the contact point cpt_… any more. Raises UnknownContact."""
    recipient_id, found = _point(connection, team_id, who, point)
    remove_contact(connection, recipient_id, found.channel, found.address)
    return recipient_id


def register_token(
    connection: Connection, team_id: int, who: str, channel: Channel, raw: str
) -> tuple[int, int]:
    """Ids of the recipient and of the contact point of the device's token; anybody else loses it."""
    recipient_id = living(connection, team_id, who)
    token = _address(channel, raw, "/token")
    return recipient_id, register_push_token(connection, recipient_id, token, channel=channel)


def renew_token(
    connection: Connection, team_id: int, who: str, channel: Channel, old: str, new: str
) -> int:
    """Id of the recipient, whose token is the new one now. Raises UnknownContact without the old one."""
    recipient_id = living(connection, team_id, who)
    before, after = _address(channel, old, "/old"), _address(channel, new, "/new")
    if not replace_push_token(connection, recipient_id, before, after, channel=channel):
        raise UnknownContact("The recipient does not have the old token.")
    return recipient_id


def join(
    connection: Connection, team_id: int, who: str, topic: str, channel: Channel, *, source: str
) -> tuple[int, SubscriptionState]:
    """The recipient and how they stand now. Raises UnknownTopic."""
    recipient_id = living(connection, team_id, who)
    state = join_topic(
        connection,
        topic=topic_id(connection, team_id, topic),
        recipient_id=recipient_id,
        channel=channel,
        source=source,
    )
    return recipient_id, state


def leave(
    connection: Connection, team_id: int, who: str, topic: str, channel: Channel, *, source: str
) -> tuple[int, bool]:
    """The recipient, and whether a subscription was ended now. Raises UnknownTopic."""
    recipient_id = find_recipient(connection, team_id, who)
    has_left = leave_topic(
        connection,
        topic=topic_id(connection, team_id, topic),
        recipient_id=recipient_id,
        channel=channel,
        source=source,
    )
    return recipient_id, has_left


def merge_into(connection: Connection, team_id: int, who: str, into: str) -> tuple[int, Merged]:
    """Who is left, and what came over. Raises UnknownOther, MergeRefused, ImportUnderWay."""
    gone = find_recipient(connection, team_id, who)
    try:
        kept = find_recipient(connection, team_id, into)
    except UnknownRecipient as error:
        raise UnknownOther(str(error)) from error
    _hold_off_imports(connection, team_id)
    return kept, merge(connection, team_id, gone, kept)


def erase_whom(connection: Connection, team_id: int, who: str) -> tuple[int, Erased]:
    """The recipient, and what was taken away. Raises ImportUnderWay."""
    recipient_id = find_recipient(connection, team_id, who)
    _hold_off_imports(connection, team_id)
    return recipient_id, erase(connection, team_id, recipient_id)


def _hold_off_imports(connection: Connection, team_id: int) -> None:
    """A request does not wait until a file is imported. Raises ImportUnderWay."""
    if not try_hold_off_imports(connection, team_id):
        raise ImportUnderWay("An import is under way just now; ask again when it is done.")


def _point(connection: Connection, team_id: int, who: str, point: str) -> tuple[int, Contact]:
    recipient_id, key = find_recipient(connection, team_id, who), key_of(CONTACT_PREFIX, point)
    for contact in contacts(connection, recipient_id):
        if contact.id == key:
            return recipient_id, contact
    raise UnknownContact("The recipient has no contact point of this id.")


def _address(channel: Channel, raw: str, pointer: str = "/address") -> str:
    try:
        return normalise_address(channel, raw)
    except ValueError as error:
        raise InvalidField(pointer, str(error)) from error

"""The use cases of single messages that wait: list them with the reason, have them looked at now."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import Connection, Engine

from domain.eligibility import decide
from domain.identifier import SEND_PREFIX, public_id
from domain.standing import Policy, standing
from domain.waiting import Around, Why, waiting
from models.database import in_transaction
from models.group_members import over_caps_of
from models.held import OpenMessage, open_messages
from models.recheck import Rechecked, recheck_recipient, recheck_send
from models.recipient_identity import find_recipient
from models.request import send_of_key
from models.team import default_team_id
from settings import Settings
from starter.client import TemporalUnreachable, connect, poke_campaigns, poke_groups


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldMessage:
    """A single message that waits, as commands show it."""

    send: str
    ordinal: int
    recipient: str
    """External id; empty for a bare address."""
    template: str
    channel: str
    why: Why
    until: datetime | None
    """None: until somebody ends what stops it."""
    holds: tuple[str, ...]
    """What else holds it, or will: scope, reason and author."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Which:
    """Which messages are meant; by key, send or recipient. Nothing given: all of the team."""

    key: str | None = None
    send_id: int | None = None
    recipient: str | None = None


def held(engine: Engine, settings: Settings, which: Which, limit: int) -> list[HeldMessage]:
    """At most `limit` messages that wait, oldest first, with why and until when.

    Nothing of it is stored: the rules that make a message wait are asked again. Raises UnknownSend,
    UnknownRecipient.
    """
    found: list[HeldMessage] = []
    with engine.connect() as connection:
        for one in _held(connection, settings.max_tries, which):
            found.append(one)
            if len(found) == limit:
                break
    return found


def _held(connection: Connection, max_tries: int, which: Which) -> Iterator[HeldMessage]:
    team = default_team_id(connection)
    send_id, recipient_id = _ids(connection, team, which)
    after: int | None = 0
    while after is not None:
        page = open_messages(
            connection, team, send_id=send_id, recipient_id=recipient_id, after=after
        )
        over = over_caps_of(connection, [one.member for one in page.messages])
        for one in page.messages:
            key = (one.member.send_id, one.member.ordinal)
            member = replace(one.member, facts=replace(one.member.facts, over_cap=over.get(key)))
            if (shown := _shown(replace(one, member=member), max_tries)) is not None:
                yield shown
        after = page.next_after


def _shown(one: OpenMessage, max_tries: int) -> HeldMessage | None:
    member = one.member
    policy = Policy(
        plan=member.plan,
        on_unknown=member.on_unknown,
        max_tries=max_tries,
        ended_as=member.ended_as,
    )
    around = Around(
        has_account=one.has_account, holds=one.holds, again_at=one.again_at, now=member.now
    )
    stands = standing(member.last, policy, member.now)
    found = waiting(stands, member.last, decide(member.facts), around)
    if found is None:
        return None
    return HeldMessage(
        send=public_id(SEND_PREFIX, member.send_id),
        ordinal=member.ordinal,
        recipient=member.person.external_id or "",
        template=member.template_key,
        channel=member.channel,
        why=found.why,
        until=found.until,
        holds=tuple(one.holds),
    )


def _ids(connection: Connection, team: int, which: Which) -> tuple[int | None, int | None]:
    """Ids of the send and the recipient that are meant, where they are."""
    send_id = which.send_id
    if which.key is not None:
        send_id = send_of_key(connection, team, which.key)
    if which.recipient is None:
        return send_id, None
    return send_id, find_recipient(connection, team, which.recipient)


def recheck(engine: Engine, which: Which) -> Rechecked:
    """Make what waits of one send, or for one person, due now; every rule is asked again.

    Raises UnknownSend, UnknownRecipient; LookupError when neither is named.
    """

    def work(connection: Connection) -> Rechecked:
        send_id, recipient_id = _ids(connection, default_team_id(connection), which)
        if send_id is not None:
            return recheck_send(connection, send_id)
        if recipient_id is not None:
            return recheck_recipient(connection, recipient_id)
        raise LookupError("nobody is named")

    return in_transaction(engine, work)


async def poke(settings: Settings, found: Rechecked) -> bool:
    """Hurry the workflows of what is due now; False when Temporal is away. The rows hold it already."""
    if not found.groups and not found.campaigns:
        return True
    try:
        client = await connect(settings)
    except TemporalUnreachable:
        return False
    await poke_groups(client, list(found.groups))
    await poke_campaigns(client, list(found.campaigns))
    return True

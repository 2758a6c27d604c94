"""The use cases of holds: stop a scope, see what stands, release one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, Engine

from domain.identifier import SEND_PREFIX, BadIdentifier, key_of
from domain.send import HoldScope
from models.account import UnknownAccount, find_account
from models.account_health import make_channel_due
from models.database import in_transaction
from models.hold import (
    StandingHold,
    find_hold,
    has_send,
    list_holds,
    place_hold,
    release_hold,
    sends_under,
)
from models.outbox import announce
from models.team import default_team_id, find_team
from models.template import UnknownTemplate, find_version
from models.topic import UnknownTopic, topic_id

MAX_REASON_LENGTH = 500


class HoldRefused(Exception):
    """A hold cannot be placed like this; the message is one sentence."""


class UnknownScope(HoldRefused):
    """What is to be held is not there."""


class NotTheirs(HoldRefused):
    """What is to be held is more than the one who asks may stop."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldWish:
    """What `hold` was asked for."""

    scope: HoldScope
    key: str
    """snd_… of a send; key of a topic, template, account or team; empty for everything, and for
    the team that asks."""
    reason: str
    author: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """What came of releasing one hold."""

    hold: StandingHold
    is_new: bool
    """False: it was released before."""
    sends: Sequence[int]
    """What was under it and is not done."""
    groups: Sequence[int] = ()
    """Groups of single messages that waited for a held account."""


def place(engine: Engine, wish: HoldWish) -> StandingHold:
    """The new hold, beside those that stand; an operator's. Raises HoldRefused."""
    return in_transaction(
        engine, lambda c: place_of_team(c, default_team_id(c), wish, is_operator=True)
    )


def place_of_team(
    connection: Connection, team: int, wish: HoldWish, *, is_operator: bool
) -> StandingHold:
    """The same for a team. `is_operator`: may stop other teams, and everything. Raises HoldRefused."""
    if not wish.reason.strip() or len(wish.reason) > MAX_REASON_LENGTH:
        raise HoldRefused(f"A hold needs a reason, of at most {MAX_REASON_LENGTH} characters.")
    if not wish.author.strip():
        raise HoldRefused("A hold needs an author.")
    if wish.scope is HoldScope.EVERYTHING and not is_operator:
        raise NotTheirs("Everything is held by an operator alone; hold your team instead.")
    scope_id = _scope_id(connection, team, wish)
    if wish.scope is HoldScope.TEAM and scope_id != team and not is_operator:
        raise UnknownScope(f"There is no team '{wish.key}'.")
    hold_id = place_hold(
        connection,
        team,
        scope=wish.scope,
        scope_id=scope_id,
        reason=wish.reason.strip(),
        author=wish.author.strip(),
    )
    return find_hold(connection, team, hold_id)


def _scope_id(connection: Connection, team: int, wish: HoldWish) -> int:
    if wish.scope is HoldScope.EVERYTHING:
        if wish.key:
            raise HoldRefused("Everything is held as a whole; it has no key.")
        return 0
    if wish.scope is HoldScope.TEAM and not wish.key:
        return team
    if not wish.key:
        raise HoldRefused(f"Say which {wish.scope} is to be held.")
    try:
        return _IDS[wish.scope](connection, team, wish.key)
    except (BadIdentifier, UnknownAccount, UnknownTemplate, UnknownTopic) as error:
        raise UnknownScope(str(error)) from error


def _send(connection: Connection, team: int, key: str) -> int:
    send_id = key_of(SEND_PREFIX, key)
    if not has_send(connection, team, send_id):
        raise UnknownScope(f"There is no send {key}.")
    return send_id


def _team(connection: Connection, _: int, key: str) -> int:
    found = find_team(connection, key)
    if found is None:
        raise UnknownScope(f"There is no team '{key}'.")
    return found


_IDS: dict[HoldScope, Callable[[Connection, int, str], int]] = {
    HoldScope.SEND: _send,
    HoldScope.TOPIC: topic_id,
    HoldScope.TEMPLATE: lambda c, team, key: find_version(c, team, key).template_id,
    HoldScope.ACCOUNT: lambda c, team, key: find_account(c, team, key).id,
    HoldScope.TEAM: _team,
}


def standing(engine: Engine, *, with_released: bool) -> list[StandingHold]:
    """The holds that stand, oldest first; all there ever were with the released ones."""
    with engine.connect() as connection:
        return list_holds(connection, default_team_id(connection), with_released=with_released)


def release(engine: Engine, hold_ids: Sequence[int]) -> list[Release]:
    """Release these holds, all or none. Raises UnknownHold.

    Whoever waits under them is to be told: `starter.wake`.
    """

    def work(connection: Connection) -> list[Release]:
        team = default_team_id(connection)
        return [release_of_team(connection, team, hold_id) for hold_id in hold_ids]

    return in_transaction(engine, work)


def release_of_team(connection: Connection, team: int, hold_id: int) -> Release:
    """Release one hold of the team. Raises UnknownHold."""
    is_new = release_hold(connection, team, hold_id)
    hold = find_hold(connection, team, hold_id)
    groups: Sequence[int] = ()
    if is_new and hold.scope is HoldScope.ACCOUNT:
        groups = make_channel_due(connection, hold.scope_id)
        announce(connection)
    return Release(
        hold=hold,
        groups=groups,
        is_new=is_new,
        sends=sends_under(connection, hold_id) if is_new else [],
    )

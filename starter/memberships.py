"""Topics and their members as a resource has them: named in a path, changed in the caller's transaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from domain.digest import Cadence
from domain.join_token import Invitation
from domain.send import Channel, SubscriptionState
from models.digest_topic import resume_digests
from models.membership import Member, find_member
from models.recipient_identity import UnknownRecipient, find_recipient
from models.topic import (
    Joining,
    StoredTopic,
    UnknownTopic,
    change_membership,
    find_topic,
    leave_topic,
)
from models.topic_rule import Rule, remove_rule_by_id, rules_of
from starter.joining import JoinDesk
from starter.topics import JoinWish, RuleWish, change_rule, check_wish, recipient_of


class TopicNotFound(UnknownTopic):
    """The topic that was asked for by its own name is not there; the message is one sentence."""


class MemberNotFound(Exception):
    """The recipient never joined the topic by this channel; the message is one sentence."""


class RuleNotFound(Exception):
    """The topic has no such rule; the message is one sentence."""


class UnknownJoiner(Exception):
    """Whom a request wants to join is nobody, or several people; the message is one sentence."""


class UnknownJoined(UnknownTopic):
    """The topic that a rule is to join people to is not there; the message is one sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Membership:
    """Who is a member of which topic."""

    topic: StoredTopic
    recipient_id: int


def named_topic(connection: Connection, team_id: int, key: str) -> StoredTopic:
    """The topic. Raises TopicNotFound."""
    try:
        return find_topic(connection, team_id, key)
    except UnknownTopic as error:
        raise TopicNotFound(f"There is no topic '{key}'.") from error


def named_membership(connection: Connection, team_id: int, key: str, who: str) -> Membership:
    """The topic, and the recipient meant by rcp_…, an external id or an address.

    Raises TopicNotFound, UnknownRecipient.
    """
    topic = named_topic(connection, team_id, key)
    return Membership(topic=topic, recipient_id=find_recipient(connection, team_id, who))


def memberships_of(connection: Connection, membership: Membership) -> Sequence[Member]:
    """How the recipient stands, on each channel. Raises MemberNotFound."""
    found = find_member(connection, membership.topic.id, membership.recipient_id)
    if not found:
        raise MemberNotFound(
            f"The recipient is no member of '{membership.topic.settings.key}', and never was."
        )
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Joiner:
    """Who is to join what, and how."""

    topic: str
    who: str
    """rcp_…, an external id or an address, which may be nobody's yet."""
    wish: JoinWish


def join_by_name(
    connection: Connection, desk: JoinDesk, team_id: int, joiner: Joiner
) -> Membership:
    """Who has joined; one who must confirm gets the mail after the commit and `desk.announce`.

    Raises TopicNotFound, UnknownJoiner, TopicRefused, InvalidAddress, ChangeRefused, and
    CampaignRefused where the mail has no sender.
    """
    meant = _meant(connection, team_id, joiner)
    desk.join_within(connection, joiner.topic, joiner.who, joiner.wish)
    return meant


def link_by_name(connection: Connection, desk: JoinDesk, team_id: int, joiner: Joiner) -> str:
    """The link by which they, and nobody else, join. Raises TopicNotFound, UnknownJoiner, InvalidAddress."""
    meant = _meant(connection, team_id, joiner)
    return desk.url(
        Invitation(
            topic_id=meant.topic.id,
            recipient_id=meant.recipient_id,
            channel=joiner.wish.channel,
        )
    )


def _meant(connection: Connection, team_id: int, joiner: Joiner) -> Membership:
    topic = named_topic(connection, team_id, joiner.topic)
    try:
        recipient_id = recipient_of(connection, team_id, joiner.who)
    except UnknownRecipient as error:
        raise UnknownJoiner(str(error)) from error
    return Membership(topic=topic, recipient_id=recipient_id)


def change_member(connection: Connection, membership: Membership, wish: JoinWish) -> None:
    """Give a member another cadence or other data. Raises TopicRefused, MemberNotFound."""
    check_wish(wish)
    _require_standing(connection, membership, wish.channel)
    topic, recipient_id = membership.topic.id, membership.recipient_id
    change_membership(
        connection,
        topic=topic,
        recipient_id=recipient_id,
        channel=wish.channel,
        how=Joining(cadence=wish.cadence, details=wish.details),
    )
    if wish.cadence not in (None, Cadence.IMMEDIATE):
        resume_digests(connection, topic, recipient_id, wish.source)


def _require_standing(connection: Connection, membership: Membership, channel: Channel) -> None:
    standing = [
        member
        for member in find_member(connection, membership.topic.id, membership.recipient_id)
        if member.channel == channel and member.state != SubscriptionState.LEFT
    ]
    if not standing:
        key = membership.topic.settings.key
        raise MemberNotFound(f"The recipient is no member of '{key}' by {channel}.")


def leave_by_name(
    connection: Connection, membership: Membership, channel: Channel, source: str
) -> bool:
    """Whether a subscription was ended; who has left before, or never joined, stays so."""
    return leave_topic(
        connection,
        topic=membership.topic.id,
        recipient_id=membership.recipient_id,
        channel=channel,
        source=source,
    )


def add_named_rule(connection: Connection, team_id: int, wish: RuleWish) -> Rule:
    """The rule, which may have been there. Raises TopicNotFound, UnknownJoined, TopicRefused."""
    topic = named_topic(connection, team_id, wish.topic)
    try:
        change_rule(connection, team_id, wish, add=True)
    except UnknownTopic as error:
        raise UnknownJoined(f"There is no topic '{wish.joins}'.") from error
    return next(
        rule
        for rule in rules_of(connection, topic.id)
        if f"{rule.field}={rule.value}" == wish.when and rule.joins == wish.joins
    )


def remove_named_rule(connection: Connection, team_id: int, key: str, rule_id: int) -> None:
    """End the rule; who joined by it stays. Raises TopicNotFound, RuleNotFound."""
    topic = named_topic(connection, team_id, key)
    if not remove_rule_by_id(connection, topic.id, rule_id):
        raise RuleNotFound(f"The topic '{key}' has no such rule.")

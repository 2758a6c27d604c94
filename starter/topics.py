"""The use cases of topics: one call makes one; members join, leave and say how often they are told."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import Connection

from domain.cap import Over
from domain.digest import Cadence
from domain.plan import check_plan, parse_plan
from domain.send import Channel, MessageClass, OptIn, SubscriptionState
from models.digest_topic import DIGEST_TOPIC, resume_digests
from models.membership import Member, list_members
from models.recipient_identity import SharedAddress, UnknownRecipient, find_recipient
from models.template import find_version
from models.topic import (
    Joining,
    StoredTopic,
    TopicSettings,
    find_topic,
    join_topic,
    set_cadence,
    set_over_cap,
    set_topic,
    topic_id,
)
from models.topic_rule import Rule, add_rule, remove_rule, rules_of
from starter.people import SOURCE, living_recipient
from starter.request_recipients import address_of, find_recipients
from starter.request_template import check_channels

MAX_DETAILS_BYTES = 10_000
_KEY = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")


class TopicRefused(Exception):
    """A topic or membership cannot be like this; nothing changed. The message is one sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicWish:
    """What a new topic is to be, in words."""

    key: str
    name: str
    template: str | None = None
    """KEY, which means its newest version at each event, or KEY@N."""
    message_class: MessageClass | None = None
    """None: the template's; without a template marketing."""
    plan: str = ""
    """As in `carillon send --plan`; empty: the template's one channel."""
    cadence: Cadence = Cadence.IMMEDIATE
    """Of those who join by e-mail and say nothing else."""
    opt_in: OptIn = OptIn.EXPLICIT
    has_form: bool = False
    """Whether anybody may ask to join on the public page, always with a mail to confirm."""
    over_cap: str | None = None
    """What becomes of its messages over a cap: defer, skip, or cap, which is as each cap says; None:
    as it was."""


def create_topic(connection: Connection, team_id: int, wish: TopicWish) -> bool:
    """Whether the topic is new; one of this key is now as wished, and its members stay.

    Raises TopicRefused, UnknownTemplate, PlanRefused, RequestRefused.
    """
    _check_words(wish)
    plan = check_plan(parse_plan(wish.plan)) if wish.plan else ()
    message_class = wish.message_class or MessageClass.MARKETING
    if wish.template is not None:
        version = find_version(connection, team_id, wish.template)
        check_channels(version, plan)
        message_class = wish.message_class or version.message_class
    elif plan:
        raise TopicRefused("A channel plan is of events, and events need a template.")
    settings = TopicSettings(
        key=wish.key,
        name=wish.name.strip(),
        opt_in=wish.opt_in,
        template=wish.template,
        message_class=message_class,
        plan=plan,
        cadence=wish.cadence,
        has_form=wish.has_form,
    )
    is_new = set_topic(connection, team_id, settings)
    if wish.over_cap is not None:
        over = None if wish.over_cap == "cap" else Over(wish.over_cap)
        set_over_cap(connection, topic_id(connection, team_id, wish.key), over)
    return is_new


def is_key(given: str) -> bool:
    """Whether it can be the key of a topic."""
    return _KEY.fullmatch(given) is not None


def _check_words(wish: TopicWish) -> None:
    if not is_key(wish.key):
        raise TopicRefused(
            "A topic's key has small letters, digits, '.', '_' and '-', at most 63, a letter or"
            " digit first."
        )
    if wish.key == DIGEST_TOPIC:
        raise TopicRefused(f"'{DIGEST_TOPIC}' is the topic that digests go out under.")
    if wish.over_cap not in (None, "cap", *Over):
        raise TopicRefused(
            "A topic's messages over a cap are to defer, to skip, or as the cap says."
        )
    if not wish.name.strip() or not wish.name.isprintable():
        raise TopicRefused("A topic needs a name that people can read, on one line.")
    if wish.template is not None and not wish.template.isprintable():
        raise TopicRefused("A template is named by its key, or KEY@NUMBER.")


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicDetails:
    """A topic with its rules."""

    topic: StoredTopic
    rules: Sequence[Rule]


def show_topic(connection: Connection, team_id: int, key: str) -> TopicDetails:
    """The topic. Raises UnknownTopic."""
    found = find_topic(connection, team_id, key)
    return TopicDetails(topic=found, rules=rules_of(connection, found.id))


def members(
    connection: Connection, team_id: int, key: str, *, after: int = 0, most: int = 100
) -> Sequence[Member]:
    """Members of the topic, up to `most` behind the recipient `after`. Raises UnknownTopic."""
    topic = topic_id(connection, team_id, key)
    return list_members(connection, topic, after=after, most=most)


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinWish:
    """How somebody joins by call."""

    channel: Channel = Channel.EMAIL
    cadence: Cadence | None = None
    details: Mapping[str, Any] | None = None
    source: str = SOURCE
    is_test: bool = False
    """A mail to confirm ends at an account that only logs."""


AS_IT_IS = JoinWish()


def join(
    connection: Connection, topic: int, recipient_id: int, wish: JoinWish
) -> SubscriptionState:
    """How the recipient stands after joining.

    Pending where the topic asks for double opt-in: `starter.joining` sends the mail to confirm.
    """
    state = join_topic(
        connection,
        topic=topic,
        recipient_id=recipient_id,
        channel=wish.channel,
        source=wish.source,
        how=Joining(cadence=wish.cadence, details=wish.details),
    )
    resume_digests(connection, topic, recipient_id, wish.source)
    return state


def check_wish(wish: JoinWish) -> None:
    """Return if somebody can join like this. Raises TopicRefused."""
    if wish.cadence not in (None, Cadence.IMMEDIATE) and wish.channel is not Channel.EMAIL:
        raise TopicRefused("Digests go by e-mail; on other channels a topic comes immediately.")
    if wish.details is not None:
        _check_details(wish.details)


def _check_details(details: Mapping[str, Any]) -> None:
    try:
        packed = orjson.dumps(dict(details))
    except (TypeError, ValueError) as error:
        raise TopicRefused(f"A membership's data is not JSON: {error}.") from error
    if len(packed) > MAX_DETAILS_BYTES:
        raise TopicRefused(f"A membership's data is at most {MAX_DETAILS_BYTES // 1000} kB.")
    if b"\\u0000" in packed:
        raise TopicRefused("A membership's data holds the character NUL, which cannot be stored.")


def recipient_of(connection: Connection, team: int, who: str) -> int:
    """The living recipient meant by rcp_…, an external id or an address, which may be nobody's yet.

    Raises UnknownRecipient, also for an address that several have, InvalidAddress, ChangeRefused.
    """
    try:
        return living_recipient(connection, team, who)
    except SharedAddress:
        raise
    except UnknownRecipient:
        if address_of(who) is None:
            raise
        return find_recipients(connection, team, [who])[0].recipient_id


def change_cadence(
    connection: Connection, team_id: int, key: str, who: str, cadence: Cadence
) -> None:
    """Tell a member that often from now on. Raises UnknownTopic, UnknownRecipient, TopicRefused."""
    recipient_id = find_recipient(connection, team_id, who)
    topic = topic_id(connection, team_id, key)
    if not set_cadence(connection, topic=topic, recipient_id=recipient_id, cadence=cadence):
        raise TopicRefused(f"'{who}' is no member of '{key}' by e-mail.")
    resume_digests(connection, topic, recipient_id, SOURCE)


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleWish:
    """An event of `topic` whose data has `when`, FIELD=VALUE, joins its `recipient` to `joins`."""

    topic: str
    when: str
    joins: str


def change_rule(connection: Connection, team_id: int, wish: RuleWish, *, add: bool) -> bool:
    """Add or remove a rule; whether anything changed. Raises UnknownTopic, TopicRefused."""
    field, equals, value = wish.when.partition("=")
    if not equals or not field.isidentifier() or not value:
        raise TopicRefused(f"'{wish.when}' is no condition; write it like plan=gold.")
    topic = find_topic(connection, team_id, wish.topic)
    other = find_topic(connection, team_id, wish.joins)
    if add and topic.id == other.id:
        raise TopicRefused("A rule joins to another topic than the event's.")
    if add and other.settings.opt_in is OptIn.DOUBLE:
        raise TopicRefused(f"Who joins '{wish.joins}' must confirm it; a rule cannot do that.")
    change = add_rule if add else remove_rule
    return change(connection, team_id, topic.id, other.id, wish.when)

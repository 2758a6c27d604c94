"""Events: a service says what happened, and everybody who joined the topic is told.

    carillon = Carillon()
    await carillon.event("orders", "order-A-17", {"order": "A-17", "title": "A new order"})

Callers need PostgreSQL alone. The same (topic, key) is the same event, however often it is raised.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import orjson
from sqlalchemy import Connection

from domain.digest import DIGESTED
from domain.local_time import zone_of
from domain.person import InvalidValue
from domain.plan import Step
from domain.send import Channel, Priority
from domain.template_folder import BUILT_IN_NAMES
from models.database import clock
from models.digest import open_period
from models.team import attribute_names, team_clock
from models.template import Version, version_id
from models.topic import StoredTopic, find_topic, join_topic
from models.topic_event import (
    Event,
    EventSend,
    NewEvent,
    add_digest_items,
    count_digest_members,
    find_event,
    finish_event,
    insert_event,
    tell_now,
)
from models.topic_rule import Rule, rules_of
from observability.tracing import trace_parent
from starter.campaigns import default_policy
from starter.request_recipients import UnknownRecipient, find_recipients
from starter.request_template import check_channels, only_step, required_names
from starter.wish import MAX_VARIABLES_BYTES

log = logging.getLogger(__name__)

MEMBER = "member"
"""The name by which a template finds the membership's own data."""
RECIPIENT_FIELD = "recipient"
"""The field of an event's data that names whom a rule makes a member."""
MAX_KEY = 200


class EventRefused(Exception):
    """An event cannot be taken like this; nothing was written. The message is one sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EventDesk:
    """Takes events; made by `Carillon`, whose kept versions and senders it uses."""

    team_id: int
    version: Callable[[int], Version]
    sender: Callable[[int], Mapping[str, str]]
    expires_after: timedelta

    def raise_event(
        self,
        connection: Connection,
        topic: str,
        key: str,
        given: Mapping[str, Any],
        *,
        is_test: bool = False,
    ) -> Event:
        """The event, in the caller's transaction (READ COMMITTED).

        `is_test`: messages end at accounts that only log, and digests count it without holding it.
        Raises EventRefused, UnknownTopic, UnknownTemplate, EventKeyReused.
        """
        data = _checked_data(key, given)
        found = find_topic(connection, self.team_id, topic)
        new = NewEvent(
            team_id=self.team_id,
            topic_id=found.id,
            topic=topic,
            key=key,
            data=data,
            data_hash=hash_of(data, is_test=is_test),
            is_test=is_test,
        )
        # What was raised before is answered even where the template has changed since.
        before = find_event(connection, new)
        if before is not None:
            return before
        how = self._how(connection, found, data)
        made = insert_event(connection, new)
        if isinstance(made, Event):
            return made
        return self._write(connection, new, made, how)

    def _write(self, connection: Connection, new: NewEvent, event_id: int, how: EventSend) -> Event:
        joined = sum(self._follow(connection, rule, new) for rule in _matching(connection, new))
        send_id, messages = tell_now(connection, new, how)
        event = Event(
            event_id=event_id,
            send_id=send_id,
            messages=messages,
            digest_items=self._digest(connection, new, event_id),
            joined=joined,
        )
        finish_event(connection, event)
        log.info(
            "event.raised",
            extra={"topic_id": new.topic_id, "event_id": event_id, "messages": messages},
        )
        return event

    def _how(
        self, connection: Connection, topic: StoredTopic, data: Mapping[str, Any]
    ) -> EventSend:
        settings = topic.settings
        if settings.template is None:
            raise EventRefused(
                f"The topic '{settings.key}' has no template that an event could send. Name one"
                f" with: carillon topic create {settings.key} --name NAME --template KEY"
            )
        version = self.version(version_id(connection, self.team_id, settings.template))
        plan = settings.plan or (only_step(version),)
        check_channels(version, plan)
        self._check_names(connection, version, plan, data)
        has_email = any(step.channel is Channel.EMAIL for step in plan)
        return EventSend(
            name=version.name,
            message_class=settings.message_class,
            priority=Priority.NORMAL,
            plan=plan,
            template_version_id=version.id,
            sender=self.sender(version.id) if has_email else {},
            on_unknown=default_policy(settings.message_class),
            expires_after=self.expires_after,
            trace_parent=trace_parent(),
        )

    def _check_names(
        self,
        connection: Connection,
        version: Version,
        plan: tuple[Step, ...],
        data: Mapping[str, Any],
    ) -> None:
        """A name that neither the event nor any recipient has is refused before anything is written."""
        asked = frozenset().union(*(required_names(version, step.channel) for step in plan))
        asked -= {*data, MEMBER}
        if not asked:
            return
        missing = sorted(asked.difference(attribute_names(connection, self.team_id)))
        if missing:
            raise EventRefused(
                f"The template {version.label} asks for {', '.join(missing)}, which neither the"
                " event's data nor any recipient's attributes have."
            )

    def _digest(self, connection: Connection, new: NewEvent, event_id: int) -> int:
        members = count_digest_members(connection, new.topic_id)
        if not members or new.is_test:
            return sum(members.values())
        zone = zone_of(team_clock(connection, self.team_id).time_zone)
        now = clock(connection)
        return sum(
            add_digest_items(
                connection,
                new,
                event_id,
                cadence,
                open_period(connection, self.team_id, cadence, now, zone),
            )
            for cadence in DIGESTED
            if cadence in members
        )

    def _follow(self, connection: Connection, rule: Rule, new: NewEvent) -> bool:
        """Whether the rule found its recipient, who is a member of the other topic now."""
        who = new.data.get(RECIPIENT_FIELD)
        if not isinstance(who, str) or not who or "\0" in who:
            log.warning("rule.names_nobody", extra={"topic_id": new.topic_id})
            return False
        try:
            (named,) = find_recipients(connection, self.team_id, [who])
        except (UnknownRecipient, InvalidValue):
            log.warning("rule.names_nobody", extra={"topic_id": new.topic_id})
            return False
        join_topic(
            connection,
            topic=rule.joins_topic_id,
            recipient_id=named.recipient_id,
            channel=Channel.EMAIL,
            source=f"rule on {rule.topic}",
        )
        return True


def hash_of(data: Mapping[str, Any], *, is_test: bool = False) -> str:
    """SHA-256 of an event's data, whatever the order of its names; a test is another event."""
    said = orjson.dumps(dict(data), option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(b"test " + said if is_test else said).hexdigest()


def _matching(connection: Connection, new: NewEvent) -> list[Rule]:
    return [
        rule
        for rule in rules_of(connection, new.topic_id)
        if _as_text(new.data.get(rule.field)) == rule.value
    ]


def _as_text(value: Any) -> str | None:
    """As a rule writes it: a text as it is, all else as JSON."""
    if value is None or isinstance(value, str):
        return value
    return orjson.dumps(value).decode()


def _checked_data(key: str, data: Mapping[str, Any]) -> dict[str, Any]:
    """The data as plain JSON. Raises EventRefused."""
    if not 1 <= len(key) <= MAX_KEY or not key.isprintable():
        raise EventRefused(f"An event's key has 1 to {MAX_KEY} printable characters.")
    if not isinstance(data, Mapping):
        raise EventRefused("An event's data is a JSON object: names with their values.")
    taken = sorted({MEMBER, *BUILT_IN_NAMES}.intersection(data))
    if taken:
        raise EventRefused(f"'{taken[0]}' is a name of ours in templates; the data needs another.")
    try:
        packed = orjson.dumps(dict(data))
    except (TypeError, ValueError) as error:
        raise EventRefused(f"The event's data is not JSON: {error}.") from error
    if len(packed) > MAX_VARIABLES_BYTES:
        raise EventRefused(f"The event's data is larger than {MAX_VARIABLES_BYTES // 1000} kB.")
    if b"\\u0000" in packed:
        raise EventRefused("The event's data holds the character NUL, which cannot be stored.")
    loaded: dict[str, Any] = orjson.loads(packed)
    return loaded

"""Takes requests: from a wish to committed rows, in one statement where nothing has changed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy import Connection

from domain.local_time import moment_of, zone_of
from domain.plan import Step
from domain.send import Channel, MessageClass
from models.request import (
    NewRequest,
    PeopleAsked,
    Request,
    find_by_key,
    write_request,
    write_request_to,
)
from models.team import team_clock
from models.template import Version, version_id
from models.topic import topic_id
from observability.tracing import trace_parent
from starter.campaigns import default_policy
from starter.request_recipients import Named, address_of, find_recipients
from starter.request_template import asked_of_people, check_channels, check_variables, only_step
from starter.wish import RequestRefused, Wish, hash_of


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestDesk:
    """Takes requests; made by `Carillon`, whose kept versions and senders it uses."""

    team_id: int
    version: Callable[[int], Version]
    sender: Callable[[int], Mapping[str, str]]
    expires_after: timedelta
    local_grace: timedelta
    _last: dict[str, Version] = field(default_factory=dict)
    """What a template's name meant when it was looked up last."""

    def write(self, connection: Connection, wish: Wish, is_gathered: bool) -> Request:
        """The committed request, or what the same key wrote before, in the caller's transaction.

        Raises one of `starter.messages.REFUSALS`: nothing was written then.
        """
        made = self.write_at_once(connection, wish, is_gathered)
        if made is not None:
            return made
        ready = self.look_up(connection, wish, is_gathered)
        return ready if isinstance(ready, Request) else write_request(connection, ready)

    def write_at_once(
        self, connection: Connection, wish: Wish, is_gathered: bool
    ) -> Request | None:
        """The request, by a statement whose conditions are what else is looked up first.

        None: nothing was written, as something is new, has changed, or was never simple enough:
        `look_up` tells. Raises RequestRefused.
        """
        version = self._last.get(wish.template)
        is_simple = wish.topic is None and wish.local_at is None
        if version is None or not is_simple or any(address_of(name) for name in wish.to):
            return None
        plan = _checked_plan(wish, version)
        people = PeopleAsked(
            template=wish.template,
            external_ids=list(dict.fromkeys(wish.to)),
            attributes=asked_of_people(version, plan, wish.variables),
        )
        new = self._new(wish, version, plan, hash_of(wish), is_gathered, due_at=wish.at)
        return write_request_to(connection, new, people)

    def look_up(
        self, connection: Connection, wish: Wish, is_gathered: bool
    ) -> NewRequest | Request:
        """The checked request, or what the same key wrote before. Writes at most a recipient.

        Raises one of `starter.messages.REFUSALS`.
        """
        request_hash = hash_of(wish)
        if wish.idempotency_key is not None:
            before = find_by_key(connection, self.team_id, wish.idempotency_key, request_hash)
            if before is not None:
                return before
        version = self.version(version_id(connection, self.team_id, wish.template))
        self._last[wish.template] = version
        plan = _checked_plan(wish, version)
        named = find_recipients(connection, self.team_id, wish.to)
        check_variables(version, plan, wish.variables, named)
        return self._new(
            wish,
            version,
            plan,
            request_hash,
            is_gathered,
            recipients=list(dict.fromkeys(one.recipient_id for one in named)),
            topic_id=topic_id(connection, self.team_id, wish.topic) if wish.topic else None,
            due_at=self._due_at(connection, wish, named),
        )

    def _new(  # noqa: PLR0913  what has been found out on the way, put together once
        self,
        wish: Wish,
        version: Version,
        plan: Sequence[Step],
        request_hash: str,
        is_gathered: bool,
        *,
        due_at: datetime | None,
        recipients: Sequence[int] = (),
        topic_id: int | None = None,
    ) -> NewRequest:
        message_class = wish.message_class or version.message_class
        has_email = any(step.channel is Channel.EMAIL for step in plan)
        return NewRequest(
            team_id=self.team_id,
            name=version.name,
            message_class=message_class,
            priority=wish.priority,
            plan=plan,
            topic_id=topic_id,
            template_version_id=version.id,
            sender=self.sender(version.id) if has_email else {},
            variables=wish.variables,
            on_unknown=wish.on_unknown or default_policy(message_class),
            recipients=recipients,
            idempotency_key=wish.idempotency_key,
            request_hash=request_hash,
            due_at=due_at,
            local_at=wish.local_at,
            local_grace=self.local_grace,
            expires_after=wish.expires_after or self.expires_after,
            is_gathered=is_gathered,
            is_test=wish.is_test,
            trace_parent=trace_parent(),
        )

    def _due_at(
        self, connection: Connection, wish: Wish, named: Sequence[Named]
    ) -> datetime | None:
        """When to look at the first of them: by local time the earliest of their moments."""
        if wish.local_at is None:
            return wish.at
        default = team_clock(connection, self.team_id).time_zone
        zones = {zone_of(one.time_zone, default) for one in named}
        return min(moment_of(wish.local_at, zone) for zone in zones)


def _checked_plan(wish: Wish, version: Version) -> tuple[Step, ...]:
    """The plan, which the version has words for. Raises RequestRefused."""
    plan = tuple(wish.plan) or (only_step(version),)
    check_channels(version, plan)
    message_class = wish.message_class or version.message_class
    if message_class is MessageClass.MARKETING and wish.topic is None:
        raise RequestRefused(
            f"{version.label} is marketing, which needs a topic that its reader can leave."
        )
    return plan

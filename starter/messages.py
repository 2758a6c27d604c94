"""Single messages: checked, committed, and then nobody's business but Carillon's.

    carillon = Carillon()
    sent = await carillon.send("order-shipped", to="customer-42", variables={"order": "A-17"},
                               idempotency_key="shipped-A-17")

Callers need PostgreSQL alone: no worker, no Temporal. `send_blocking` is the twin for code without asyncio.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from activities.contract import CommittedRequest, RequestInput
from domain.address_key import address_key
from domain.person import InvalidValue
from domain.plan import PlanRefused
from models.database import (
    DatabaseUnreachable,
    connect,
    in_transaction,
    is_connection_lost,
    is_silent,
    reach,
)
from models.outbox import Announcer
from models.request import (
    KeyReused,
    NewRequest,
    Request,
    cancel_request,
    send_of_key,
    write_request,
)
from models.request_progress import request_status
from models.schema import require_head
from models.team import default_team_id
from models.template import UnknownTemplate, Version, find_version_by_id
from models.topic import UnknownTopic
from models.topic_event import Event
from observability.metrics import REPEATS_SUPPRESSED
from settings import Settings
from starter.campaigns import CampaignRefused, sender_of
from starter.events import EventDesk
from starter.request_desk import RequestDesk
from starter.request_recipients import UnknownRecipient, address_of
from starter.request_template import MissingVariables
from starter.wish import RequestRefused, Wish, check_sizes, wish_of


class Carillon:
    """A service's way in. Thread-safe; keep one for the life of the process."""

    def __init__(
        self,
        settings: Settings | None = None,
        engine: Engine | None = None,
        *,
        team_id: int | None = None,
    ) -> None:
        """By default on the settings of the environment, or the running `carillon up`.

        Of an `engine` that is given both kinds of use are derived: statements that commit by
        themselves, and transactions. It must not be derived itself, for then the first option wins.
        `team_id`: None means the team `default`, which is then looked up.

        Raises SettingsError, NoDatabase, DatabaseUnreachable, SchemaNotAtHead.
        """
        from starter import context

        self._settings = settings or context.settings()
        given = engine or client_engine(self._settings)
        self._engine = given.execution_options(isolation_level="AUTOCOMMIT")

        @lru_cache(maxsize=512)
        def version(key: int) -> Version:
            with self._engine.connect() as connection:
                return find_version_by_id(connection, key)

        @lru_cache(maxsize=512)
        def sender(key: int) -> Mapping[str, str]:
            return sender_of(version(key), self._settings)

        self._announcer = Announcer()
        self._transactional = given.execution_options(isolation_level="READ COMMITTED")
        self._team = self._default_team() if team_id is None else team_id
        expires_after = self._settings.seconds("request_expires_after")
        self._requests = RequestDesk(
            team_id=self._team,
            version=version,
            sender=sender,
            expires_after=expires_after,
            local_grace=self._settings.seconds("local_grace"),
        )
        self._events = EventDesk(
            team_id=self._team, version=version, sender=sender, expires_after=expires_after
        )

    def _default_team(self) -> int:
        with self._engine.connect() as connection:
            return default_team_id(connection)

    async def send(self, template: str, *, to: str | Sequence[str], **wishes: Any) -> Request:
        """Commit a request without blocking the loop; see `send_blocking`."""
        return await asyncio.to_thread(self.send_blocking, template, to=to, **wishes)

    def send_blocking(self, template: str, *, to: str | Sequence[str], **wishes: Any) -> Request:
        """Commit a request to one or up to 1,000 recipients; its id, as soon as rows are committed.

        `wishes` are the fields of `Wish`; `plan` may be text ("sms,email"), `priority` a word. The
        same `idempotency_key` again returns the first answer; with another request KeyReused.
        Raises RequestRefused, UnknownTemplate, UnknownTopic, PlanRefused, InvalidAddress: nothing
        was written then.
        """
        return self.request(wish_of(template, to, wishes))

    def request(self, wish: Wish, *, is_gathered: bool = True) -> Request:
        """The same for a wish at hand. `is_gathered`: False leaves the driving to the caller."""
        check_sizes(wish)
        if all(address_of(name) is None for name in wish.to):
            made = self._in_one_statement(wish, is_gathered)
        else:
            made = in_transaction(
                self._transactional, lambda c: self._requests.write(c, wish, is_gathered)
            )
            self.announce()
        if made.is_repeat:
            REPEATS_SUPPRESSED.labels("idempotency_key").inc()
        return made

    def _in_one_statement(self, wish: Wish, is_gathered: bool) -> Request:
        """One statement writes all of it, so it needs no transaction: two round trips less.

        A connection that the server has closed meanwhile is left for a new one; nothing is repeated
        once the write is under way.
        """
        with self._engine.connect() as connection:
            if is_silent(connection):
                made = self._requests.write_at_once(connection, wish, is_gathered)
                if made is not None:
                    self._announcer.committed(connection)
                    return made
        return self._looked_up(wish, is_gathered)

    def _looked_up(self, wish: Wish, is_gathered: bool) -> Request:
        """The kept connections are not asked whether they live: the look-ups before the write tell."""
        for _ in range(2):
            with self._engine.connect() as connection:
                try:
                    ready = self._requests.look_up(connection, wish, is_gathered)
                except DBAPIError as error:
                    if not is_connection_lost(error):
                        raise
                    continue
                if isinstance(ready, Request):
                    return ready
                made = write_request(connection, ready)
                self._announcer.committed(connection)
                return made
        raise DatabaseUnreachable("PostgreSQL went away while the request was looked at.")

    def request_within(self, connection: Connection, wish: Wish) -> Request:
        """The same in the caller's transaction, who commits it and then calls `announce`."""
        check_sizes(wish)
        return self._requests.write(connection, wish, is_gathered=True)

    def announce(self) -> None:
        """What the caller committed may be work: gatherers need not wait for their next look."""
        with self._engine.connect() as connection:
            self._announcer.committed(connection)

    def check(self, wish: Wish) -> NewRequest:
        """What would be written; nothing is, also for an idempotency key that was used before."""
        check_sizes(wish)
        with self._transactional.connect() as connection:
            ready = self._requests.look_up(connection, replace(wish, idempotency_key=None), True)
            connection.rollback()
        assert isinstance(ready, NewRequest)  # noqa: S101  only a key finds what was made before
        return ready

    async def event(self, topic: str, key: str, data: Mapping[str, Any] | None = None) -> Event:
        """Raise an event without blocking the loop; see `event_blocking`."""
        return await asyncio.to_thread(self.event_blocking, topic, key, data)

    def event_blocking(
        self,
        topic: str,
        key: str,
        data: Mapping[str, Any] | None = None,
        *,
        is_test: bool = False,
    ) -> Event:
        """Tell everybody who joined the topic, at once or in their digest, as soon as rows are committed.

        The same key again returns the first answer. `is_test`: messages end in a log, and digests do
        not hold it. Raises EventRefused, UnknownTopic, EventKeyReused: nothing was written then.
        """
        raised = in_transaction(
            self._transactional,
            lambda c: self.event_within(c, topic, key, data or {}, is_test=is_test),
        )
        self.announce()
        return raised

    def event_within(
        self,
        connection: Connection,
        topic: str,
        key: str,
        data: Mapping[str, Any],
        *,
        is_test: bool = False,
    ) -> Event:
        """The same in the caller's transaction, who commits it and then calls `announce`."""
        return self._events.raise_event(connection, topic, key, data, is_test=is_test)

    def send_id_of_blocking(self, idempotency_key: str) -> int:
        """The send that was made with this key. Raises UnknownSend."""
        with self._engine.connect() as connection:
            return send_of_key(connection, self._team, idempotency_key)

    def cancel_blocking(self, send_id: int) -> list[int]:
        """Cancel a request: whoever was not tried gets nothing. Its groups, to be poked."""
        return in_transaction(self._transactional, lambda c: cancel_request(c, send_id))

    def has_ended(self, send_id: int) -> bool:
        """Whether all messages of the request are final. Raises UnknownSend."""
        with self._engine.connect() as connection:
            return request_status(connection, self._team, send_id).closed_at is not None

    def close(self) -> None:
        """Give the connections back."""
        self._engine.dispose()


REFUSALS = (
    RequestRefused,
    UnknownRecipient,
    MissingVariables,
    CampaignRefused,
    InvalidValue,
    KeyReused,
    PlanRefused,
    UnknownTemplate,
    UnknownTopic,
)
"""Why a request is not taken; each says it in one sentence."""


def commit_request(carillon: Carillon, given: RequestInput) -> CommittedRequest:
    """Commit a request that came through Temporal; its messages get a group of their own."""
    if not given.key:
        raise RequestRefused("A request through Temporal needs a key: it makes it idempotent.")
    wish = wish_of(
        given.template,
        given.to,
        {
            "variables": given.variables,
            "idempotency_key": given.key,
            "plan": given.plan or (),
            "priority": given.priority,
            "topic": given.topic,
            "message_class": given.message_class,
            "at": given.at,
            "local_at": given.local_at,
            "expires_after": _seconds(given.expires_after_seconds),
            "on_unknown": given.on_unknown,
        },
    )
    # What is due later waits in the outbox, not in a workflow.
    made = carillon.request(wish, is_gathered=wish.at is not None or wish.local_at is not None)
    return CommittedRequest(
        send=made.public_id,
        messages=made.messages,
        group_id=made.group_id,
        is_repeat=made.is_repeat,
    )


def _seconds(given: float | None) -> timedelta | None:
    return None if given is None else timedelta(seconds=given)


def client_engine(settings: Settings) -> Engine:
    """An engine as services need it. Raises NoDatabase, DatabaseUnreachable, SchemaNotAtHead."""
    from starter.context import NoDatabase

    if not settings.database_url:
        raise NoDatabase(
            "Carillon has no database here: start the development stack with `carillon up`,"
            " or set CARILLON_DATABASE_URL."
        )
    made = connect(
        settings.database_url,
        pool_size=32,
        application_name="carillon-client",
        is_checked=False,
        is_indexed=True,
        isolation_level="AUTOCOMMIT",
        address_key=address_key(settings.link_secret.get_secret_value().encode()),
    )
    reach(made)
    require_head(made)
    return made

"""Requests for single messages: one statement writes the send, its messages and their outbox rows."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import orjson
from sqlalchemy import Connection, text

from domain.identifier import SEND_PREFIX, public_id
from domain.local_time import last_moment
from domain.plan import Step
from domain.send import MessageClass, OnUnknown, Priority, SendKind, SendState
from models.outbox import make_due
from models.prepared import Prepared, one
from models.template import NEWEST_VERSION, version_asked


@dataclass(frozen=True, slots=True, kw_only=True)
class NewRequest:
    """A request that has been checked."""

    team_id: int
    name: str
    message_class: MessageClass
    priority: Priority
    plan: Sequence[Step]
    topic_id: int | None
    template_version_id: int
    sender: Mapping[str, str]
    variables: Mapping[str, Any]
    on_unknown: OnUnknown
    recipients: Sequence[int]
    """Ids, each once; their order gives the ordinals."""
    idempotency_key: str | None
    request_hash: str
    due_at: datetime | None
    expires_after: timedelta
    """From its due time on, by local time from the last moment on earth, or from now."""
    local_at: datetime | None = None
    """Naive; `due_at` is then the moment of the first of its recipients."""
    local_grace: timedelta | None = None
    is_test: bool = False
    is_gathered: bool = True
    """False: the caller drives its messages; they get a group of their own."""
    trace_parent: str | None = None
    """The traceparent (W3C) of what asks for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A committed request."""

    send_id: int
    messages: int
    group_id: int | None = None
    is_repeat: bool = False
    """The same request was made before; nothing was written now."""

    @property
    def public_id(self) -> str:
        """The send's id outside."""
        return public_id(SEND_PREFIX, self.send_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class PeopleAsked:
    """What is still to be found true when a request is written to people by their external ids."""

    template: str
    """Means the request's version: KEY, whose newest it is, or KEY@N."""
    external_ids: Sequence[str]
    """Each once, in the order of the ordinals; each is somebody, and no two are one by a merge."""
    attributes: Collection[str]
    """Names that everybody has."""


class KeyReused(Exception):
    """The idempotency key belongs to another request; the message is one sentence."""


class UnknownSend(Exception):
    """No send has this id; the message is one sentence."""


class TooLate(Exception):
    """The send has ended already; the message is one sentence."""


_NEW_ID = "key_at(clock_timestamp()) | (nextval('send_number') % 1048576)"

_INSERT = f"""
    made AS (
        INSERT INTO send (id, team_id, kind, name, message_class, channel, topic_id, priority, plan,
            template_version_id, sender, variables, idempotency_key, request_hash, state, on_unknown,
            messages, due_at, local_at, local_grace, is_test, trace_parent, started_at, frozen_at,
            expires_at)
        SELECT {_NEW_ID}, :team, :kind, :name, :message_class, :channel, :topic, :priority,
            CAST(:plan AS jsonb), :version, CAST(:sender AS jsonb), '{{}}', :key, :hash, :state,
            :on_unknown, :messages, :due_at, :local_at, :local_grace, :is_test, :trace_parent,
            clock_timestamp(),
            clock_timestamp(), coalesce(:lasts_until, :due_at, clock_timestamp()) + :expires_after
        FROM asked WHERE asked.is_right
        ON CONFLICT (team_id, idempotency_key) DO NOTHING RETURNING id),
    said AS (
        INSERT INTO message (send_id, ordinal, recipient_id, variables)
        SELECT made.id, named.ordinal, named.recipient_id, CAST(:variables AS jsonb)
        FROM made, named),
    grouped AS (
        INSERT INTO message_group (id, priority, channel, team_id)
        SELECT {_NEW_ID}, :priority, :channel, :team FROM made WHERE NOT :is_gathered RETURNING id),
    owed AS (
        INSERT INTO outbox (send_id, ordinal, priority, channel, due_at, group_id)
        SELECT made.id, x.ordinal, :priority, :channel, :due_at, (SELECT id FROM grouped)
        FROM made, generate_series(1, :messages) AS x(ordinal))
    SELECT made.id, (SELECT id FROM grouped) AS group_id FROM made
"""  # noqa: S608  only constants of ours are put in

_WRITE_REQUEST = Prepared(
    "request_write_request",
    "WITH asked AS (SELECT true AS is_right),"  # noqa: S608  only constants of ours are put in
    " named AS (SELECT recipient_id, ordinal"
    "  FROM unnest(CAST(:recipients AS bigint[])) WITH ORDINALITY AS x(recipient_id, ordinal)),"
    + _INSERT,
)
_NAMED = one(
    "recipient",
    "team_id = :team AND external_id = x.name AND erased_at IS NULL"
    " AND attributes ?& CAST(:attributes AS text[])",
    "r",
)
_WRITE_REQUEST_TO = Prepared(
    "request_write_request_to",
    "WITH named AS MATERIALIZED (SELECT"  # noqa: S608  only constants of ours are put in
    "  coalesce(r.merged_into, r.id) AS recipient_id, x.ordinal"
    f" FROM unnest(CAST(:names AS text[])) WITH ORDINALITY AS x(name, ordinal) {_NAMED}),"
    f" asked AS (SELECT :version = ({NEWEST_VERSION})"
    "   AND :messages = (SELECT count(DISTINCT recipient_id) FROM named) AS is_right)," + _INSERT,
)


def write_request(connection: Connection, new: NewRequest) -> Request:
    """Write the request, or answer what the same key wrote before. Raises KeyReused."""
    row = _WRITE_REQUEST.run(
        connection, {**_values(new, len(new.recipients)), "recipients": list(new.recipients)}
    ).one_or_none()
    if row is not None:
        return Request(send_id=row.id, messages=len(new.recipients), group_id=row.group_id)
    return _made_before(connection, new)


def write_request_to(
    connection: Connection, new: NewRequest, people: PeopleAsked
) -> Request | None:
    """Write the request to these people instead of `new.recipients`.

    None: nothing was written, as something asked is not so, or the key was used before.
    """
    messages = len(people.external_ids)
    row = _WRITE_REQUEST_TO.run(
        connection,
        {
            **_values(new, messages),
            **version_asked(people.template),
            "names": list(people.external_ids),
            "attributes": list(people.attributes),
        },
    ).one_or_none()
    if row is None:
        return None
    return Request(send_id=row.id, messages=messages, group_id=row.group_id)


def _values(new: NewRequest, messages: int) -> dict[str, Any]:
    return {
        "team": new.team_id,
        "kind": SendKind.REQUEST,
        "name": new.name,
        "message_class": new.message_class,
        "channel": new.plan[0].channel,
        "topic": new.topic_id,
        "priority": int(new.priority),
        "plan": orjson.dumps([step.as_json() for step in new.plan]).decode(),
        "version": new.template_version_id,
        "sender": orjson.dumps(dict(new.sender)).decode(),
        "variables": orjson.dumps(dict(new.variables)).decode() if new.variables else None,
        "key": new.idempotency_key,
        "hash": new.request_hash,
        "state": SendState.RUNNING,
        "on_unknown": new.on_unknown,
        "messages": messages,
        "due_at": new.due_at,
        "local_at": new.local_at,
        "local_grace": new.local_grace if new.local_at else None,
        "lasts_until": last_moment(new.local_at) if new.local_at else None,
        "expires_after": new.expires_after,
        "is_gathered": new.is_gathered,
        "trace_parent": new.trace_parent,
        "is_test": new.is_test,
    }


_FIND_BY_KEY = Prepared(
    "request_find_by_key",
    "SELECT s.id, s.messages, s.request_hash, (SELECT min(o.group_id) FROM outbox o"
    "  WHERE o.send_id = s.id) AS group_id FROM send s"
    " WHERE s.team_id = :team AND s.idempotency_key = :key",
)


def find_by_key(
    connection: Connection, team_id: int, key: str, request_hash: str
) -> Request | None:
    """What this key wrote before; None: nothing. Raises KeyReused for another request."""
    row = _FIND_BY_KEY.run(connection, {"team": team_id, "key": key}).one_or_none()
    if row is None:
        return None
    if row.request_hash != request_hash:
        raise KeyReused(
            f"The idempotency key '{key}' was used for another request"
            f" ({public_id(SEND_PREFIX, row.id)}); a new request needs a key of its own."
        )
    return Request(send_id=row.id, messages=row.messages, group_id=row.group_id, is_repeat=True)


def _made_before(connection: Connection, new: NewRequest) -> Request:
    assert new.idempotency_key is not None  # noqa: S101  only a key can conflict
    found = find_by_key(connection, new.team_id, new.idempotency_key, new.request_hash)
    assert found is not None  # noqa: S101  it is what the insert met
    return found


def send_of_key(connection: Connection, team_id: int, key: str) -> int:
    """Id of the send of single messages that has this idempotency key. Raises UnknownSend."""
    found: int | None = connection.execute(
        text(
            "SELECT id FROM send WHERE team_id = :team AND idempotency_key = :key AND kind = :kind"
        ),
        {"team": team_id, "key": key, "kind": SendKind.REQUEST},
    ).scalar()
    if found is None:
        raise UnknownSend(f"No send of single messages has the idempotency key '{key}'.")
    return found


def cancel_request(connection: Connection, send_id: int) -> list[int]:
    """Cancel a send of single messages: who was not tried is cancelled. The groups to poke.

    Raises UnknownSend, or TooLate when it has ended.
    """
    row = connection.execute(
        text("SELECT state, closed_at FROM send WHERE id = :id AND kind = :kind FOR NO KEY UPDATE"),
        {"id": send_id, "kind": SendKind.REQUEST},
    ).one_or_none()
    if row is None:
        raise UnknownSend(f"There is no send {public_id(SEND_PREFIX, send_id)} of single messages.")
    if row.closed_at is not None and row.state != SendState.CANCELLED:
        raise TooLate(f"The send {public_id(SEND_PREFIX, send_id)} is {row.state} already.")
    connection.execute(
        text("UPDATE send SET state = :cancelled WHERE id = :id"),
        {"cancelled": SendState.CANCELLED, "id": send_id},
    )
    return make_due(connection, send_id)

"""Campaigns as operators handle them: made, started, paused, resumed, cancelled, listed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import orjson
from sqlalchemy import Connection, text

from domain.identifier import SEND_PREFIX, public_id
from domain.local_time import Window
from domain.send import MessageClass, OnUnknown, Priority, SendState
from domain.webhook_event import WebhookEvent
from models.rate_limit import send_key, set_limit
from models.webhook_event import tell_campaign, tell_started

KIND = "campaign"


class UnknownCampaign(Exception):
    """No campaign has this id; the message is one sentence."""


class WrongState(Exception):
    """What was asked for is not possible in the campaign's state; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewCampaign:
    """What `campaign create` has checked."""

    team_id: int
    name: str
    message_class: MessageClass
    channel: str
    topic_id: int
    template_version_id: int
    account_id: int
    sender: dict[str, str]
    variables: dict[str, Any]
    on_unknown: OnUnknown
    rate: float | None
    expires_after: timedelta
    priority: Priority = Priority.NORMAL
    window: Window | None = None
    """When, where each recipient is, it may go."""
    local_at: datetime | None = None
    """Naive: it goes to each when it is that time where they are."""
    local_grace: timedelta | None = None
    is_test: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Campaign:
    """A campaign as lists and use cases see it."""

    id: int
    team_id: int
    team: str
    name: str
    state: SendState
    message_class: MessageClass
    channel: str
    topic_id: int
    topic: str
    template: str
    template_version_id: int
    account_id: int
    account: str
    account_is_real: bool
    sender: dict[str, str]
    variables: dict[str, Any]
    on_unknown: OnUnknown
    priority: Priority
    rate: float | None
    round: int
    messages: int
    excluded: dict[str, int]
    created_at: datetime
    due_at: datetime | None
    """When a scheduled one starts by itself."""
    local_at: datetime | None
    started_at: datetime | None
    expires_at: datetime
    is_expired: bool
    is_test: bool
    """Made by a test key: it goes through everything and ends at an account that only logs."""
    window: Window | None
    frozen_at: datetime | None
    closed_at: datetime | None
    trace_parent: str | None
    """The traceparent (W3C) of its start."""

    @property
    def public_id(self) -> str:
        """Its id outside."""
        return public_id(SEND_PREFIX, self.id)


def create_campaign(connection: Connection, new: NewCampaign) -> int:
    """Id of a new draft. `expires_at` counts from its start; until then it is only a default."""
    made: int = connection.execute(
        text(
            "INSERT INTO send (id, team_id, kind, name, message_class, channel, topic_id,"
            " template_version_id, account_id, sender, variables, state, on_unknown, priority, rate,"
            " expires_at, window_from, window_until, local_at, local_grace, is_test)"
            " VALUES (key_at(clock_timestamp()) | (nextval('send_number') % 1048576), :team_id, :kind,"
            " :name, :message_class, :channel, :topic_id, :template_version_id, :account_id,"
            " CAST(:sender AS jsonb), CAST(:variables AS jsonb), :state, :on_unknown, :priority, :rate,"
            " clock_timestamp() + :expires_after, :window_from, :window_until, :local_at,"
            " :local_grace, :is_test) RETURNING id"
        ),
        {
            "kind": KIND,
            "state": SendState.DRAFT,
            "team_id": new.team_id,
            "name": new.name,
            "message_class": new.message_class,
            "channel": new.channel,
            "topic_id": new.topic_id,
            "template_version_id": new.template_version_id,
            "account_id": new.account_id,
            "sender": orjson.dumps(new.sender).decode(),
            "variables": orjson.dumps(new.variables).decode(),
            "on_unknown": new.on_unknown,
            "priority": int(new.priority),
            "rate": new.rate,
            "expires_after": new.expires_after,
            "window_from": new.window and new.window.start,
            "window_until": new.window and new.window.until,
            "local_at": new.local_at,
            "local_grace": new.local_grace if new.local_at else None,
            "is_test": new.is_test,
        },
    ).scalar_one()
    set_limit(connection, send_key(made), new.rate)
    return made


_SELECT = """
    SELECT s.id, s.team_id, te.key AS team, s.name, s.state, s.message_class, s.channel, s.topic_id,
           t.key AS topic, p.key || '@' || v.number AS template, s.template_version_id,
           s.account_id, a.key AS account, a.is_real AS account_is_real, s.sender, s.variables,
           s.on_unknown, s.priority, s.rate, s.round, s.messages, s.excluded, s.created_at, s.due_at,
           s.local_at, s.started_at,
           s.expires_at, s.expires_at <= clock_timestamp() AS is_expired, s.frozen_at, s.closed_at,
           s.trace_parent, s.is_test, s.window_from, s.window_until
    FROM send s JOIN topic t ON t.id = s.topic_id JOIN team te ON te.id = s.team_id
    JOIN template_version v ON v.id = s.template_version_id JOIN template p ON p.id = v.template_id
    JOIN provider_account a ON a.id = s.account_id
    WHERE s.kind = 'campaign'
"""


def find_campaign(connection: Connection, send_id: int) -> Campaign:
    """The campaign. Raises UnknownCampaign."""
    row = (
        connection.execute(text(_SELECT + " AND s.id = :id"), {"id": send_id})
        .mappings()
        .one_or_none()
    )
    if row is None:
        raise UnknownCampaign(f"There is no campaign {public_id(SEND_PREFIX, send_id)}.")
    return _campaign(row)


def campaign_of_team(connection: Connection, team_id: int, send_id: int) -> Campaign:
    """The same, of this team. Raises UnknownCampaign, also for another team's."""
    found = find_campaign(connection, send_id)
    if found.team_id != team_id:
        raise UnknownCampaign(f"There is no campaign {found.public_id}.")
    return found


def list_campaigns(
    connection: Connection,
    team_id: int,
    limit: int = 50,
    *,
    before: int | None = None,
    state: SendState | None = None,
) -> list[Campaign]:
    """The newest campaigns of the team, newest first; `before`: only those with a smaller key."""
    asked = {" AND s.id < :before": before, " AND s.state = :state": state}
    some = "".join(said for said, value in asked.items() if value is not None)
    rows = connection.execute(
        text(f"{_SELECT} AND s.team_id = :team{some} ORDER BY s.id DESC LIMIT :limit"),
        {"team": team_id, "limit": limit, "before": before, "state": state},
    ).mappings()
    return [_campaign(row) for row in rows]


def start_campaign(
    connection: Connection,
    send_id: int,
    expires_after: timedelta,
    *,
    at: datetime | None = None,
    lasts_until: datetime | None = None,
    trace_parent: str | None = None,
) -> None:
    """Turn a draft into an accepted send, or with `at` into one that the reconciler starts then.

    A scheduled one may be started sooner, or scheduled anew. It expires so long after its start, or
    after `lasts_until` where that is later. Raises WrongState for what was started before.
    """
    started = connection.execute(
        text(
            "UPDATE send SET state = :state, due_at = :at, trace_parent = :trace_parent,"
            " started_at = CASE WHEN :is_now THEN clock_timestamp() END,"
            " expires_at = greatest(clock_timestamp(), :at, :lasts_until) + :expires_after"
            " WHERE id = :id AND state IN (:draft, :scheduled)"
        ),
        {
            "state": SendState.ACCEPTED if at is None else SendState.SCHEDULED,
            "at": at,
            "trace_parent": trace_parent,
            "is_now": at is None,
            "lasts_until": lasts_until,
            "draft": SendState.DRAFT,
            "scheduled": SendState.SCHEDULED,
            "id": send_id,
            "expires_after": expires_after,
        },
    )
    if started.rowcount == 0:
        state = find_campaign(connection, send_id).state
        raise WrongState(f"The campaign was started before; it is {state}.")
    if at is None:
        tell_campaign(connection, send_id, WebhookEvent.CAMPAIGN_STARTED)


# What an operator may change, and from which states; asking for the state it has changes nothing.
_CHANGES: dict[SendState, tuple[SendState, ...]] = {
    SendState.RUNNING: (SendState.ACCEPTED, SendState.PAUSED),
    SendState.PAUSED: (SendState.ACCEPTED, SendState.RUNNING),
    SendState.CANCELLED: (
        SendState.DRAFT,
        SendState.SCHEDULED,
        SendState.ACCEPTED,
        SendState.RUNNING,
        SendState.PAUSED,
    ),
}
_TOLD = {
    SendState.RUNNING: WebhookEvent.CAMPAIGN_RESUMED,
    SendState.PAUSED: WebhookEvent.CAMPAIGN_PAUSED,
    SendState.CANCELLED: WebhookEvent.CAMPAIGN_CANCELLED,
}


def change_state(connection: Connection, send_id: int, wanted: SendState) -> bool:
    """Whether the campaign's state was changed to running, paused or cancelled; the claim obeys at once.

    False: it is in that state already. Raises WrongState when it cannot come there from its state.
    A draft or scheduled one that is cancelled is closed with it.
    """
    row = connection.execute(
        text("SELECT state FROM send WHERE id = :id FOR NO KEY UPDATE"), {"id": send_id}
    ).one_or_none()
    if row is None:
        raise UnknownCampaign(f"There is no campaign {public_id(SEND_PREFIX, send_id)}.")
    state = SendState(row.state)
    if state is wanted:
        return False
    if state not in _CHANGES[wanted]:
        raise WrongState(f"The campaign is {state} and cannot become {wanted}.")
    connection.execute(
        text(
            "UPDATE send SET state = :wanted, closed_at = CASE WHEN :has_not_begun THEN clock_timestamp()"
            " ELSE closed_at END WHERE id = :id"
        ),
        {
            "wanted": wanted,
            "has_not_begun": state in (SendState.DRAFT, SendState.SCHEDULED),
            "id": send_id,
        },
    )
    if state is not SendState.ACCEPTED or wanted is not SendState.RUNNING:
        tell_campaign(connection, send_id, _TOLD[wanted])
    return True


def set_rate(connection: Connection, send_id: int, rate: float | None) -> None:
    """Limit the campaign to `rate` messages a second (None: no limit of its own), also while it runs."""
    campaign = find_campaign(connection, send_id)
    if campaign.closed_at is not None:
        raise WrongState(f"The campaign is {campaign.state}; its rate no longer matters.")
    set_limit(connection, send_key(send_id), rate)
    connection.execute(
        text("UPDATE send SET rate = :rate WHERE id = :id"), {"rate": rate, "id": send_id}
    )


def begin_running(connection: Connection, send_id: int) -> None:
    """The workflow has begun: an accepted send is running; any other stays as it is."""
    connection.execute(
        text("UPDATE send SET state = :running WHERE id = :id AND state = :accepted"),
        {"running": SendState.RUNNING, "accepted": SendState.ACCEPTED, "id": send_id},
    )


def unfinished_sends(connection: Connection, every: timedelta) -> Sequence[int]:
    """Started sends that are not closed and whose workflow nobody has made sure of for `every`.

    Marks them as reconciled now. It never asks Temporal, and never whether something is owed: a start
    lost before the freeze and a run lost before the close are found too. Paused ones only once
    expired: until then they have nothing to do. Scheduled ones whose time has come are started here.
    """
    _start_scheduled(connection)
    return (
        connection.execute(
            text(
                "UPDATE send SET reconciled_at = clock_timestamp() WHERE id IN ("
                " SELECT id FROM send WHERE closed_at IS NULL AND started_at IS NOT NULL"
                " AND kind = 'campaign'"
                " AND (state IN ('accepted', 'running', 'cancelled')"
                "      OR (state = 'paused' AND expires_at <= clock_timestamp()))"
                " AND (reconciled_at IS NULL OR reconciled_at <= clock_timestamp() - :every)"
                " ORDER BY id LIMIT 500 FOR NO KEY UPDATE SKIP LOCKED) RETURNING id"
            ),
            {"every": every},
        )
        .scalars()
        .all()
    )


def _start_scheduled(connection: Connection) -> None:
    """The rows alone hold a schedule: nothing of it is lost with Temporal."""
    connection.execute(
        text(
            "WITH begun AS (UPDATE send SET state = :accepted, started_at = clock_timestamp()"  # noqa: S608  ours
            " WHERE state = :scheduled AND closed_at IS NULL AND kind = :kind"
            f" AND due_at <= clock_timestamp() RETURNING id, team_id, is_test) {tell_started('begun')}"
        ),
        {"accepted": SendState.ACCEPTED, "scheduled": SendState.SCHEDULED, "kind": KIND},
    )


def _campaign(row: Any) -> Campaign:
    columns = dict(row)
    window = Window.of(columns.pop("window_from"), columns.pop("window_until"))
    return Campaign(
        **{
            **columns,
            "window": window,
            "state": SendState(row["state"]),
            "message_class": MessageClass(row["message_class"]),
            "on_unknown": OnUnknown(row["on_unknown"]),
            "priority": Priority(row["priority"]),
        }
    )

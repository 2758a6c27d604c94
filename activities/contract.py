"""Inputs and results of activities: ids in, counts and verdicts out; never a row, never an address."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any


class Stop(StrEnum):
    """Why a batch or shard was left although it has work; nothing was lost by it."""

    NONE = ""
    PAUSED = "paused"
    HELD = "held"
    ACCOUNT = "account"


@dataclass(frozen=True, slots=True, kw_only=True)
class SendRef:
    """A send, by its key."""

    send_id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FrozenAudience:
    """What the freeze made, and what the operator's page says of the campaign."""

    messages: int
    shards: int
    name: str
    topic: str
    account: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardRef:
    """A shard of a send."""

    send_id: int
    shard: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchToDo:
    """A batch that has work, now or from `resume_at` on."""

    lo: int
    resume_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardToDo:
    """The batches of a shard that have work; none: the shard is done."""

    batches: list[BatchToDo]
    is_ended: bool = False
    """The send is cancelled or expired: what waits for a provider waits no longer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchInput:
    """One pass over a batch."""

    send_id: int
    lo: int
    failures: int = 0
    """Passes in a row that met an unavailable provider: the backoff grows with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchResult:
    """What a pass came to. Not done and no stop: it has work again at `resume_at`."""

    is_done: bool
    resume_at: datetime | None = None
    stop: Stop = Stop.NONE
    failures: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class CloseResult:
    """Whether the send is closed; if not, the shards that have work again."""

    is_closed: bool
    open_shards: list[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class SendStatus:
    """What a waiting campaign looks at, and what its operator page shows."""

    state: str
    is_expired: bool
    expires_at: datetime
    stop: Stop
    why: str
    """The reason of the stop, in the operator's or provider's words; no addresses."""
    messages: int
    counts: dict[str, int]
    rate: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeInput:
    """A change an operator asked for: `state` running, paused or cancelled, or a new rate."""

    send_id: int
    state: str = ""
    rate: float | None = None
    sets_rate: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupInput:
    """One pass over a group of single messages."""

    group_id: int
    failures: int = 0
    """Passes in a row that met an unavailable provider: the backoff grows with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupResult:
    """What a pass came to. Not done: the group has work again at `resume_at`."""

    is_done: bool
    resume_at: datetime | None = None
    failures: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class DigestsRef:
    """A period of digests, by its key."""

    period_id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DigestsWritten:
    """What a period came to."""

    messages: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestInput:
    """A request for single messages, as plain JSON from any language."""

    key: str
    """Idempotency key: the same again is the same request."""
    template: str
    to: list[str]
    variables: dict[str, Any] = field(default_factory=dict)
    plan: str = ""
    """As in `carillon send --plan`; empty: the template's own channel."""
    priority: str = "normal"
    topic: str | None = None
    message_class: str | None = None
    at: datetime | None = None
    local_at: str | None = None
    """When it is that time where each recipient is: "2026-12-24T18:00", without a zone."""
    expires_after_seconds: float | None = None
    on_unknown: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CommittedRequest:
    """What was committed; `group_id` is the group that drives it, null when it has ended."""

    send: str
    """Its id outside, snd_…"""
    messages: int
    group_id: int | None
    is_repeat: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhooksRef:
    """A webhook endpoint, by its key."""

    endpoint_id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhooksPass:
    """What a pass over an endpoint's events came to. Not done: there is more, at `resume_at` or now."""

    is_done: bool
    resume_at: datetime | None = None

"""A message as one asks for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal, TypedDict


class SendOptions(TypedDict, total=False):
    """What may be said of a message beside template, recipients and variables."""

    idempotency_key: str | None
    """Of your own, so that the same wish is never sent twice. Of a message by itself: one is made."""
    message_class: Literal["transactional", "marketing"] | None
    """None: the template's."""
    priority: Literal["critical", "high", "normal", "low"] | None
    topic: str | None
    plan: str | None
    """Channel plan, as "in_app:read/1h,sms,email"; None: the template's channel."""
    at: datetime | None
    """Not before then; with a zone."""
    local_at: datetime | str | None
    """When it is that time where each recipient is; without a zone, to the minute."""
    expires_after: timedelta | None
    """In which it may be sent."""
    on_unknown: Literal["resend", "leave"] | None
    """When a provider's answer is lost."""


@dataclass(frozen=True, slots=True)
class NewMessage:
    """One message of a bulk. `to`: your external ids, or bare addresses; one, or up to 1,000."""

    template: str
    to: str | Sequence[str]
    variables: Mapping[str, Any] = field(default_factory=dict)
    idempotency_key: str | None = field(default=None, kw_only=True)
    message_class: Literal["transactional", "marketing"] | None = field(default=None, kw_only=True)
    priority: Literal["critical", "high", "normal", "low"] | None = field(
        default=None, kw_only=True
    )
    topic: str | None = field(default=None, kw_only=True)
    plan: str | None = field(default=None, kw_only=True)
    at: datetime | None = field(default=None, kw_only=True)
    local_at: datetime | str | None = field(default=None, kw_only=True)
    expires_after: timedelta | None = field(default=None, kw_only=True)
    on_unknown: Literal["resend", "leave"] | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        """Raises ValueError for a time that would be read otherwise than it is meant."""
        if self.at is not None and self.at.utcoffset() is None:
            raise ValueError("`at` needs a time zone; `local_at` is each recipient's own time.")
        if isinstance(self.local_at, datetime) and self.local_at.utcoffset() is not None:
            raise ValueError("`local_at` is each recipient's own time: leave out its zone.")

    def as_json(self) -> dict[str, Any]:
        """The body that the API takes, without the key and without what was not said."""
        after, local_at = self.expires_after, self.local_at
        said = {
            "template": self.template,
            "to": self.to if isinstance(self.to, str) else list(self.to),
            "variables": dict(self.variables),
            "message_class": self.message_class,
            "priority": self.priority,
            "topic": self.topic,
            "plan": self.plan,
            "at": None if self.at is None else self.at.isoformat(),
            "local_at": local_at.isoformat() if isinstance(local_at, datetime) else local_at,
            "expires_after": None if after is None else after.total_seconds(),
            "on_unknown": self.on_unknown,
        }
        return {name: value for name, value in said.items() if value is not None}

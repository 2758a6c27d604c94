"""Words about sends: their states, policies and classes (DESIGN §3 and §4)."""

from __future__ import annotations

from enum import IntEnum, StrEnum


class SendState(StrEnum):
    """Where a send stands; `closed_at` tells whether anything may still happen."""

    DRAFT = "draft"
    SCHEDULED = "scheduled"
    ACCEPTED = "accepted"
    RUNNING = "running"
    PAUSED = "paused"
    FINISHED = "finished"
    CANCELLED = "cancelled"


class OnUnknown(StrEnum):
    """What to do about a message whose answer was lost and of which no proof came."""

    RESEND = "resend"
    LEAVE = "leave"


class MessageClass(StrEnum):
    """Decides which rules apply."""

    TRANSACTIONAL = "transactional"
    MARKETING = "marketing"


class SendKind(StrEnum):
    """What made a send."""

    CAMPAIGN = "campaign"
    REQUEST = "request"


class Priority(IntEnum):
    """What goes first; smaller goes first."""

    CRITICAL = 0
    HIGH = 1
    NORMAL = 2
    LOW = 3

    @property
    def word(self) -> str:
        """The word of commands and JSON."""
        return self.name.lower()

    @staticmethod
    def parse(word: str) -> Priority:
        """The priority of a word; "medium" is normal. Raises ValueError with a sentence."""
        known = {priority.word: priority for priority in Priority} | {"medium": Priority.NORMAL}
        if word not in known:
            raise ValueError(f"There is no priority '{word}'; there are: {', '.join(known)}.")
        return known[word]


class Channel(StrEnum):
    """A way to reach somebody."""

    EMAIL = "email"
    SMS = "sms"
    PUSH = "push"
    WEB_PUSH = "web_push"
    IN_APP = "in_app"
    WEBHOOK = "webhook"


class OptIn(StrEnum):
    """How one comes to be subscribed to a topic. Implied: whoever has not left it may be told."""

    IMPLIED = "implied"
    EXPLICIT = "explicit"
    DOUBLE = "double"


class SubscriptionState(StrEnum):
    """Consent of a recipient to a topic on a channel."""

    SUBSCRIBED = "subscribed"
    PENDING = "pending"
    LEFT = "left"


class AttemptState(StrEnum):
    """One claim-call-settle cycle: open, answered in full, or given up by who took the batch."""

    CLAIMED = "claimed"
    SETTLED = "settled"
    ABANDONED = "abandoned"


class HoldScope(StrEnum):
    """What a hold stops."""

    SEND = "send"
    TOPIC = "topic"
    TEMPLATE = "template"
    ACCOUNT = "account"
    TEAM = "team"
    EVERYTHING = "everything"


class AccountState(StrEnum):
    """Whether an account may be used; `refused` until an operator resumes it."""

    UP = "up"
    REFUSED = "refused"
    REMOVED = "removed"
    """Its credentials are gone; the row stays, because sends and attempts name it."""

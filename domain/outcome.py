"""What may come of a message, and why. Stored as small integers; the names are the report's words."""

from __future__ import annotations

from enum import IntEnum


class Outcome(IntEnum):
    """The outcome of a delivery, moved only by the ledger (DESIGN §3, Delivery)."""

    OWED = 0
    UNKNOWN = 1
    ACCEPTED = 2
    REJECTED = 3
    SKIPPED = 4
    UNCONFIRMED = 5
    EXPIRED = 6
    CANCELLED = 7

    @property
    def word(self) -> str:
        """The word of reports and JSON."""
        return self.name.lower()

    @property
    def is_final(self) -> bool:
        """Whether nothing more happens to the message without somebody asking."""
        return self not in (Outcome.OWED, Outcome.UNKNOWN)


class Progress(IntEnum):
    """How far an accepted delivery came, moved only by events, and only up (DESIGN §3)."""

    NONE = 0
    SENT = 1
    DEFERRED = 2
    DELIVERED = 3
    SEEN = 4
    OPENED = 5
    CLICKED = 6
    READ = 7
    BOUNCED = 8
    COMPLAINED = 9

    @property
    def word(self) -> str:
        """The word of reports and JSON."""
        return self.name.lower()

    def reaches(self, wanted: Progress) -> bool:
        """Whether who waits for `wanted` may stop waiting. A bounce reaches nothing."""
        return self is not Progress.BOUNCED and self >= wanted


class Reason(IntEnum):
    """Why a message was skipped, rejected or deferred."""

    NONE = 0
    ERASED = 1
    NO_CONTACT_POINT = 2
    SUPPRESSED = 3
    LEFT = 4
    PENDING = 5
    NOT_SUBSCRIBED = 6
    NO_ACCOUNT = 8
    CAPPED = 7
    EXPIRED = 9
    """Of a verdict alone: the message ends as expired, without a reason."""
    QUIET_HOURS = 10
    OUTSIDE_WINDOW = 11
    LOCAL_TIME = 12
    SCHEDULED = 13
    RECIPIENT_REFUSED = 20
    CONTENT_REFUSED = 21
    MISSING_VARIABLE = 22
    RENDER_FAILED = 23
    HEADER_REFUSED = 24
    TOO_LARGE = 25

    @property
    def word(self) -> str:
        """The word of reports and JSON."""
        return self.name.lower()


FINAL_OUTCOMES = tuple(outcome for outcome in Outcome if outcome.is_final)


def count_key(outcome: Outcome, reason: Reason = Reason.NONE) -> str:
    """Key of a batch's counts for messages of this outcome: "accepted", "skipped:suppressed"."""
    return outcome.word if reason is Reason.NONE else f"{outcome.word}:{reason.word}"

"""What a provider, or the reader's own application, tells about a message after it was accepted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from domain.identifier import Reference
from domain.outcome import Outcome, Progress
from domain.plan import Step


class EventKind(StrEnum):
    """One normalised fact. All of them say that the provider has had the message."""

    FOUND = "found"
    """The provider's list has it: our own look-up."""
    SENT = "sent"
    DEFERRED = "deferred"
    DELIVERED = "delivered"
    SEEN = "seen"
    OPENED = "opened"
    CLICKED = "clicked"
    READ = "read"
    SOFT_BOUNCED = "soft_bounced"
    """Not delivered this time; the address may be good."""
    HARD_BOUNCED = "hard_bounced"
    """There is no such address."""
    DROPPED = "dropped"
    """The provider took it and did not send it on."""
    COMPLAINED = "complained"


_PROGRESS: Mapping[EventKind, Progress] = {
    EventKind.FOUND: Progress.NONE,
    EventKind.SENT: Progress.SENT,
    EventKind.DEFERRED: Progress.DEFERRED,
    EventKind.DELIVERED: Progress.DELIVERED,
    EventKind.SEEN: Progress.SEEN,
    EventKind.OPENED: Progress.OPENED,
    EventKind.CLICKED: Progress.CLICKED,
    EventKind.READ: Progress.READ,
    EventKind.SOFT_BOUNCED: Progress.BOUNCED,
    EventKind.HARD_BOUNCED: Progress.BOUNCED,
    EventKind.DROPPED: Progress.BOUNCED,
    EventKind.COMPLAINED: Progress.COMPLAINED,
}

SUPPRESSES: Mapping[EventKind, str] = {
    EventKind.HARD_BOUNCED: "hard_bounce",
    EventKind.COMPLAINED: "complaint",
}
"""Why the address is not written to after such an event: the suppression's reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderEvent:
    """One fact about one delivery, as an adapter reads it from what a vendor says."""

    account_id: int
    """0: our own, such as the reading of an in-app item."""
    provider_event_id: str
    """Equal whenever the vendor says the same again."""
    reference: Reference
    kind: EventKind
    at: datetime
    """By the vendor's clock; aware."""
    provider_message_id: str = ""
    """In the form that the answer to the request had; empty where the vendor's events have another.
    Two of them for one delivery mean that it went out twice."""
    raw: Mapping[str, Any] = field(default_factory=dict)


def moved(progress: Progress, kinds: Iterable[EventKind]) -> Progress:
    """How far the delivery is after these events: only ever up, in whatever order they come."""
    return max([progress, *(_PROGRESS[kind] for kind in kinds)])


def is_proof(outcome: Outcome, *, tries: int, was_answered: bool) -> bool:
    """Whether an event about a row of this outcome proves that its message was accepted after all.

    `was_answered`: an attempt's answer made the outcome. Of a row that nobody tried, the event is
    early: its answer is still to be settled.
    """
    match outcome:
        case Outcome.UNKNOWN | Outcome.UNCONFIRMED:
            return True
        case Outcome.OWED:
            return tries > 0
        case Outcome.REJECTED:
            return was_answered
        case _:
            return False


def is_early(outcome: Outcome, *, tries: int, was_answered: bool) -> bool:
    """Whether an event has to wait until the row says that its message was handed over."""
    is_told = outcome is Outcome.ACCEPTED or is_proof(
        outcome, tries=tries, was_answered=was_answered
    )
    return not is_told


def is_reached(plan: tuple[Step, ...], step: int, progress: Progress) -> bool:
    """Whether an accepted delivery on this step has all that the plan wants of it.

    Then the steps behind it are not needed any more.
    """
    wanted = plan[step - 1].wait_for if step <= len(plan) else None
    return wanted is None or progress.reaches(wanted)


def missing_duplicates(
    told: Iterable[str], answered: str | None, *, tries: int, recorded: int
) -> int:
    """How many confirmed duplicates are still to be recorded for an accepted delivery.

    `told`: the provider's message ids that events named, without those of attempts whose acceptance
    is recorded as a duplicate already; `answered`: the id of the answer that made the row accepted,
    None where an event did. Only a message whose answer was lost can have gone out twice, so there
    are never more than `tries`.
    """
    others = {name for name in told if name and name != answered}
    if answered is None:
        most, found = tries - 1, len(others) - 1
    else:
        most, found = tries, len(others) if answered else 0
    return max(0, min(most, found) - recorded)

"""Who may get a message: one ordered table of rules; the first that applies decides.

`models/eligibility.py` holds the same table as one SQL expression for batches, and a property test
proves that both give the same verdict on generated people, consents and clocks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo

from domain.local_time import Window, moment_of, next_open, quiet_until
from domain.outcome import Reason
from domain.send import MessageClass, OptIn, Priority, SubscriptionState

COMPLAINT = "complaint"


def is_complaint(suppression_reason: str) -> bool:
    """Whether an address was suppressed for a complaint; such reasons begin with the word."""
    return suppression_reason.startswith(COMPLAINT)


def quiet_window(
    own: Window | None, team: Window | None, message_class: MessageClass
) -> Window | None:
    """The quiet hours that hold for a person: their own, else for marketing those of the team."""
    return own or (team if message_class is MessageClass.MARKETING else None)


@dataclass(frozen=True, slots=True)
class OverCap:
    """One message more would be more than a frequency cap allows."""

    until: datetime | None
    """When it would be allowed again; None: the cap wants it skipped."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What the rules may ask about one recipient of one send."""

    message_class: MessageClass
    is_erased: bool
    has_contact_point: bool
    is_suppressed: bool
    subscription: SubscriptionState | None
    """On the send's topic and channel; None: never joined."""
    priority: Priority = Priority.NORMAL
    opt_in: OptIn = OptIn.EXPLICIT
    is_complaint: bool = False
    """The address is suppressed for a complaint, which stops marketing only."""
    is_expired: bool = False
    now: datetime | None = None
    """The database's clock. Whoever gives a window gives it."""
    zone: tzinfo = UTC
    """Where the recipient is."""
    quiet: Window | None = None
    """The recipient's quiet hours: see `quiet_window`."""
    window: Window | None = None
    """When, where the recipient is, the send may go."""
    over_cap: OverCap | None = None
    not_before: datetime | None = None
    """When it was scheduled for."""
    not_before_local: datetime | None = None
    """Naive: it goes when it is that time where the recipient is."""
    local_grace: timedelta = timedelta.max
    """How long after that moment it may begin to go."""
    has_begun: bool = False
    """It was tried, or stands at a later step of its plan: then only the send's expiry ends it."""

    def __post_init__(self) -> None:
        """Raises ValueError for a window without a clock."""
        if self.now is None and (
            self.quiet or self.window or self.not_before or self.not_before_local
        ):
            raise ValueError("Rules of time need the time.")


@dataclass(frozen=True, slots=True)
class Send:
    """It may go."""


@dataclass(frozen=True, slots=True)
class Defer:
    """It must not go before `until` (aware); then it is asked again."""

    until: datetime
    reason: Reason


@dataclass(frozen=True, slots=True)
class Skip:
    """It must not go: a success of the system, not an error."""

    reason: Reason


Verdict = Send | Defer | Skip


@dataclass(frozen=True, slots=True)
class Rule:
    """What it says about somebody to whom it applies; None: it does not."""

    reason: Reason
    says: Callable[[Facts], Skip | Defer | None]


def _skip(reason: Reason, applies: Callable[[Facts], bool]) -> Rule:
    return Rule(reason, lambda facts: Skip(reason) if applies(facts) else None)


def _defer(reason: Reason, until: Callable[[Facts], datetime | None]) -> Rule:
    def says(facts: Facts) -> Defer | None:
        end = until(facts)
        return None if end is None else Defer(end, reason)

    return Rule(reason, says)


def _is_stopped_by_suppression(facts: Facts) -> bool:
    """A hard bounce stops everything to the address, a complaint marketing."""
    return facts.is_suppressed and not (
        facts.is_complaint and facts.message_class is MessageClass.TRANSACTIONAL
    )


def _lacks_consent(state: SubscriptionState | None) -> Callable[[Facts], bool]:
    """Marketing needs consent to its topic; a transactional message does not."""
    return lambda facts: (
        facts.message_class is MessageClass.MARKETING and facts.subscription is state
    )


def _never_joined(facts: Facts) -> bool:
    """Where consent is implied, nobody has to join."""
    return _lacks_consent(None)(facts) and facts.opt_in is not OptIn.IMPLIED


def _is_too_late(facts: Facts) -> bool:
    """The send has expired, or the recipient's moment is too long ago to begin."""
    if facts.is_expired:
        return True
    if facts.not_before_local is None or facts.now is None or facts.has_begun:
        return False
    return facts.now - moment_of(facts.not_before_local, facts.zone) > facts.local_grace


def _scheduled_for(facts: Facts) -> datetime | None:
    if facts.not_before is None or facts.now is None or facts.not_before <= facts.now:
        return None
    return facts.not_before


def _local_moment(facts: Facts) -> datetime | None:
    if facts.not_before_local is None or facts.now is None:
        return None
    moment = moment_of(facts.not_before_local, facts.zone)
    return moment if moment > facts.now else None


def _end_of_quiet(facts: Facts) -> datetime | None:
    """Critical messages pass quiet hours."""
    if facts.quiet is None or facts.now is None or facts.priority is Priority.CRITICAL:
        return None
    return quiet_until(facts.now, facts.quiet, facts.zone)


def _window_opens(facts: Facts) -> datetime | None:
    if facts.window is None or facts.now is None:
        return None
    opens = next_open(facts.now, facts.window, facts.zone)
    return opens if opens > facts.now else None


def _over_cap(facts: Facts) -> Skip | Defer | None:
    """Critical messages pass caps."""
    if facts.over_cap is None or facts.priority is Priority.CRITICAL:
        return None
    until = facts.over_cap.until
    return Skip(Reason.CAPPED) if until is None else Defer(until, Reason.CAPPED)


# Caps come last: they are asked about who could go now, since a cap of tomorrow is another one.
RULES: tuple[Rule, ...] = (
    _skip(Reason.ERASED, lambda facts: facts.is_erased),
    _skip(Reason.NO_CONTACT_POINT, lambda facts: not facts.has_contact_point),
    _skip(Reason.SUPPRESSED, _is_stopped_by_suppression),
    _skip(Reason.LEFT, _lacks_consent(SubscriptionState.LEFT)),
    _skip(Reason.PENDING, _lacks_consent(SubscriptionState.PENDING)),
    _skip(Reason.NOT_SUBSCRIBED, _never_joined),
    _skip(Reason.EXPIRED, _is_too_late),
    _defer(Reason.SCHEDULED, _scheduled_for),
    _defer(Reason.LOCAL_TIME, _local_moment),
    _defer(Reason.QUIET_HOURS, _end_of_quiet),
    _defer(Reason.OUTSIDE_WINDOW, _window_opens),
    Rule(Reason.CAPPED, _over_cap),
)


def decide(facts: Facts) -> Verdict:
    """Send, or what the first rule that applies says."""
    for rule in RULES:
        if verdict := rule.says(facts):
            return verdict
    return Send()

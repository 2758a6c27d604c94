"""The eligibility table of `domain.eligibility` as one SQL expression, for batches."""

from __future__ import annotations

from domain.eligibility import RULES
from domain.outcome import Reason
from domain.send import MessageClass, OptIn, Priority, SubscriptionState
from models.suppression import is_suppressed

_IS_MARKETING = f":message_class = '{MessageClass.MARKETING}'"
_IS_NOT_CRITICAL = f":priority <> {int(Priority.CRITICAL)}"

# Written over: m message, r recipient, c contact point, s subscription of the send's topic and
# channel (the last two may be missing), and the parameters :team, :channel, :message_class, :opt_in.
_CONDITIONS: dict[Reason, str] = {
    Reason.ERASED: "r.erased_at IS NOT NULL",
    Reason.NO_CONTACT_POINT: "c.id IS NULL",
    # A subquery, not a join: with nested loops off a join would hash the whole table every flight.
    Reason.SUPPRESSED: is_suppressed(":team", ":channel", "c.address", ":message_class"),
    Reason.LEFT: f"{_IS_MARKETING} AND s.state = '{SubscriptionState.LEFT}'",
    Reason.PENDING: f"{_IS_MARKETING} AND s.state = '{SubscriptionState.PENDING}'",
    Reason.NOT_SUBSCRIBED: f"{_IS_MARKETING} AND s.state IS NULL AND :opt_in <> '{OptIn.IMPLIED}'",
    Reason.EXPIRED: ":is_expired",
}

# A scheduled campaign is kept back by its state: SCHEDULED is no verdict about its people.
# Also over k, the clocks of models/local_clock.py, and where the send has caps over cap_window.
_CONDITIONS_OF_TIME: dict[Reason, str] = {
    Reason.EXPIRED: ":is_expired OR (k.is_late AND NOT EXISTS (SELECT 1 FROM delivery d"
    " WHERE d.send_id = :send AND d.ordinal = m.ordinal))",
    # Who has no k moved a moment ago: who may have moved to where it is too early is asked again.
    Reason.LOCAL_TIME: ":has_local_at AND (k.zone IS NULL OR k.local_moment IS NOT NULL)",
    Reason.QUIET_HOURS: f"{_IS_NOT_CRITICAL} AND k.quiet_ends IS NOT NULL",
    Reason.OUTSIDE_WINDOW: "k.opens_at IS NOT NULL",
    # A use of the message's own, of a try before, is no reason against it.
    Reason.CAPPED: f"{_IS_NOT_CRITICAL} AND :has_caps AND EXISTS (SELECT 1 FROM cap_count n"  # noqa: S608  constants
    " JOIN cap_window w ON w.cap_id = n.cap_id AND w.window_key = n.window_key AND w.zone = k.zone"
    " WHERE n.recipient_id = r.id AND w.most <= CASE WHEN w.since IS NULL THEN n.used"
    " ELSE (SELECT count(*) FROM unnest(n.used_at) AS u(at) WHERE u.at > w.since) END"
    " AND NOT EXISTS (SELECT 1 FROM cap_use v WHERE v.send_id = :send AND v.ordinal = m.ordinal"
    " AND v.cap_id = n.cap_id))",
}


def _verdict(conditions: dict[Reason, str]) -> str:
    cases = (
        f"WHEN {conditions[rule.reason]} THEN {int(rule.reason)}"
        for rule in RULES
        if rule.reason in conditions
    )
    return f"CASE {' '.join(cases)} ELSE 0 END"


VERDICT_SQL = _verdict(_CONDITIONS)
"""The reason of the first rule that applies, as a number; 0: it may go. For sends that no rule of
time can concern: they pay for none."""

VERDICT_SQL_WITH_TIME = _verdict(_CONDITIONS | _CONDITIONS_OF_TIME)
"""The same of all rules. A reason of time defers or skips; see `models.facts.read_people`."""

RECIPIENTS = """
    FROM message m
    JOIN recipient r ON r.id = m.recipient_id AND r.id BETWEEN :recipient_lo AND :recipient_hi
"""

FACTS_JOINS = """
    JOIN recipient r ON r.id = m.recipient_id AND r.id BETWEEN :recipient_lo AND :recipient_hi
    LEFT JOIN contact_point c ON c.recipient_id = m.recipient_id AND c.channel = :channel
         AND c.rank = 0 AND c.recipient_id BETWEEN :recipient_lo AND :recipient_hi
    LEFT JOIN subscription s ON s.recipient_id = m.recipient_id AND s.topic_id = :topic
         AND s.channel = :channel AND s.recipient_id BETWEEN :recipient_lo AND :recipient_hi
"""
"""Every joined table is bounded by the range of ids: unbounded, the joins reread from the start."""

"""Everything about a recipient, a row at a time: profile, addresses, consent, messages, items.

Each part is a query that is read as it is written out, so that a person with a hundred thousand
messages needs no more memory than one with ten. A new table about people is one more part here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from sqlalchemy import Connection, text

from domain.identifier import RECIPIENT_PREFIX, SEND_PREFIX, public_id
from domain.outcome import Outcome, Reason
from models.in_app_owner import items_of
from models.recipient_identity import identities
from models.suppression import is_suppressed

Part = Callable[[Connection, Sequence[int]], Iterator[dict[str, Any]]]

_READ_AT_ONCE = 500


def export_parts(
    connection: Connection, recipient_id: int
) -> Iterator[tuple[str, Iterator[dict[str, Any]]]]:
    """Name and rows of each part, for the person and all who were merged into them.

    The rows of a part must be read before the next part is asked for. Rows hold plain values,
    datetimes and public ids.
    """
    whose = identities(connection, recipient_id)
    for name, part in _PARTS.items():
        yield name, part(connection, whose)


def _rows(sql: str) -> Part:
    def part(connection: Connection, whose: Sequence[int]) -> Iterator[dict[str, Any]]:
        with connection.execute(
            text(sql),
            {"recipients": list(whose)},
            execution_options={"yield_per": _READ_AT_ONCE},
        ) as found:
            for row in found.mappings():
                yield dict(row)

    return part


_recipients = _rows(
    "SELECT id, external_id, first_name, last_name, locale, time_zone, preferred_channels,"
    " attributes, created_at, updated_at, erased_at, merged_into FROM recipient"
    " WHERE id = ANY(:recipients) ORDER BY merged_into IS NOT NULL, id"
)
_contact_points = _rows(
    "SELECT c.channel, c.address, c.rank, c.state, c.verified_at, c.registered_at, c.created_at,"  # noqa: S608  constants
    f" {is_suppressed('c.team_id', 'c.channel', 'c.address')} AS is_suppressed"
    " FROM contact_point c WHERE c.recipient_id = ANY(:recipients) ORDER BY c.channel, c.rank"
)
_subscriptions = _rows(
    "SELECT t.key AS topic, t.name AS topic_name, s.channel, s.state, s.source, s.changed_at,"
    " s.cadence, s.details FROM subscription s JOIN topic t ON t.id = s.topic_id"
    " WHERE s.recipient_id = ANY(:recipients) ORDER BY t.key, s.channel, s.changed_at"
)
_consent_events = _rows(
    "SELECT e.at, t.key AS topic, e.channel, e.from_state, e.to_state, e.source"
    " FROM consent_event e LEFT JOIN topic t ON t.id = e.topic_id"
    " WHERE e.recipient_id = ANY(:recipients) ORDER BY e.id"
)
_messages = _rows(
    "SELECT s.id AS send, s.name, s.kind, s.message_class, t.key AS topic, s.created_at,"
    " coalesce(m.variables, '{}') AS variables, s.variables AS send_variables,"
    " coalesce((SELECT jsonb_agg(jsonb_build_object('step', d.step, 'part', d.part,"
    "   'outcome', d.outcome, 'reason', d.reason, 'accepted_at', d.accepted_at)"
    "   ORDER BY d.step, d.part) FROM delivery d"
    "  WHERE d.send_id = m.send_id AND d.ordinal = m.ordinal), '[]') AS deliveries"
    " FROM message m JOIN send s ON s.id = m.send_id LEFT JOIN topic t ON t.id = s.topic_id"
    " WHERE m.recipient_id = ANY(:recipients) ORDER BY m.send_id"
)


_digest_items = _rows(
    "SELECT p.cadence, p.period, t.key AS topic, e.key, e.data, i.member, e.created_at"
    " FROM digest_item i JOIN digest_period p ON p.id = i.period_id"
    " JOIN topic_event e ON e.id = i.event_id JOIN topic t ON t.id = e.topic_id"
    " WHERE i.recipient_id = ANY(:recipients) ORDER BY e.id"
)


def _people(connection: Connection, whose: Sequence[int]) -> Iterator[dict[str, Any]]:
    for row in _recipients(connection, whose):
        merged_into = row["merged_into"]
        yield row | {
            "id": public_id(RECIPIENT_PREFIX, row["id"]),
            "merged_into": merged_into and public_id(RECIPIENT_PREFIX, merged_into),
        }


def _messages_in_words(connection: Connection, whose: Sequence[int]) -> Iterator[dict[str, Any]]:
    for row in _messages(connection, whose):
        yield row | {
            "send": public_id(SEND_PREFIX, row["send"]),
            "deliveries": [_in_words(delivery) for delivery in row["deliveries"]],
        }


def _in_words(delivery: dict[str, Any]) -> dict[str, Any]:
    reason = Reason(delivery["reason"])
    return delivery | {
        "outcome": Outcome(delivery["outcome"]).word,
        "reason": "" if reason is Reason.NONE else reason.word,
    }


_PARTS: dict[str, Part] = {
    "recipients": _people,
    "contact_points": _contact_points,
    "subscriptions": _subscriptions,
    "consent_history": _consent_events,
    "messages": _messages_in_words,
    "in_app_items": items_of,
    "digest_items": _digest_items,
}


def profile(connection: Connection, recipient_id: int) -> dict[str, Any]:
    """The recipient with addresses, subscriptions and the ids of those merged into them."""
    own, *merged = _people(connection, identities(connection, recipient_id))
    return own | {
        "merged": [each["id"] for each in merged],
        "contact_points": list(_contact_points(connection, [recipient_id])),
        "subscriptions": list(_subscriptions(connection, [recipient_id])),
    }

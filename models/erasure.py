"""Erasure: nothing about a person is left but numbers, consent's history and hashes of addresses.

The rows stay as tombstones, so counts and reports stay what they are. Work that runs finds
`erased_at` with the facts of its next flight and skips the person; what was on the wire is out.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, text

from domain.send import SubscriptionState
from models.in_app_owner import blank_items
from models.recipient_identity import identities
from models.recipient_import import hold_off_imports
from models.suppression import hash_suppressions

SOURCE = "erased"


@dataclass(frozen=True, slots=True, kw_only=True)
class Erased:
    """What was taken away; nothing where the person had been erased before."""

    recipients: int
    """The person's own row and those merged into it."""
    contact_points: int
    suppressions: int
    """Kept as hashes."""
    subscriptions: int
    messages: int
    """Whose variables were emptied."""


def erase(connection: Connection, team_id: int, recipient_id: int) -> Erased:
    """Erase the person, with everybody who was merged into them. An import is waited for.

    Safe beside running batches and groups: it locks only rows of the person, and drivers lock none
    of these.
    """
    hold_off_imports(connection, team_id)
    whose = {"recipients": list(identities(connection, recipient_id))}
    recipients = connection.execute(
        text(
            "SELECT count(*) FILTER (WHERE erased_at IS NULL) FROM (SELECT erased_at FROM recipient"
            " WHERE id = ANY(:recipients) ORDER BY id FOR NO KEY UPDATE) AS locked"
        ),
        whose,
    ).scalar_one()
    suppressions = hash_suppressions(connection, whose["recipients"])
    contact_points = connection.execute(
        text("DELETE FROM contact_point WHERE recipient_id = ANY(:recipients)"), whose
    ).rowcount
    subscriptions = _end_subscriptions(connection, whose)
    messages = _empty_messages(connection, whose)
    connection.execute(text("DELETE FROM digest_item WHERE recipient_id = ANY(:recipients)"), whose)
    blank_items(connection, whose["recipients"])
    _blank_profiles(connection, whose)
    return Erased(
        recipients=recipients,
        contact_points=contact_points,
        suppressions=suppressions,
        subscriptions=subscriptions,
        messages=messages,
    )


def _end_subscriptions(connection: Connection, whose: dict[str, list[int]]) -> int:
    """How many were ended. Who had left before keeps the evidence of that."""
    connection.execute(
        text(
            "UPDATE subscription SET details = '{}'"
            " WHERE recipient_id = ANY(:recipients) AND details <> '{}'"
        ),
        whose,
    )
    return connection.execute(
        text(
            "UPDATE subscription SET state = :left, source = :source, changed_at = now()"
            " WHERE recipient_id = ANY(:recipients) AND state <> :left"
        ),
        {**whose, "left": SubscriptionState.LEFT, "source": SOURCE},
    ).rowcount


def _empty_messages(connection: Connection, whose: dict[str, list[int]]) -> int:
    """How many messages had variables of their own; in all partitions, by the recipient's index.

    Variables of a whole send are emptied too where all its people are erased, but a campaign's,
    which are nobody's own.
    """
    emptied = connection.execute(
        text(
            "UPDATE message SET variables = NULL"
            " WHERE recipient_id = ANY(:recipients) AND variables IS NOT NULL"
        ),
        whose,
    ).rowcount
    connection.execute(
        text(
            "UPDATE send s SET variables = '{}' WHERE s.kind <> 'campaign' AND s.variables <> '{}'"
            " AND s.id IN (SELECT send_id FROM message WHERE recipient_id = ANY(:recipients))"
            " AND NOT EXISTS (SELECT 1 FROM message m JOIN recipient r ON r.id = m.recipient_id"
            "  WHERE m.send_id = s.id AND r.erased_at IS NULL AND r.id <> ALL(:recipients))"
        ),
        whose,
    )
    connection.execute(
        text(
            "UPDATE topic_event e SET data = '{}' FROM send s WHERE s.id = e.send_id"
            " AND s.variables = '{}' AND e.data <> '{}' AND e.digest_items = 0"
            " AND s.id IN (SELECT send_id FROM message WHERE recipient_id = ANY(:recipients))"
        ),
        whose,
    )
    return emptied


def _blank_profiles(connection: Connection, whose: dict[str, list[int]]) -> None:
    """The external id goes as well: it names the person elsewhere, and may come back as a new one."""
    connection.execute(
        text(
            "UPDATE recipient SET external_id = NULL, first_name = '', last_name = '',"
            " locale = NULL, time_zone = NULL, preferred_channels = '{}', attributes = '{}',"
            " erased_at = coalesce(erased_at, now()), updated_at = now()"
            " WHERE id = ANY(:recipients)"
        ),
        whose,
    )

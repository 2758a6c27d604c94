"""What a hard bounce or a complaint means for the address it came from."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Connection, text

from domain.contact import ContactState
from domain.event import SUPPRESSES, EventKind
from domain.identifier import Reference
from domain.send import Channel
from models.event_rows import IS_KEY, KEYS, arrays
from models.suppression import suppress

SOURCE = "event"


def suppress_addresses(
    connection: Connection, kinds: Mapping[Reference, frozenset[EventKind]]
) -> None:
    """A hard bounce stops everything to the delivery's address, a complaint marketing (DESIGN §3)."""
    for kind, reason in SUPPRESSES.items():
        troubled = sorted(reference for reference, said in kinds.items() if kind in said)
        if troubled:
            _suppress(connection, kind, reason, troubled)


def _suppress(
    connection: Connection, kind: EventKind, reason: str, troubled: list[Reference]
) -> None:
    # A delivery whose answer was lost has no contact point: it is the one that would be used now,
    # if it was there when the send was made.
    found = connection.execute(
        text(
            "SELECT DISTINCT s.team_id, c.channel, c.address, c.id FROM"  # noqa: S608  constants of ours
            f" {KEYS} JOIN delivery d ON {IS_KEY} JOIN send s ON s.id = d.send_id"
            " JOIN message m ON m.send_id = d.send_id AND m.ordinal = d.ordinal"
            " JOIN contact_point c ON c.id = d.contact_point_id OR (d.contact_point_id IS NULL"
            "  AND c.recipient_id = m.recipient_id AND c.rank = 0 AND c.registered_at <= s.created_at"
            "  AND c.channel = coalesce(s.plan -> (d.step - 1) ->> 'channel', s.channel))"
        ),
        arrays(troubled),
    ).all()
    for team, channel in sorted({(row.team_id, row.channel) for row in found}):
        addresses = {r.address: reason for r in found if (r.team_id, r.channel) == (team, channel)}
        suppress(connection, team, addresses, channel=Channel(channel), source=SOURCE)
        if kind is EventKind.HARD_BOUNCED:
            _outlive_complaint(connection, team, channel, reason, list(addresses))
    if kind is EventKind.HARD_BOUNCED:
        connection.execute(
            text("UPDATE contact_point SET state = :bounced WHERE id = ANY(:ids)"),
            {"bounced": ContactState.BOUNCED, "ids": sorted({row.id for row in found})},
        )


def _outlive_complaint(
    connection: Connection, team: int, channel: str, reason: str, addresses: list[str]
) -> None:
    """A suppression that stops marketing alone becomes one that stops everything."""
    connection.execute(
        text(
            "UPDATE suppression SET reason = :reason, source = :source WHERE team_id = :team"
            " AND channel = :channel AND address = ANY(:addresses) AND starts_with(reason, 'complaint')"
        ),
        {
            "reason": reason,
            "source": SOURCE,
            "team": team,
            "channel": channel,
            "addresses": addresses,
        },
    )

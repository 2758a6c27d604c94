"""Finding whom a request names: by external id, or by a bare address that may be nobody's yet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import Connection, text

from domain.send import Channel
from models.prepared import Prepared


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A recipient that a request names."""

    id: int
    attributes: dict[str, Any]
    time_zone: str | None


_FIND_BY_EXTERNAL_IDS = Prepared(
    "recipient_lookup_find_by_external_ids",
    "SELECT r.external_id, coalesce(r.merged_into, r.id) AS id,"
    " CAST(r.attributes AS text) AS attributes, coalesce("
    "  (SELECT k.time_zone FROM recipient k WHERE k.id = r.merged_into), r.time_zone) AS time_zone"
    " FROM recipient r WHERE r.team_id = :team AND r.external_id = ANY(:ids)"
    " AND r.erased_at IS NULL",
)


def find_by_external_ids(
    connection: Connection, team_id: int, external_ids: Sequence[str]
) -> dict[str, Found]:
    """Recipients by external id, those merged into another as that one; unknown ids are missing."""
    rows = _FIND_BY_EXTERNAL_IDS.run(connection, {"team": team_id, "ids": list(external_ids)})
    return {
        row.external_id: Found(
            id=row.id, attributes=orjson.loads(row.attributes), time_zone=row.time_zone
        )
        for row in rows
    }


def lock_addresses(
    connection: Connection, team_id: int, channel: Channel, addresses: Sequence[str]
) -> None:
    """Wait for others who are about to make the recipients of bare addresses; in their order, so that
    two who lock some never wait in a ring."""
    connection.execute(
        text(
            "SELECT pg_advisory_xact_lock(hashtextextended(:channel || address, :team)) FROM"
            " (SELECT address FROM unnest(CAST(:addresses AS text[])) AS address ORDER BY 1) AS x"
        ),
        {"team": team_id, "channel": channel, "addresses": list(addresses)},
    )


def anonymous_recipient(
    connection: Connection, team_id: int, channel: Channel, address: str
) -> int:
    """Id of the recipient without an external id who has this normalised address; made if there is none.

    Two who ask at once for the same address wait for each other (advisory lock of the transaction).
    """
    asked = {"team": team_id, "channel": channel, "address": address}
    find = text(
        "SELECT r.id FROM contact_point c JOIN recipient r ON r.id = c.recipient_id"
        " WHERE c.team_id = :team AND c.channel = :channel AND c.address = :address"
        " AND r.external_id IS NULL AND r.erased_at IS NULL AND r.merged_into IS NULL"
        " ORDER BY r.id LIMIT 1"
    )
    found: int | None = connection.execute(find, asked).scalar()
    if found is not None:
        return found
    lock_addresses(connection, team_id, channel, [address])
    found_now: int | None = connection.execute(find, asked).scalar()
    if found_now is not None:
        return found_now
    made: int = connection.execute(
        text(
            "WITH made AS (INSERT INTO recipient (team_id) VALUES (:team) RETURNING id)"
            " INSERT INTO contact_point (team_id, recipient_id, channel, address)"
            " SELECT :team, id, :channel, :address FROM made RETURNING recipient_id"
        ),
        asked,
    ).scalar_one()
    return made

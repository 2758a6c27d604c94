"""Changing one recipient: made or found by external id, then only what is given is changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import orjson
from sqlalchemy import Connection, text

from domain.send import Channel
from models.recheck import recheck_recipient
from models.recipient_identity import resolve_recipient
from models.recipient_import import hold_off_imports
from models.team import add_attribute_names


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileChange:
    """What to store about a person, normalised; None leaves what is there. Each field is a column."""

    first_name: str | None = None
    last_name: str | None = None
    locale: str | None = None
    """"" forgets it; so does the time zone's."""
    time_zone: str | None = None
    preferred_channels: Sequence[Channel] | None = None
    attributes: dict[str, Any] | None = None
    """Added to those that are there; a value of None removes its attribute."""


# How a field becomes its column's new value, where it is more than the value itself.
_NEW_VALUES = {
    "locale": "nullif(:locale, '')",
    "time_zone": "nullif(:time_zone, '')",
    "preferred_channels": "CAST(:preferred_channels AS text[])",
    "attributes": "(attributes || CAST(:attributes AS jsonb)) - CAST(:removed AS text[])",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Upserted:
    """The recipient of an external id."""

    id: int
    is_new: bool


def upsert_recipient(
    connection: Connection, team_id: int, external_id: str, change: ProfileChange
) -> Upserted:
    """The recipient of the external id, made if there is none, with the change done.

    Somebody who was merged into another is changed there. A new one waits for an import under way.
    """
    known = resolve_recipient(connection, team_id, external_id)
    if known is None:
        hold_off_imports(connection, team_id)
    made = None if known else _insert(connection, team_id, external_id)
    recipient_id = known or made or resolve_recipient(connection, team_id, external_id)
    if recipient_id is None:
        raise LookupError(f"recipient {external_id!r} is merged in a circle")
    edit_recipient(connection, team_id, recipient_id, change)
    return Upserted(id=recipient_id, is_new=made is not None)


def edit_recipient(
    connection: Connection, team_id: int, recipient_id: int, change: ProfileChange
) -> bool:
    """Whether something about the recipient was changed; nobody who is erased is."""
    given = {
        field.name: value
        for field in fields(change)
        if (value := getattr(change, field.name)) is not None
    }
    if not given:
        return False
    news = {name: _NEW_VALUES.get(name, f":{name}") for name in given}
    if change.attributes is not None:
        kept = {name: value for name, value in change.attributes.items() if value is not None}
        add_attribute_names(connection, team_id, sorted(kept))
        given["attributes"] = orjson.dumps(kept).decode()
        given["removed"] = sorted(change.attributes.keys() - kept)
    if change.preferred_channels is not None:
        given["preferred_channels"] = [channel.value for channel in change.preferred_channels]
    changed = connection.execute(
        text(
            f"UPDATE recipient SET {', '.join(f'{n} = {v}' for n, v in news.items())},"  # noqa: S608  our own names
            " updated_at = now() WHERE id = :id AND erased_at IS NULL"
            f" AND ({', '.join(news)}) IS DISTINCT FROM ({', '.join(news.values())})"
        ),
        {**given, "id": recipient_id},
    )
    if changed.rowcount and change.time_zone is not None:
        # They may have moved to where it is time already.
        recheck_recipient(connection, recipient_id)
    return changed.rowcount > 0


def _insert(connection: Connection, team_id: int, external_id: str) -> int | None:
    """Id of the new recipient; None: somebody made them a moment ago."""
    made: int | None = connection.execute(
        text(
            "INSERT INTO recipient (team_id, external_id) VALUES (:team, :external)"
            " ON CONFLICT (team_id, external_id) DO NOTHING RETURNING id"
        ),
        {"team": team_id, "external": external_id},
    ).scalar()
    return made

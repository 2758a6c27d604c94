"""The message templates that Carillon brings along; a team's own template of the same key wins."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection

import templates
from models.template import UnknownTemplate, find_version, publish_version
from starter.templates import version_of

DIGEST = "digest"
CONFIRM_JOINING = "confirm-joining"

_FOLDER = Path(templates.__file__).parent / "messages"


def ensure_built_in(connection: Connection, team_id: int, key: str) -> int:
    """Key of the newest version of the team's template `key`; ours is published where it has none."""
    try:
        return find_version(connection, team_id, key).id
    except UnknownTemplate:
        return publish_version(connection, team_id, version_of(_FOLDER / key)).id

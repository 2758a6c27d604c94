"""The schema's version: upgrade to head, and refuse to run on anything else."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, text

import migrations

_LOCK = 0x0CA2111


class SchemaNotAtHead(Exception):
    """Migrations are pending, or the database is newer than this code; the message says which."""


def upgrade(engine: Engine) -> None:
    """Bring the schema to head; two that try at once wait for each other (advisory lock)."""
    with engine.connect() as connection:
        connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": _LOCK})
        connection.commit()
        try:
            config = _config()
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
            connection.commit()
        finally:
            connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": _LOCK})
            connection.commit()


def require_head(engine: Engine) -> None:
    """Return if the schema is at head. Raises SchemaNotAtHead with what to do."""
    head = ScriptDirectory.from_config(_config()).get_current_head()
    with engine.connect() as connection:
        current = MigrationContext.configure(connection).get_current_revision()
    if current == head:
        return
    raise SchemaNotAtHead(
        f"The database's schema is at {current or 'nothing'}, this version needs {head}."
        " Run: carillon db upgrade"
    )


def ensure_partitions(connection: Connection, months: int = 4) -> int:
    """Make the partitions from this month on that are missing; how many were."""
    made: int = connection.execute(
        text("SELECT ensure_partitions((now() AT TIME ZONE 'UTC')::date, :months)"),
        {"months": months},
    ).scalar_one()
    return made


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    return config

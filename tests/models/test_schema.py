"""The migrated schema is what the tables say, and old schemas are refused."""

from __future__ import annotations

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Engine, text
from sqlmodel import SQLModel

import models  # noqa: F401  registers the tables
from models.schema import SchemaNotAtHead, ensure_partitions, require_head


def test_the_migrations_give_the_tables_that_the_models_declare(engine: Engine) -> None:
    def is_ours(name: str | None, kind: str, _: object) -> bool:
        return kind != "table" or name in SQLModel.metadata.tables

    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"include_name": is_ours})
        differences = compare_metadata(context, SQLModel.metadata)

    assert differences == []


def test_a_schema_that_is_not_at_head_is_refused_with_the_command_to_run(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '0000'"))

    with pytest.raises(SchemaNotAtHead, match="carillon db upgrade"):
        require_head(engine)


def test_partitions_are_made_ahead_once(engine: Engine) -> None:
    with engine.begin() as connection:
        made = ensure_partitions(connection, 6)
        again = ensure_partitions(connection, 6)

    assert (made, again) == (14, 0)


def test_a_published_template_version_cannot_be_changed(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO template (team_id, key, name) SELECT id, 'k', 'k' FROM team;"
                "INSERT INTO template_version (template_id, number, message_class, sender, content,"
                " variables, digest) SELECT id, 1, 'marketing', '{}', '{}', '{}', 'd' FROM template"
            )
        )

    with pytest.raises(Exception, match="cannot be changed"), engine.begin() as connection:
        connection.execute(text("UPDATE template_version SET number = 2"))

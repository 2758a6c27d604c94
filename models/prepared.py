"""Statements that every connection prepares once: planning one anew cost up to 14 ms a call.

Partitioned tables and many joins make plans dear; with prepared, generic plans a pass over a group
plans nothing. Not for poolers that share connections between transactions.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, CursorResult

_NAME = re.compile(r"(?<!:):([a-z_]+)")
_KEPT = "carillon_prepared"


def one(table: str, where: str, name: str) -> str:
    """SQL that joins the one row `name` of a table, looked up by its key for each row before it.

    For statements about a few rows. A kept plan may have been made while the tables were empty, when
    all plans cost the same: one read every send of the team to find a group's three. OFFSET 0 keeps
    the planner from turning the look-up round.
    """
    return f"JOIN LATERAL (SELECT * FROM {table} WHERE {where} OFFSET 0) {name} ON true"  # noqa: S608


class Prepared:
    """One statement with :names, run by EXECUTE. Their types are inferred where they are first used."""

    def __init__(self, name: str, sql: str) -> None:
        """`name`: of the prepared statement, one for each `sql`."""
        self._name = name
        self._names: list[str] = []
        body = _NAME.sub(self._place, sql)
        self._prepare = f"PREPARE {name} AS {body}".replace("%", "%%")
        self._execute = f"EXECUTE {name} ({', '.join('%s' for _ in self._names)})"
        if not self._names:
            self._execute = f"EXECUTE {name}"

    def run(
        self, connection: Connection, values: Mapping[str, Any] | None = None
    ) -> CursorResult[Any]:
        """The result of the statement with these values, in the connection's transaction."""
        kept = connection.info.setdefault(_KEPT, set())
        if self._name not in kept:
            connection.exec_driver_sql(self._prepare)
            kept.add(self._name)
        given = values or {}
        return connection.exec_driver_sql(
            self._execute, tuple(given[name] for name in self._names) or None
        )

    def _place(self, found: re.Match[str]) -> str:
        if found[1] not in self._names:
            self._names.append(found[1])
        return f"${self._names.index(found[1]) + 1}"

"""Whom the staged rows of an import mean: matching with the recipients there are, merging, numbering."""

from __future__ import annotations

from sqlalchemy import Connection, text

from domain.send import Channel
from models.recipient_import import COLUMNS, Staging


def resolve(connection: Connection, staging: Staging) -> int:
    """Find out whom each row means, merge the rows of one person, number the people from 0.

    Their number comes back. New people get their ids here, in the order of the file: so `lowest
    id` means the same in every run, and the chunks need not tell each other about them.
    """
    connection.execute(text("SET LOCAL work_mem = '64MB'"))
    connection.execute(text(f"ANALYZE {staging.rows}"))
    _match(connection, staging)
    _adopt(connection)
    _link(connection)
    _merge(connection, staging)
    return _number(connection, staging)


def _match(connection: Connection, staging: Staging) -> None:
    """`who`: a line each, with the recipient it means as far as the tables know."""
    connection.execute(
        text(f"""
            CREATE TEMP TABLE who ON COMMIT DROP AS
            WITH known AS MATERIALIZED (
                SELECT s.line, s.external_id, s.email, coalesce(r.merged_into, r.id) AS recipient_id
                FROM {staging.rows} s
                LEFT JOIN recipient r ON r.team_id = :team AND r.external_id = s.external_id
                    AND r.erased_at IS NULL
            ), owner AS MATERIALIZED (
                SELECT c.address, min(r.id) AS first_id,
                    min(r.id) FILTER (WHERE r.external_id IS NULL) AS anonymous_id
                FROM contact_point c JOIN recipient r ON r.id = c.recipient_id
                WHERE c.team_id = :team AND c.channel = :email AND c.rank = 0
                    AND c.address IN (SELECT email FROM known WHERE recipient_id IS NULL)
                    AND r.erased_at IS NULL AND r.merged_into IS NULL
                GROUP BY c.address
            )
            SELECT k.line, k.external_id, k.email,
                coalesce(k.recipient_id, CASE WHEN k.external_id IS NULL THEN o.first_id END)
                    AS recipient_id,
                CASE WHEN k.external_id IS NOT NULL THEN o.anonymous_id END AS anonymous_id
            FROM known k LEFT JOIN owner o ON o.address = k.email AND k.recipient_id IS NULL
            """),  # noqa: S608 - our own table names
        {"team": staging.team_id, "email": Channel.EMAIL},
    )


def _adopt(connection: Connection) -> None:
    """A new external id is given to a recipient that has its address and no external id.

    Each such recipient to the first id that asks, each id to the first such recipient: else who
    was imported without ids would get everything twice as soon as a file has them.
    """
    if not _any(connection, "who WHERE anonymous_id IS NOT NULL"):
        return
    connection.execute(
        text("""
            UPDATE who SET recipient_id = given.anonymous_id
            FROM (SELECT DISTINCT ON (external_id) external_id, anonymous_id
                  FROM (SELECT DISTINCT ON (anonymous_id) anonymous_id, external_id, line FROM who
                        WHERE anonymous_id IS NOT NULL ORDER BY anonymous_id, line) AS first_asking
                  ORDER BY external_id, line) AS given
            WHERE who.external_id = given.external_id
            """)
    )


def _link(connection: Connection) -> None:
    """A row without external id whose address nobody has means who gets it by another row."""
    if not _any(connection, "who WHERE external_id IS NOT NULL"):
        return
    connection.execute(
        text("""
            UPDATE who SET external_id = other.external_id, recipient_id = other.recipient_id
            FROM (SELECT DISTINCT ON (email) email, external_id, recipient_id FROM who
                  WHERE external_id IS NOT NULL AND email IN
                    (SELECT email FROM who WHERE external_id IS NULL AND recipient_id IS NULL)
                  ORDER BY email, line) AS other
            WHERE who.external_id IS NULL AND who.recipient_id IS NULL AND who.email = other.email
            """)
    )


def _merge(connection: Connection, staging: Staging) -> None:
    """Make one row of those that mean one person, under the first one's line.

    The later row wins in each field that it fills. The latest text is the greatest after its
    line's number: an aggregate of constant size, however often a hostile file repeats a key.
    """
    same = "coalesce('#' || recipient_id, 'x' || external_id, 'e' || email)"
    connection.execute(
        text(
            "CREATE TEMP TABLE repeated ON COMMIT DROP AS SELECT w.line, d.line AS first_line FROM"  # noqa: S608 - our own names
            f" (SELECT {same} AS person, min(line) AS line FROM who GROUP BY 1 HAVING count(*) > 1)"
            f" AS d JOIN who w ON {same} = d.person"
        )
    )
    if not _any(connection, "repeated"):
        return
    numbered = "to_char(s.line, 'FM0000000000000000000') || CAST(s.{name} AS text) COLLATE \"C\""
    latest = {name: f"substr(max({numbered.format(name=name)}), 20)" for name in COLUMNS[1:-1]}
    latest["subscribed"] = f"CAST({latest['subscribed']} AS boolean)"
    connection.execute(
        text(f"""
            CREATE TEMP TABLE merged ON COMMIT DROP AS
            SELECT r.first_line AS line, {", ".join(f"{latest[n]} AS {n}" for n in latest)},
                CAST(NULL AS jsonb) AS attributes
            FROM repeated r JOIN {staging.rows} s ON s.line = r.line GROUP BY r.first_line;
            UPDATE merged SET attributes = found.attributes
            FROM (SELECT line, jsonb_object_agg(key, value) AS attributes
                  FROM (SELECT DISTINCT ON (r.first_line, a.key) r.first_line AS line, a.key, a.value
                        FROM repeated r JOIN {staging.rows} s ON s.line = r.line
                        CROSS JOIN LATERAL jsonb_each(s.attributes) AS a
                        ORDER BY r.first_line, a.key, s.line DESC) AS latest
                  GROUP BY line) AS found
            WHERE found.line = merged.line;
            DELETE FROM {staging.rows} s USING repeated r WHERE s.line = r.line;
            INSERT INTO {staging.rows} ({", ".join(COLUMNS)}) SELECT {", ".join(COLUMNS)} FROM merged
            """)  # noqa: S608 - our own names
    )


def _number(connection: Connection, staging: Staging) -> int:
    """The table of people: their rows, numbered densely in the order of the file, with ids."""
    columns = ", ".join(f"s.{name}" for name in COLUMNS[1:])
    connection.execute(
        text(
            f"CREATE UNLOGGED TABLE {staging.people} AS"  # noqa: S608 - our own names
            " SELECT row_number() OVER () - 1 AS number, found.*,"
            " coalesce(known_id, nextval((SELECT CAST(pg_get_serial_sequence('recipient', 'id')"
            " AS regclass)))) AS recipient_id FROM"
            f" (SELECT w.recipient_id AS known_id, {columns}"
            f" FROM {staging.rows} s JOIN who w ON w.line = s.line ORDER BY s.line) AS found"
        )
    )
    connection.execute(text(f"CREATE UNIQUE INDEX ON {staging.people} (number)"))
    connection.execute(text(f"ANALYZE {staging.people}"))
    people: int = connection.execute(
        text(f"SELECT coalesce(max(number) + 1, 0) FROM {staging.people}")  # noqa: S608
    ).scalar_one()
    return people


def _any(connection: Connection, rows: str) -> bool:
    found: bool = connection.execute(text(f"SELECT EXISTS (SELECT FROM {rows})")).scalar_one()  # noqa: S608
    return found

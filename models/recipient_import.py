"""The import of recipients: staged rows become one row a person, persons become recipients.

The whole file is staged before anything else changes: only then is known which rows mean the same
person, so that a file gives the same recipients however often, and with whatever chunks, it is read.
The staging tables are UNLOGGED and not TEMP because two sessions write the chunks side by side.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from io import StringIO
from typing import NamedTuple

from sqlalchemy import Connection, Engine, text

from domain.contact import ContactState
from domain.send import Channel, SubscriptionState
from models.database import copy_from

_LOCK_CLASS = 0x0CA2112
_SOURCE = "import"

TEXTS = ("external_id", "email", "first_name", "last_name", "locale", "time_zone", "phone")
COLUMNS = ("line", *TEXTS, "subscribed", "attributes")
"""Of the staged rows."""

_ANALYSE_FROM = 1_000
"""Recipients added after which the planner's statistics are renewed: a freeze may follow at once."""


class StagedRow(NamedTuple):
    """A valid row of the file, normalised; "" where the file says nothing. Built once a row."""

    line: int
    external_id: str
    email: str
    first_name: str
    last_name: str
    locale: str
    time_zone: str
    phone: str
    subscribed: str
    """true, false or ""."""
    attributes: str
    """A JSON object of texts, or ""."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Joining:
    """The topic that the people of the file join on the e-mail channel."""

    topic_id: int
    state: SubscriptionState
    """What joining makes of them: pending where the topic asks for double opt-in."""
    brings_back: bool
    """Whether who has left joins again."""


@dataclass(slots=True, kw_only=True)
class Counts:
    """What came of the persons of one or more chunks."""

    added: int = 0
    updated: int = 0
    unchanged: int = 0
    subscribed: int = 0
    pending: int = 0
    left: int = 0
    stayed_left: int = 0

    def add(self, other: Counts) -> None:
        """Count the other's too."""
        for field in fields(self):
            setattr(self, field.name, getattr(self, field.name) + getattr(other, field.name))


@contextmanager
def import_session(engine: Engine, team_id: int) -> Iterator[Connection]:
    """A session that holds the team's import lock: imports of a team run one after the other.

    So none sees another's half-written people, and an address is never added twice. The session ends
    with the block, and the lock with it, whatever happened.
    """
    connection = engine.connect()
    try:
        connection.execute(
            text("SELECT pg_advisory_lock(:class, CAST(:team % 2147483648 AS integer))"),
            {"class": _LOCK_CLASS, "team": team_id},
        )
        connection.commit()
        yield connection
    finally:
        connection.invalidate()
        connection.close()


def hold_off_imports(connection: Connection, team_id: int) -> None:
    """Wait for an import of the team that is under way; none begins before the transaction ends.

    An import knows from its start whom its rows mean: who is added, merged or erased meanwhile would
    be added twice, or get back what was taken from them. Callers do not wait for each other.
    """
    connection.execute(
        text("SELECT pg_advisory_xact_lock_shared(:class, CAST(:team % 2147483648 AS integer))"),
        {"class": _LOCK_CLASS, "team": team_id},
    )


def try_hold_off_imports(connection: Connection, team_id: int) -> bool:
    """Whether no import of the team is under way; none begins then before the transaction ends."""
    is_held: bool = connection.execute(
        text(
            "SELECT pg_try_advisory_xact_lock_shared(:class, CAST(:team % 2147483648 AS integer))"
        ),
        {"class": _LOCK_CLASS, "team": team_id},
    ).scalar_one()
    return is_held


def joining(connection: Connection, topic_id: int, *, brings_back: bool) -> Joining:
    """What joining the topic means."""
    opt_in = connection.execute(
        text("SELECT opt_in FROM topic WHERE id = :topic"), {"topic": topic_id}
    ).scalar_one()
    state = SubscriptionState.PENDING if opt_in == "double" else SubscriptionState.SUBSCRIBED
    return Joining(topic_id=topic_id, state=state, brings_back=brings_back)


class Staging:
    """The staging tables of a team's import; used by the holder of the import lock."""

    def __init__(self, team_id: int) -> None:
        self.team_id = team_id
        self.rows = f"recipient_import_row_{team_id:d}"
        """A row for each valid one of the file; after `resolve`, one for each person."""
        self.people = f"recipient_import_person_{team_id:d}"
        """Made by `resolve`: the same, numbered, with the id of its recipient."""

    def make(self, connection: Connection) -> None:
        """Make the tables anew; those that a killed import left are dropped."""
        self.drop(connection)
        texts = ", ".join(f"{name} text" for name in TEXTS)
        connection.execute(
            text(
                f"CREATE UNLOGGED TABLE {self.rows}"
                f" (line bigint NOT NULL, {texts}, subscribed boolean, attributes jsonb)"
            )
        )
        connection.commit()

    def drop(self, connection: Connection) -> None:
        """Remove the tables: they hold addresses."""
        connection.rollback()
        connection.execute(text(f"DROP TABLE IF EXISTS {self.rows}, {self.people}"))
        connection.commit()

    def copy(self, connection: Connection, rows: list[StagedRow]) -> None:
        """Stage rows. About 2 µs a row."""
        copy_from(
            connection,
            f"COPY {self.rows} ({', '.join(COLUMNS)}) FROM STDIN WITH (NULL '')",
            StringIO("".join(map(_copy_line, rows))),
        )

    def write(self, connection: Connection, lo: int, hi: int, into: Joining | None) -> Counts:
        """Add or update the people numbered lo to hi - 1. About 25 µs for a new one, 4 for a known one.

        Whatever the size of the tables, looking a chunk up by its keys is cheap; the planner would
        rather read a table of a million to its end for each chunk, or all subscriptions of a topic
        that it has no statistics of for each person (25 s): hence LATERAL … LIMIT 1 below.
        """
        for way in ("seqscan", "hashjoin", "mergejoin"):
            connection.execute(text(f"SET LOCAL enable_{way} = off"))
        people = {"team": self.team_id, "lo": lo, "hi": hi}
        added = self._add(connection, people)
        changed = self._update(connection, people)
        changed |= self._address(connection, people, Channel.EMAIL, "email")
        changed |= self._address(connection, people, Channel.SMS, "phone")
        counts = Counts(added=added, updated=len(changed))
        counts.unchanged = hi - lo - counts.added - counts.updated
        if into is not None:
            self._join(connection, people, into, counts)
        return counts

    def _add(self, connection: Connection, people: dict[str, int]) -> int:
        return connection.execute(
            text(f"""
                WITH new AS MATERIALIZED (
                    SELECT * FROM {self.people}
                    WHERE number >= :lo AND number < :hi AND known_id IS NULL ORDER BY number
                ), address AS (
                    INSERT INTO contact_point (team_id, recipient_id, channel, address)
                    SELECT :team, recipient_id, '{Channel.EMAIL}', email FROM new
                ), phone AS (
                    INSERT INTO contact_point (team_id, recipient_id, channel, address)
                    SELECT :team, recipient_id, '{Channel.SMS}', phone FROM new WHERE phone IS NOT NULL
                )
                INSERT INTO recipient (id, team_id, external_id, first_name, last_name, locale,
                    time_zone, attributes)
                SELECT recipient_id, :team, external_id, coalesce(first_name, ''),
                    coalesce(last_name, ''), locale, time_zone, coalesce(attributes, '{{}}') FROM new
                """),  # noqa: S608 - our own names
            people,
        ).rowcount

    def _update(self, connection: Connection, people: dict[str, int]) -> set[int]:
        """Ids of the recipients whose row changed; one that has an external id keeps it."""
        news = {
            # Asked only of who has none: the id may be that of somebody merged into this one.
            "external_id": "coalesce(r.external_id, CASE WHEN NOT EXISTS (SELECT FROM recipient t"
            " WHERE t.team_id = r.team_id AND t.external_id = s.external_id) THEN s.external_id END)",
            **{name: f"coalesce(s.{name}, r.{name})" for name in TEXTS[2:6]},
            "attributes": "r.attributes || coalesce(s.attributes, '{}')",
        }
        changed = connection.execute(
            text(
                f"UPDATE recipient r SET {', '.join(f'{n} = {v}' for n, v in news.items())},"  # noqa: S608
                f" updated_at = now() FROM {self.people} s"
                " WHERE s.number >= :lo AND s.number < :hi AND s.known_id IS NOT NULL"
                " AND r.id = s.recipient_id AND r.erased_at IS NULL"
                f" AND ({', '.join(f'r.{n}' for n in news)}) IS DISTINCT FROM ({', '.join(news.values())})"
                " RETURNING r.id"
            ),
            people,
        )
        return set(changed.scalars())

    def _address(
        self, connection: Connection, people: dict[str, int], channel: Channel, column: str
    ) -> set[int]:
        """Ids of known recipients who got another address on the channel; it is not verified yet.

        One that they had as a further address is not kept twice.
        """
        changed = connection.execute(
            text(f"""
                WITH changed AS (INSERT INTO contact_point (team_id, recipient_id, channel, address)
                SELECT :team, s.recipient_id, :channel, s.{column}
                FROM {self.people} s LEFT JOIN LATERAL (SELECT address FROM contact_point
                    WHERE recipient_id = s.recipient_id AND channel = :channel AND rank = 0
                    LIMIT 1) AS c ON true
                WHERE s.number >= :lo AND s.number < :hi AND s.known_id IS NOT NULL
                    AND s.{column} IS NOT NULL AND c.address IS DISTINCT FROM s.{column}
                ON CONFLICT (recipient_id, channel, rank)
                    DO UPDATE SET address = excluded.address, verified_at = NULL,
                        state = '{ContactState.UNVERIFIED}', registered_at = now()
                RETURNING recipient_id, address), spare AS (
                    DELETE FROM contact_point d USING changed WHERE d.channel = :channel
                        AND d.recipient_id = changed.recipient_id AND d.rank > 0
                        AND d.address = changed.address)
                SELECT recipient_id FROM changed
                """),  # noqa: S608 - our own names
            {**people, "channel": channel},
        )
        return set(changed.scalars())

    def _join(
        self, connection: Connection, people: dict[str, int], into: Joining, counts: Counts
    ) -> None:
        """Subscribe people, or end their subscription; those that stand as they should are left alone.

        Who left is asked again where the row is written: somebody may leave while we import.
        """
        is_due = (
            "({now} IS NULL OR ({wish} = :left AND {now} <> :left) OR ({wish} <> :left AND"
            " (({now} = :left AND :brings_back) OR ({now} = :pending AND {wish} = :subscribed))))"
        )
        found = connection.execute(
            text(f"""
                WITH wanted AS MATERIALIZED (
                    SELECT s.recipient_id, b.state AS stored,
                        CASE WHEN s.subscribed IS FALSE THEN :left ELSE :joined END AS wish
                    FROM {self.people} s LEFT JOIN LATERAL (SELECT state FROM subscription
                        WHERE topic_id = :topic AND channel = :channel
                            AND recipient_id = s.recipient_id LIMIT 1) AS b ON true
                    WHERE s.number >= :lo AND s.number < :hi ORDER BY s.number
                ), written AS (
                    INSERT INTO subscription (topic_id, channel, recipient_id, state, source)
                    SELECT :topic, :channel, recipient_id, wish, :source FROM wanted
                    WHERE {is_due.format(now="stored", wish="wish")}
                    ON CONFLICT (topic_id, channel, recipient_id)
                        DO UPDATE SET state = excluded.state, source = :source, changed_at = now()
                        WHERE {is_due.format(now="subscription.state", wish="excluded.state")}
                    RETURNING state
                )
                SELECT count(*) FILTER (WHERE state = :subscribed) AS subscribed,
                    count(*) FILTER (WHERE state = :pending) AS pending,
                    count(*) FILTER (WHERE state = :left) AS left,
                    (SELECT count(*) FROM wanted WHERE stored = :left AND wish <> :left
                        AND NOT :brings_back) AS stayed_left
                FROM written
                """),  # noqa: S608 - our own names
            {
                **people,
                "topic": into.topic_id,
                "channel": Channel.EMAIL,
                "joined": into.state,
                "brings_back": into.brings_back,
                "source": _SOURCE,
                **{state.value: state for state in SubscriptionState},
            },
        ).one()
        counts.subscribed, counts.pending, counts.left, counts.stayed_left = found


@contextmanager
def staging_tables(connection: Connection, team_id: int) -> Iterator[Staging]:
    """Empty staging tables that are gone after the block."""
    staging = Staging(team_id)
    staging.make(connection)
    try:
        yield staging
    finally:
        staging.drop(connection)


def refresh_statistics(connection: Connection, added: int) -> None:
    """Tell the planner about many new rows: autovacuum does so up to a minute later."""
    if added >= _ANALYSE_FROM:
        connection.execute(text("ANALYZE recipient, contact_point, subscription"))
        connection.commit()


def _copy_line(row: StagedRow) -> str:
    """A line of COPY's text format, in which "" stands for null."""
    line = "\t".join(map(str, row))
    if "\\" in line or "\n" in line or "\r" in line or line.count("\t") != len(row) - 1:
        line = "\t".join(str(value).translate(_ESCAPES) for value in row)
    return line + "\n"


_ESCAPES = str.maketrans({"\\": r"\\", "\t": r"\t", "\n": r"\n", "\r": r"\r"})

"""Many recipients read, locked and written at once: a handful of statements, however many they are.

What becomes of each is decided in between, in memory (starter/person_roster.py).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import orjson
from sqlalchemy import Connection, text

from domain.send import Channel
from models.recheck import recheck_recipients
from models.recipient_edit import ProfileChange
from models.team import add_attribute_names


@dataclass(slots=True, kw_only=True, eq=False)
class Point:
    """A contact point; `id` None: it is yet to be made."""

    address: str
    rank: int
    id: int | None = None


@dataclass(slots=True, kw_only=True, eq=False)
class Person:
    """A recipient, and what is to become of them; `id` None: they are yet to be made."""

    id: int | None = None
    external_id: str | None = None
    is_erased: bool = False
    points: dict[Channel, list[Point]] = field(default_factory=dict)
    """By rank."""
    is_named: bool = False
    """The external id is yet to be written."""
    change: ProfileChange = field(default_factory=ProfileChange)
    """To be written; of somebody new it is all that there is."""
    moved: set[Channel] = field(default_factory=set)
    """Channels whose points changed."""
    gone: list[int] = field(default_factory=list)
    """Ids of points that are to be removed."""

    @property
    def known_id(self) -> int:
        """The id, which they have by now."""
        assert self.id is not None  # noqa: S101  made or found
        return self.id


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Who is meant by external ids and by e-mail addresses; one person is one object."""

    by_external_id: dict[str, Person]
    """Who was merged is found as who they are."""
    by_email: dict[str, list[Person]]
    """Whose address in use it is; who was first comes first."""


def find_people(
    connection: Connection, team_id: int, external_ids: Sequence[str], emails: Sequence[str]
) -> Found:
    """Everybody who is meant, with their contact points; who is not there is missing."""
    roots = _roots(connection, team_id, external_ids) if external_ids else []
    owners = _owners(connection, team_id, emails) if emails else []
    people = _people(connection, {id for _, id in (*roots, *owners)})
    found = Found(by_external_id={asked: people[id] for asked, id in roots}, by_email={})
    for address, id in owners:
        found.by_email.setdefault(address, []).append(people[id])
    return found


def lock_people(connection: Connection, ids: Collection[int]) -> None:
    """Nobody changes, merges or erases them before the transaction ends."""
    connection.execute(
        text("SELECT FROM recipient WHERE id = ANY(:ids) ORDER BY id FOR NO KEY UPDATE"),
        {"ids": sorted(ids)},
    )


def write_people(
    connection: Connection, team_id: int, people: Sequence[Person], names: Collection[str]
) -> None:
    """Make those who are new, and write what is to become of the others.

    `names`: of the attributes that they get. They are locked, and imports held off from those who
    are new. A unique constraint refuses an external id that somebody else got a moment ago.
    """
    if names:
        add_attribute_names(connection, team_id, sorted(names))
    new = [person for person in people if person.id is None]
    known = [person for person in people if person.id is not None]
    if new:
        _insert(connection, team_id, new)
    changed = [one for one in known if one.is_named or one.change != ProfileChange()]
    if changed:
        _update(connection, changed)
    moved = [person for person in people if person.moved]
    if moved:
        _write_points(connection, team_id, moved)


def _roots(
    connection: Connection, team_id: int, external_ids: Sequence[str]
) -> list[tuple[str, int]]:
    rows = connection.execute(
        text(
            "WITH RECURSIVE walk AS (SELECT external_id AS asked, id, merged_into FROM recipient"
            "  WHERE team_id = :team AND external_id = ANY(:ids)"
            " UNION SELECT w.asked, r.id, r.merged_into FROM recipient r"
            "  JOIN walk w ON r.id = w.merged_into)"
            " SELECT asked, id FROM walk WHERE merged_into IS NULL ORDER BY id"
        ),
        {"team": team_id, "ids": list(external_ids)},
    )
    return [(row.asked, row.id) for row in rows]


def _owners(connection: Connection, team_id: int, emails: Sequence[str]) -> list[tuple[str, int]]:
    """By contact_point_address."""
    rows = connection.execute(
        text(
            "SELECT c.address, r.id FROM contact_point c JOIN recipient r ON r.id = c.recipient_id"
            " WHERE c.team_id = :team AND c.channel = 'email' AND c.address = ANY(:emails)"
            " AND c.rank = 0 AND r.erased_at IS NULL AND r.merged_into IS NULL ORDER BY r.id"
        ),
        {"team": team_id, "emails": list(emails)},
    )
    return [(row.address, row.id) for row in rows]


def _people(connection: Connection, ids: set[int]) -> dict[int, Person]:
    if not ids:
        return {}
    rows = connection.execute(
        text(
            "SELECT r.id, r.external_id, r.erased_at IS NOT NULL AS is_erased,"
            " c.id AS point, c.channel, c.address, c.rank"
            " FROM recipient r LEFT JOIN contact_point c ON c.recipient_id = r.id"
            " WHERE r.id = ANY(:ids) ORDER BY r.id, c.channel, c.rank"
        ),
        {"ids": sorted(ids)},
    )
    people: dict[int, Person] = {}
    for row in rows:
        person = people.setdefault(
            row.id, Person(id=row.id, external_id=row.external_id, is_erased=row.is_erased)
        )
        if row.point is not None:
            point = Point(id=row.point, address=row.address, rank=row.rank)
            person.points.setdefault(Channel(row.channel), []).append(point)
    return people


_COLUMNS = """
    AS s(id bigint, external_id text, first_name text, last_name text, locale text,
         time_zone text, preferred_channels text[], attributes jsonb, removed text[])
"""


def _insert(connection: Connection, team_id: int, new: Sequence[Person]) -> None:
    ids = connection.execute(
        text(
            "SELECT nextval(CAST(pg_get_serial_sequence('recipient', 'id') AS regclass))"
            " FROM generate_series(1, :n)"
        ),
        {"n": len(new)},
    ).scalars()
    for person, id in zip(new, ids, strict=True):
        person.id = id
    connection.execute(
        text(
            "INSERT INTO recipient (id, team_id, external_id, first_name, last_name, locale,"  # noqa: S608  our own names
            " time_zone, preferred_channels, attributes)"
            " SELECT id, :team, external_id, coalesce(first_name, ''), coalesce(last_name, ''),"
            " nullif(locale, ''), nullif(time_zone, ''), coalesce(preferred_channels, '{}'),"
            f" coalesce(attributes, '{{}}') FROM jsonb_to_recordset(CAST(:rows AS jsonb)) {_COLUMNS}"
            " ORDER BY id"
        ),
        {"team": team_id, "rows": _rows(new)},
    )


_NEWS = {
    "external_id": "coalesce(r.external_id, s.external_id)",
    "first_name": "coalesce(s.first_name, r.first_name)",
    "last_name": "coalesce(s.last_name, r.last_name)",
    # "" forgets it.
    "locale": "nullif(coalesce(s.locale, r.locale), '')",
    "time_zone": "nullif(coalesce(s.time_zone, r.time_zone), '')",
    "preferred_channels": "coalesce(s.preferred_channels, r.preferred_channels)",
    "attributes": "(r.attributes || coalesce(s.attributes, '{}')) - coalesce(s.removed, '{}')",
}


def _update(connection: Connection, known: Sequence[Person]) -> None:
    changed = connection.execute(
        text(
            f"UPDATE recipient r SET {', '.join(f'{n} = {v}' for n, v in _NEWS.items())},"  # noqa: S608  our own names
            f" updated_at = now() FROM jsonb_to_recordset(CAST(:rows AS jsonb)) {_COLUMNS}"
            " WHERE r.id = s.id AND r.erased_at IS NULL"
            f" AND ({', '.join(f'r.{n}' for n in _NEWS)}) IS DISTINCT FROM ({', '.join(_NEWS.values())})"
            " RETURNING r.id"
        ),
        {"rows": _rows(known)},
    )
    zoned = {person.known_id for person in known if person.change.time_zone is not None}
    moved = zoned.intersection(changed.scalars())
    if moved:
        # They may have moved to where it is time already.
        recheck_recipients(connection, sorted(moved))


def _rows(people: Iterable[Person]) -> str:
    return orjson.dumps([_row(person) for person in people]).decode()


def _row(person: Person) -> dict[str, Any]:
    row: dict[str, Any] = {"id": person.id}
    row |= {each.name: getattr(person.change, each.name) for each in fields(person.change)}
    if person.is_named:
        row["external_id"] = person.external_id
    if person.change.attributes is not None:
        given = person.change.attributes
        row["attributes"] = {name: value for name, value in given.items() if value is not None}
        row["removed"] = [name for name, value in given.items() if value is None]
    return row


def _write_points(connection: Connection, team_id: int, moved: Sequence[Person]) -> None:
    gone = [id for person in moved for id in person.gone]
    if gone:
        connection.execute(text("DELETE FROM contact_point WHERE id = ANY(:ids)"), {"ids": gone})
    places = [
        (person.known_id, channel, point)
        for person in moved
        for channel in sorted(person.moved)
        for point in person.points[channel]
    ]
    kept = [point for _, _, point in places if point.id is not None]
    # By way of negative ranks: an UPDATE checks the unique ranks row by row.
    for expression in ("-1 - w.rank", "w.rank") if kept else ():
        connection.execute(
            text(
                f"UPDATE contact_point c SET rank = {expression} FROM"  # noqa: S608  constants
                " unnest(CAST(:ids AS bigint[]), CAST(:ranks AS smallint[])) AS w(id, rank)"
                " WHERE c.id = w.id"
            ),
            {"ids": [point.id for point in kept], "ranks": [point.rank for point in kept]},
        )
    _insert_points(connection, team_id, [place for place in places if place[2].id is None])


def _insert_points(
    connection: Connection, team_id: int, places: Sequence[tuple[int, Channel, Point]]
) -> None:
    if not places:
        return
    connection.execute(
        text(
            "INSERT INTO contact_point (team_id, recipient_id, channel, address, rank)"
            " SELECT :team, x.* FROM unnest(CAST(:recipients AS bigint[]), CAST(:channels AS text[]),"
            " CAST(:addresses AS text[]), CAST(:ranks AS smallint[])) AS x"
        ),
        {
            "team": team_id,
            "recipients": [recipient for recipient, _, _ in places],
            "channels": [channel.value for _, channel, _ in places],
            "addresses": [point.address for _, _, point in places],
            "ranks": [point.rank for _, _, point in places],
        },
    )

"""Templates, their immutable versions, and the links in them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
from sqlalchemy import Column, Connection, ForeignKey, Integer, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import BigInteger, Field, SQLModel

from domain.send import MessageClass
from models.columns import identity, moment, words
from models.prepared import Prepared


class Template(SQLModel, table=True):
    """The editable thing; what is sent is a version of it."""

    __table_args__ = (UniqueConstraint("team_id", "key"),)

    id: int = Field(sa_column=identity())
    team_id: int = Field(sa_column=Column(BigInteger, ForeignKey("team.id"), nullable=False))
    key: str = Field(sa_column=words())
    name: str = Field(sa_column=words())
    created_at: datetime = Field(sa_column=moment(nullable=False, default_now=True))


class TemplateVersion(SQLModel, table=True):
    """Numbered content, immutable once published (a trigger refuses UPDATE and DELETE)."""

    __tablename__ = "template_version"
    __table_args__ = (UniqueConstraint("template_id", "number"),)

    id: int = Field(sa_column=identity())
    template_id: int = Field(
        sa_column=Column(BigInteger, ForeignKey("template.id"), nullable=False)
    )
    number: int = Field(sa_column=Column(Integer, nullable=False))
    message_class: str = Field(sa_column=words())
    sender: dict[str, str] = Field(sa_column=Column(JSONB, nullable=False))
    """{"from": "Name <address>", "reply_to": …}; an empty `from` means CARILLON_DEFAULT_FROM."""
    content: dict[str, Any] = Field(sa_column=Column(JSONB, nullable=False))
    """{channel: {locale: {"subject", "html", "text"}}}; locale "" serves everybody."""
    variables: dict[str, Any] = Field(sa_column=Column(JSONB, nullable=False))
    """Defaults of the template's own variables."""
    digest: str = Field(sa_column=words())
    """SHA-256 of all of the above: publishing the same again makes no new version."""
    published_at: datetime = Field(sa_column=moment(nullable=False, default_now=True))


class Link(SQLModel, table=True):
    """A URL that a version's HTML points to, in order of appearance."""

    __table_args__ = (UniqueConstraint("template_version_id", "number"),)

    id: int = Field(sa_column=identity())
    template_version_id: int = Field(
        sa_column=Column(BigInteger, ForeignKey("template_version.id"), nullable=False)
    )
    number: int = Field(sa_column=Column(Integer, nullable=False))
    url: str = Field(sa_column=words())


class UnknownTemplate(Exception):
    """No template or version has this name; the message is one sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewVersion:
    """What a template folder says, checked: the content of a version to be."""

    key: str
    name: str
    message_class: MessageClass
    sender: dict[str, str]
    content: dict[str, Any]
    variables: dict[str, Any]
    links: Sequence[str]
    """Absolute URLs of the HTML, in order; derived from `content`, so not in the digest."""

    @property
    def digest(self) -> str:
        """SHA-256 of what is sent; the template's name is a label and may change without a version."""
        said = [self.message_class, self.sender, self.content, self.variables]
        return hashlib.sha256(orjson.dumps(said, option=orjson.OPT_SORT_KEYS)).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """A published version, as use cases see it."""

    id: int
    template_id: int
    key: str
    name: str
    number: int
    message_class: MessageClass
    sender: dict[str, str]
    content: dict[str, Any]
    variables: dict[str, Any]
    digest: str
    published_at: datetime

    @property
    def label(self) -> str:
        """KEY@N, by which people name it."""
        return f"{self.key}@{self.number}"


_SELECT_ANY = """
    SELECT v.id, v.template_id, t.key, t.name, v.number, v.message_class, v.sender, v.content,
           v.variables, v.digest, v.published_at
    FROM template_version v JOIN template t ON t.id = v.template_id
"""
_SELECT = _SELECT_ANY + " WHERE t.team_id = :team"


Agree = Callable[[Version | None], None]
"""Shown the newest version so far (None: there is none), with the template locked; raises to refuse."""


def publish_version(
    connection: Connection,
    team_id: int,
    new: NewVersion,
    *,
    agree: Agree = lambda newest: None,
) -> Version:
    """The newest version of the template, which has this content: made, unless it was there.

    Content that an older version had becomes a new version: `KEY` always means the newest.
    """
    # The upsert also locks the template: two that publish at once get two numbers.
    connection.execute(
        text(
            "INSERT INTO template (team_id, key, name) VALUES (:team, :key, :name)"
            " ON CONFLICT (team_id, key) DO UPDATE SET name = excluded.name"
        ),
        {"team": team_id, "key": new.key, "name": new.name},
    )
    newest = _newest(connection, team_id, new.key)
    agree(newest)
    if newest is None or newest.digest != new.digest:
        number = newest.number + 1 if newest else 1
        _insert_links(connection, _insert_version(connection, team_id, new, number), new.links)
    return find_version(connection, team_id, new.key)


def find_version(connection: Connection, team_id: int, named: str) -> Version:
    """The version "KEY@N", or the newest of "KEY". Raises UnknownTemplate."""
    key, at, number = named.partition("@")
    if not at:
        found = _newest(connection, team_id, key)
    elif _is_number(number):
        found = _one(connection, " AND t.key = :key AND v.number = :n", team_id, key, int(number))
    else:
        raise UnknownTemplate(f"'{named}' is not a template's name of the form KEY or KEY@NUMBER.")
    if found is None:
        raise UnknownTemplate(_why_unknown(connection, team_id, key, number))
    return found


NEWEST_VERSION = (
    "SELECT v.id FROM template_version v JOIN template t ON t.id = v.template_id"
    " WHERE t.team_id = :team AND t.key = :template"
    " AND v.number = coalesce(:number, v.number) ORDER BY v.number DESC LIMIT 1"
)
"""SQL: key of the version that `version_asked` names."""
_VERSION_ID = Prepared("template_version_id", NEWEST_VERSION)


def version_asked(named: str) -> dict[str, Any]:
    """Values for NEWEST_VERSION: of "KEY@N", or of the newest of "KEY"."""
    key, _, number = named.partition("@")
    return {"template": key, "number": int(number) if _is_number(number) else None}


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 10


def version_id(connection: Connection, team_id: int, named: str) -> int:
    """Key of the version "KEY@N", or of the newest of "KEY": one light query. Raises UnknownTemplate."""
    _, at, number = named.partition("@")
    found: int | None = _VERSION_ID.run(
        connection, {"team": team_id, **version_asked(named)}
    ).scalar()
    if found is None or (at and not _is_number(number)):
        return find_version(connection, team_id, named).id  # which says why there is none
    return found


def find_version_by_id(connection: Connection, key: int) -> Version:
    """The version of this key, which there is."""
    row = connection.execute(text(_SELECT_ANY + " WHERE v.id = :id"), {"id": key}).mappings().one()
    return _version(row)


_IS_NEWEST = " AND v.number = (SELECT max(number) FROM template_version WHERE template_id = t.id)"


def list_versions(connection: Connection, team_id: int) -> list[Version]:
    """The newest version of each template, by key."""
    rows = connection.execute(text(_SELECT + _IS_NEWEST + " ORDER BY t.key"), {"team": team_id})
    return [_version(row) for row in rows.mappings()]


def page_of_templates(
    connection: Connection, team_id: int, *, before: int | None = None, limit: int = 100
) -> list[Version]:
    """The newest version of each template, the youngest template first; ids below `before`."""
    rows = connection.execute(
        text(
            _SELECT + _IS_NEWEST + " AND t.id < coalesce(:before, 9223372036854775807)"
            " ORDER BY t.id DESC LIMIT :n"
        ),
        {"team": team_id, "before": before, "n": limit},
    )
    return [_version(row) for row in rows.mappings()]


def page_of_versions(
    connection: Connection, team_id: int, key: str, *, before: int | None = None, limit: int = 100
) -> list[Version]:
    """Versions of the template, newest first, with numbers below `before`. Raises UnknownTemplate."""
    rows = connection.execute(
        text(
            _SELECT + " AND t.key = :key AND v.number < coalesce(:before, 2147483647)"
            " ORDER BY v.number DESC LIMIT :n"
        ),
        {"team": team_id, "key": key, "before": before, "n": limit},
    )
    found = [_version(row) for row in rows.mappings()]
    if not found and before is None:
        raise UnknownTemplate(_why_unknown(connection, team_id, key, ""))
    return found


def _why_unknown(connection: Connection, team_id: int, key: str, number: str) -> str:
    newest = _newest(connection, team_id, key)
    if newest is not None:
        return f"Template '{key}' has no version {number}; the newest is {newest.label}."
    return f"There is no template '{key}'. Publish it with: carillon template publish FOLDER"


def _newest(connection: Connection, team_id: int, key: str) -> Version | None:
    return _one(connection, " AND t.key = :key ORDER BY v.number DESC LIMIT 1", team_id, key)


def _one(
    connection: Connection, condition: str, team_id: int, key: str, number: int = 0
) -> Version | None:
    asked = {"team": team_id, "key": key, "n": number}
    row = connection.execute(text(_SELECT + condition), asked).mappings().one_or_none()
    return None if row is None else _version(row)


def _insert_version(connection: Connection, team_id: int, new: NewVersion, number: int) -> int:
    made: int = connection.execute(
        text(
            "INSERT INTO template_version"
            " (template_id, number, message_class, sender, content, variables, digest)"
            " SELECT t.id, :number, :message_class, CAST(:sender AS jsonb),"
            " CAST(:content AS jsonb), CAST(:variables AS jsonb), :digest"
            " FROM template t WHERE t.team_id = :team AND t.key = :key RETURNING id"
        ),
        {
            "team": team_id,
            "key": new.key,
            "number": number,
            "message_class": new.message_class,
            "sender": orjson.dumps(new.sender).decode(),
            "content": orjson.dumps(new.content).decode(),
            "variables": orjson.dumps(new.variables).decode(),
            "digest": new.digest,
        },
    ).scalar_one()
    return made


def _insert_links(connection: Connection, version_id: int, urls: Sequence[str]) -> None:
    for number, url in enumerate(urls, 1):
        connection.execute(
            text(
                "INSERT INTO link (template_version_id, number, url) VALUES (:version, :number, :url)"
            ),
            {"version": version_id, "number": number, "url": url},
        )


def _version(row: Any) -> Version:
    return Version(**{**row, "message_class": MessageClass(row["message_class"])})

"""Suppressions: addresses not to be sent to."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Column, Connection, ForeignKey, Index, UniqueConstraint, text
from sqlmodel import BigInteger, Field, SQLModel

from domain.eligibility import COMPLAINT
from domain.send import Channel, MessageClass
from models.columns import identity, moment, words
from models.webhook_event import tell_suppressed

IMPORT = "import"
"""Source of what a file of suppressions brought."""


class Suppression(SQLModel, table=True):
    """An address that must not be sent to. Belongs to the address, not to a recipient."""

    __table_args__ = (
        UniqueConstraint("team_id", "channel", "address"),
        # Answers at once whether hashes have to be asked for at all.
        Index(
            "suppression_hashed",
            "team_id",
            "channel",
            postgresql_where=text("address LIKE 'hash:%'"),
        ),
    )

    id: int = Field(sa_column=identity())
    team_id: int = Field(sa_column=Column(BigInteger, ForeignKey("team.id"), nullable=False))
    channel: str = Field(sa_column=words())
    address: str = Field(sa_column=words())
    """Normalised like a contact point's; of an erased person "hash:" and its keyed hash."""
    reason: str = Field(sa_column=words())
    """hard_bounce, complaint, manual, or a word of the importer's."""
    source: str = Field(sa_column=words())
    created_at: datetime = Field(sa_column=moment(nullable=False, default_now=True))


def is_suppressed(team: str, channel: str, address: str, message_class: str = "") -> str:
    """SQL that says whether an address is suppressed; the arguments are SQL expressions.

    With a `message_class` it says whether that stops a message of the class: a complaint stops
    marketing only. Addresses of erased people are there as hashes only. Hashing them takes a while, so it
    is done only where the team has such a suppression on the channel: with :team and :channel that
    is asked once a statement. Facts of a batch cost what they did (7 µs a person), with hashes 3 more.
    """
    stops = ""
    if message_class:
        stops = (
            f" AND ({message_class} = '{MessageClass.MARKETING}'"
            f" OR NOT starts_with(x.reason, '{COMPLAINT}'))"
        )
    return (
        "(EXISTS (SELECT 1 FROM suppression x"  # noqa: S608  expressions of ours
        f" WHERE x.team_id = {team} AND x.channel = {channel} AND x.address = {address}{stops})"
        f" OR CASE WHEN EXISTS (SELECT 1 FROM suppression h WHERE h.team_id = {team}"
        f" AND h.channel = {channel} AND h.address LIKE 'hash:%')"
        " THEN EXISTS (SELECT 1 FROM suppression x"
        f" WHERE x.team_id = {team} AND x.channel = {channel}"
        f" AND x.address = hashed_address({address}){stops}) ELSE false END)"
    )


def suppress(
    connection: Connection, team_id: int, reasons: dict[str, str], *, channel: Channel, source: str
) -> int:
    """How many of these addresses (normalised, with their reasons) were not suppressed before.

    A suppression that stands keeps its reason and source: they are the evidence of what happened.
    Endpoints are told of the others, but of an import's: who imports a list knows it.
    """
    added: int = connection.execute(
        text(
            "WITH added AS (INSERT INTO suppression (team_id, channel, address, reason, source)"  # noqa: S608  ours
            " SELECT :team, :channel, address, reason, :source"
            " FROM unnest(CAST(:addresses AS text[]), CAST(:reasons AS text[])) AS given (address, reason)"
            f" WHERE NOT {is_suppressed(':team', ':channel', 'given.address')}"
            # In one order, so that two that suppress the same addresses never wait for each other.
            " ORDER BY address ON CONFLICT (team_id, channel, address) DO NOTHING"
            " RETURNING id, team_id, channel),"
            f" told AS ({tell_suppressed('(SELECT * FROM added WHERE :source <> :import)')})"
            " SELECT count(*) FROM added"
        ),
        {
            "team": team_id,
            "channel": channel,
            "source": source,
            "addresses": list(reasons),
            "reasons": list(reasons.values()),
            "import": IMPORT,
        },
    ).scalar_one()
    return added


def hash_suppressions(connection: Connection, recipient_ids: Sequence[int]) -> int:
    """Keep the suppressions of these recipients' addresses as hashes alone; how many there were.

    The address stays suppressed, also for another person who has it or somebody who brings it again.
    """
    whose = {"recipients": list(recipient_ids)}
    theirs = (
        " FROM contact_point c WHERE c.recipient_id = ANY(:recipients)"
        " AND x.team_id = c.team_id AND x.channel = c.channel AND x.address = c.address"
    )
    hashed = connection.execute(
        text(
            "INSERT INTO suppression (team_id, channel, address, reason, source, created_at)"  # noqa: S608  ours
            " SELECT DISTINCT x.team_id, x.channel, hashed_address(x.address), x.reason, x.source,"
            " x.created_at FROM suppression x WHERE EXISTS (SELECT 1" + theirs + ")"
            " ON CONFLICT (team_id, channel, address) DO NOTHING"
        ),
        whose,
    ).rowcount
    connection.execute(
        text("DELETE FROM suppression x WHERE EXISTS (SELECT 1" + theirs + ")"),  # noqa: S608  ours
        whose,
    )
    return hashed

"""Rules on events: an event whose data says so makes a recipient a member of another topic."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import BigInteger, Column, Connection, ForeignKey, UniqueConstraint, text
from sqlmodel import Field, SQLModel

from models.columns import big, identity, moment, words


class TopicRule(SQLModel, table=True):
    """An event of the topic with `field` == `value` joins its `recipient` to another topic."""

    __tablename__ = "topic_rule"
    __table_args__ = (UniqueConstraint("team_id", "topic_id", "field", "value", "joins_topic_id"),)

    id: int = Field(sa_column=identity())
    team_id: int = Field(sa_column=big())
    topic_id: int = Field(sa_column=Column(BigInteger, ForeignKey("topic.id"), nullable=False))
    field: str = Field(sa_column=words())
    value: str = Field(sa_column=words())
    """Compared with the text of the data's value; true and false are written so."""
    joins_topic_id: int = Field(
        sa_column=Column(BigInteger, ForeignKey("topic.id"), nullable=False)
    )
    created_at: datetime = Field(sa_column=moment(nullable=False, default_now=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A rule as people see it."""

    id: int
    topic: str
    field: str
    value: str
    joins: str
    joins_topic_id: int


def add_rule(connection: Connection, team_id: int, topic: int, joins: int, when: str) -> bool:
    """Whether the rule is new. `when` is FIELD=VALUE."""
    field, _, value = when.partition("=")
    return (
        connection.execute(
            text(
                "INSERT INTO topic_rule (team_id, topic_id, field, value, joins_topic_id)"
                " VALUES (:team, :topic, :field, :value, :joins) ON CONFLICT DO NOTHING"
            ),
            {"team": team_id, "topic": topic, "field": field, "value": value, "joins": joins},
        ).rowcount
        == 1
    )


def remove_rule(connection: Connection, team_id: int, topic: int, joins: int, when: str) -> bool:
    """Whether there was such a rule; who joined by it stays a member."""
    field, _, value = when.partition("=")
    return (
        connection.execute(
            text(
                "DELETE FROM topic_rule WHERE team_id = :team AND topic_id = :topic"
                " AND field = :field AND value = :value AND joins_topic_id = :joins"
            ),
            {"team": team_id, "topic": topic, "field": field, "value": value, "joins": joins},
        ).rowcount
        == 1
    )


def remove_rule_by_id(connection: Connection, topic: int, rule_id: int) -> bool:
    """Whether the topic had the rule; who joined by it stays a member."""
    return (
        connection.execute(
            text("DELETE FROM topic_rule WHERE topic_id = :topic AND id = :id"),
            {"topic": topic, "id": rule_id},
        ).rowcount
        == 1
    )


def rules_of(
    connection: Connection, topic: int, *, after: int = 0, most: int | None = None
) -> Sequence[Rule]:
    """The rules on the topic's events, oldest first; up to `most` behind the rule `after`."""
    rows = connection.execute(
        text(
            "SELECT r.id, x.key AS topic, r.field, r.value, y.key AS joins, r.joins_topic_id"
            " FROM topic_rule r JOIN topic x ON x.id = r.topic_id"
            " JOIN topic y ON y.id = r.joins_topic_id"
            " WHERE r.topic_id = :topic AND r.id > :after ORDER BY r.id LIMIT :most"
        ),
        {"topic": topic, "after": after, "most": most},
    ).mappings()
    return [Rule(**row) for row in rows]

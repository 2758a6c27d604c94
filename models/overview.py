"""What there is: the lists that operators ask for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, text

from domain.send import SubscriptionState


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicSummary:
    """A topic, and how many subscriptions to it are active, over all channels."""

    key: str
    name: str
    opt_in: str
    over_cap: str | None
    """None: as each cap says."""
    subscribed: int


def list_topics(connection: Connection, team_id: int) -> list[TopicSummary]:
    """All topics of the team, by key."""
    rows = connection.execute(
        text(
            "SELECT t.key, t.name, t.opt_in, t.over_cap, (SELECT count(*) FROM subscription s"
            "  WHERE s.topic_id = t.id AND s.state = :subscribed) AS subscribed"
            " FROM topic t WHERE t.team_id = :team ORDER BY t.key"
        ),
        {"team": team_id, "subscribed": SubscriptionState.SUBSCRIBED},
    ).mappings()
    return [TopicSummary(**row) for row in rows]


def campaign_ids(connection: Connection, team_id: int) -> Sequence[int]:
    """Keys of all campaigns of the team, oldest first."""
    return (
        connection.execute(
            text("SELECT id FROM send WHERE team_id = :team AND kind = 'campaign' ORDER BY id"),
            {"team": team_id},
        )
        .scalars()
        .all()
    )

"""The topic that digests go out under: leaving it, by the link in a digest, ends all digests.

It is of implied consent: the consent that counts is to the topics whose events are in the digest.
"""

from __future__ import annotations

from sqlalchemy import Connection, text

from domain.digest import Cadence
from domain.send import Channel, OptIn, SubscriptionState
from models.topic import add_topic

DIGEST_TOPIC = "digests"


def digest_topic(connection: Connection, team_id: int) -> int:
    """Id of the team's topic of digests, made if there is none."""
    found: int | None = connection.execute(
        text("SELECT id FROM topic WHERE team_id = :team AND key = :key"),
        {"team": team_id, "key": DIGEST_TOPIC},
    ).scalar()
    if found is not None:
        return found
    return add_topic(connection, team_id, DIGEST_TOPIC, "Digests", OptIn.IMPLIED)


def resume_digests(connection: Connection, topic: int, recipient_id: int, source: str) -> None:
    """A member who takes this topic as a digest has not left digests any more."""
    connection.execute(
        text(
            "UPDATE subscription s SET state = :subscribed, source = :source, changed_at = now()"
            " FROM topic joined JOIN topic digests ON digests.team_id = joined.team_id"
            "  AND digests.key = :key JOIN subscription d ON d.topic_id = joined.id"
            " WHERE joined.id = :topic AND d.channel = :email AND d.recipient_id = :recipient"
            " AND d.state = :subscribed AND d.cadence <> :immediate AND s.topic_id = digests.id"
            " AND s.channel = :email AND s.recipient_id = :recipient AND s.state = :left"
        ),
        {
            "subscribed": SubscriptionState.SUBSCRIBED,
            "left": SubscriptionState.LEFT,
            "source": source,
            "topic": topic,
            "key": DIGEST_TOPIC,
            "email": Channel.EMAIL,
            "recipient": recipient_id,
            "immediate": Cadence.IMMEDIATE,
        },
    )

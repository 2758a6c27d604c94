"""What a link to join is about, and who asks by the public form."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, text

from domain.join_token import Invitation
from domain.send import Channel, SubscriptionState
from models.topic import StoredTopic, UnknownTopic, find_topic


@dataclass(frozen=True, slots=True, kw_only=True)
class Invited:
    """A recipient and the topic that they may join."""

    recipient_id: int
    topic_id: int
    topic_name: str
    channel: Channel


def find_invited(connection: Connection, invitation: Invitation) -> Invited | None:
    """Who is invited to what; None where one of them is not there (any more)."""
    row = connection.execute(
        text(
            # Who was merged since joins as who they are.
            "SELECT k.id AS recipient_id, t.id AS topic_id, t.name AS topic_name FROM recipient r"
            " JOIN recipient k ON k.id = coalesce(r.merged_into, r.id)"
            " JOIN topic t ON t.team_id = r.team_id AND t.id = :topic"
            " WHERE r.id = :recipient AND k.erased_at IS NULL"
        ),
        {"topic": invitation.topic_id, "recipient": invitation.recipient_id},
    ).one_or_none()
    if row is None:
        return None
    return Invited(**row._mapping, channel=invitation.channel)


def find_form(connection: Connection, team_id: int, key: str) -> StoredTopic | None:
    """The topic that anybody may ask to join; None where there is no such topic or it has no form."""
    try:
        found = find_topic(connection, team_id, key)
    except UnknownTopic:
        return None
    return found if found.settings.has_form else None


def is_reached(connection: Connection, team_id: int, topic: int, address: str) -> bool:
    """Whether somebody with this e-mail address is subscribed to the topic already."""
    reached: bool = connection.execute(
        text(
            "SELECT EXISTS (SELECT 1 FROM contact_point c JOIN subscription s"
            " ON s.recipient_id = c.recipient_id AND s.channel = c.channel"
            " WHERE c.team_id = :team AND c.channel = :email AND c.address = :address"
            " AND c.rank = 0 AND s.topic_id = :topic AND s.state = :subscribed)"
        ),
        {
            "team": team_id,
            "email": Channel.EMAIL,
            "address": address,
            "topic": topic,
            "subscribed": SubscriptionState.SUBSCRIBED,
        },
    ).scalar_one()
    return reached


def name_of(connection: Connection, recipient_id: int) -> str | None:
    """How a request names the recipient: by external id, or by e-mail address; None: not at all."""
    found: str | None = connection.execute(
        text(
            "SELECT coalesce(r.external_id, c.address) FROM recipient r"
            " LEFT JOIN contact_point c ON c.recipient_id = r.id AND c.channel = :email AND c.rank = 0"
            " WHERE r.id = :recipient"
        ),
        {"email": Channel.EMAIL, "recipient": recipient_id},
    ).scalar_one()
    return found

"""Builders with defaults, for tests that need rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Engine, text

from domain.outcome import Outcome
from domain.send import Channel, MessageClass, OnUnknown, SendState
from models.account import NamedAccount, find_account, keep_account
from models.campaign import NewCampaign, change_state, create_campaign, start_campaign
from models.freeze import freeze
from models.team import add_attribute_names, default_team_id
from models.template import NewVersion, publish_version
from models.topic import add_topic

TOPIC = "newsletter"
SUBJECT = "Hello {{ first_name }}"
HTML = "<p>Dear {{ first_name }} {{ last_name }}, plan {{ plan | default('free') }}.</p>"


def people(connection: Connection, count: int, *, topic: str = TOPIC) -> int:
    """So many recipients, person-1@example.com and on, subscribed to the topic; the topic's id."""
    team = default_team_id(connection)
    topic_id = add_topic(connection, team, topic, topic.title(), "explicit")
    connection.execute(
        text(
            "WITH made AS (INSERT INTO recipient (team_id, external_id, first_name, last_name,"
            " locale, time_zone, attributes) SELECT :team, 'person-' || n, 'First' || n, 'Last' || n,"
            " 'en', 'Europe/Berlin', jsonb_build_object('plan', 'p' || n % 3)"
            " FROM generate_series(1, :count) AS n RETURNING id, external_id),"
            " points AS (INSERT INTO contact_point (team_id, recipient_id, channel, address)"
            " SELECT :team, id, 'email', external_id || '@example.com' FROM made)"
            " INSERT INTO subscription (topic_id, channel, recipient_id, state, source)"
            " SELECT :topic, 'email', id, 'subscribed', 'test' FROM made"
        ),
        {"team": team, "count": count, "topic": topic_id},
    )
    add_attribute_names(connection, team, ["plan"])
    return topic_id


@dataclass(frozen=True, kw_only=True)
class Draft:
    """What a test wants of its campaign."""

    people: int = 10
    topic: str = TOPIC
    subject: str = SUBJECT
    html: str = HTML
    body: str = ""
    variables: dict[str, Any] = field(default_factory=dict)
    message_class: MessageClass = MessageClass.MARKETING
    on_unknown: OnUnknown = OnUnknown.LEAVE
    rate: float | None = None
    account: str = "simulator"
    expires_after: timedelta = timedelta(hours=1)
    local_at: datetime | None = None


def a_draft(engine: Engine, draft: Draft | None = None) -> int:
    """Id of a draft campaign with its people, topic, template and account."""
    wanted = draft or Draft()
    with engine.begin() as connection:
        team = default_team_id(connection)
        topic_id = people(connection, wanted.people, topic=wanted.topic)
        version = publish_version(
            connection,
            team,
            NewVersion(
                key="news",
                name="News",
                message_class=wanted.message_class,
                sender={"from": "Shop <shop@example.com>", "reply_to": ""},
                content={
                    "email": {
                        "": {"subject": wanted.subject, "html": wanted.html, "text": wanted.body}
                    }
                },
                variables=wanted.variables,
                links=[],
            ),
        )
        keep_account(
            connection,
            team,
            NamedAccount(
                key=wanted.account, provider="sendgrid", channel="email", is_real=False, rate=0
            ),
        )
        return create_campaign(
            connection,
            NewCampaign(
                team_id=team,
                name="A campaign",
                message_class=wanted.message_class,
                channel=Channel.EMAIL,
                topic_id=topic_id,
                template_version_id=version.id,
                account_id=find_account(connection, team, wanted.account).id,
                sender={"address": "shop@example.com", "name": "Shop", "reply_to": ""},
                variables={},
                on_unknown=wanted.on_unknown,
                rate=wanted.rate,
                expires_after=wanted.expires_after,
                local_at=wanted.local_at,
                local_grace=timedelta(days=1),
            ),
        )


def a_running_campaign(
    engine: Engine, draft: Draft | None = None, *, batch_size: int = 5000
) -> int:
    """Id of a campaign that is frozen and running."""
    wanted = draft or Draft()
    send_id = a_draft(engine, wanted)
    with engine.begin() as connection:
        start_campaign(connection, send_id, wanted.expires_after)
        freeze(connection, send_id, most_per_batch=batch_size, shard_size=50_000)
        change_state(connection, send_id, SendState.RUNNING)
    return send_id


def outcomes(engine: Engine, send_id: int) -> dict[int, str]:
    """Outcome by ordinal, of those that have a row."""
    with engine.connect() as connection:
        rows = connection.execute(
            text("SELECT ordinal, outcome FROM delivery WHERE send_id = :send ORDER BY ordinal"),
            {"send": send_id},
        )
        return {row.ordinal: Outcome(row.outcome).word for row in rows}


def scalar(engine: Engine, sql: str, values: dict[str, Any] | None = None) -> Any:
    """The first column of the first row."""
    with engine.connect() as connection:
        return connection.execute(text(sql), values or {}).scalar()


def scalars(engine: Engine, sql: str, values: dict[str, Any] | None = None) -> Sequence[Any]:
    """The first column of all rows."""
    with engine.connect() as connection:
        return connection.execute(text(sql), values or {}).scalars().all()

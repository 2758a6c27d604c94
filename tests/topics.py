"""Topics in tests: a template for events, members with their cadence, and a client that raises events."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Engine, text

from domain.digest import Cadence
from domain.send import MessageClass, OptIn
from models.account import NamedAccount, keep_account
from models.team import default_team_id
from models.topic import TopicSettings, find_topic, set_topic
from tests.builders import people
from tests.requests import a_template

SAYS = {
    "email": {
        "": {
            "subject": "{{ title }} for {{ member.desk | default('you') }}",
            "html": "<p>{{ title }}</p>",
            "text": "",
        }
    }
}
NEWS = {"title": "A new order"}


def a_topic(
    engine: Engine,
    key: str = "orders",
    *,
    message_class: MessageClass = MessageClass.TRANSACTIONAL,
    opt_in: OptIn = OptIn.EXPLICIT,
    has_form: bool = False,
    template: str | None = "order-raised",
) -> int:
    """A topic whose events say their title; its id."""
    with engine.begin() as connection:
        team = default_team_id(connection)
        a_template(connection, "order-raised", content=SAYS)
        set_topic(
            connection,
            team,
            TopicSettings(
                key=key,
                name=key.title(),
                opt_in=opt_in,
                template=template,
                message_class=message_class,
                has_form=has_form,
            ),
        )
        return find_topic(connection, team, key).id


def members(engine: Engine, count: int, *topics: int, cadence: Cadence = Cadence.IMMEDIATE) -> None:
    """So many people (person-1 and on), members of all these topics; the simulator's account."""
    with engine.begin() as connection:
        people(connection, count)
        join(connection, topics, cadence)
        keep_account(
            connection,
            default_team_id(connection),
            NamedAccount(
                key="simulator", provider="sendgrid", channel="email", is_real=False, rate=0
            ),
        )


def join(connection: Any, topics: tuple[int, ...], cadence: Cadence) -> None:
    """Everybody joins these topics by e-mail."""
    connection.execute(
        text(
            "INSERT INTO subscription (topic_id, channel, recipient_id, state, source, cadence)"
            " SELECT t, 'email', r.id, 'subscribed', 'test', :cadence"
            " FROM recipient r, unnest(CAST(:topics AS bigint[])) AS t"
        ),
        {"topics": list(topics), "cadence": cadence},
    )

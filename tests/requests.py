"""Single messages in tests: a template with channels, people, and requests for them."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Engine, text

from domain.send import MessageClass
from models.account import NamedAccount, keep_account
from models.team import default_team_id
from models.template import NewVersion, publish_version
from settings import Settings
from starter.messages import Carillon
from tests.builders import people

CONTENT = {
    "email": {
        "": {
            "subject": "Order {{ order }}",
            "html": "<p>Hello {{ first_name }}, {{ order }} is on its way.</p>",
            "text": "",
        }
    },
    "sms": {"": {"subject": "", "html": "", "text": "{{ order }} is on its way."}},
    "in_app": {"": {"subject": "Order {{ order }}", "html": "", "text": "On its way."}},
}


def a_template(
    connection: Connection,
    key: str = "order-shipped",
    *,
    content: dict[str, Any] | None = None,
    message_class: MessageClass = MessageClass.TRANSACTIONAL,
) -> None:
    """Publish a template for single messages."""
    publish_version(
        connection,
        default_team_id(connection),
        NewVersion(
            key=key,
            name="Order shipped",
            message_class=message_class,
            sender={"from": "Shop <shop@example.com>", "reply_to": ""},
            content=content or CONTENT,
            variables={},
            links=[],
        ),
    )


def a_shop(engine: Engine, customers: int = 10) -> None:
    """So many customers (person-1 and on), the template `order-shipped`, the simulator's account."""
    with engine.begin() as connection:
        people(connection, customers)
        a_template(connection)
        keep_account(
            connection,
            default_team_id(connection),
            NamedAccount(
                key="simulator", provider="sendgrid", channel="email", is_real=False, rate=0
            ),
        )


def a_client(engine: Engine, settings: Settings) -> Carillon:
    """A service's client on the test's database."""
    return Carillon(settings, engine)


def final_outcomes(engine: Engine, send_id: int) -> dict[tuple[int, int], str]:
    """Outcome words by (ordinal, step), with the reason where there is one."""
    from domain.outcome import Outcome, Reason, count_key

    with engine.connect() as connection:
        rows = connection.execute(
            text(
                "SELECT ordinal, step, outcome, reason FROM delivery WHERE send_id = :send"
                " ORDER BY ordinal, step"
            ),
            {"send": send_id},
        )
        return {
            (row.ordinal, row.step): count_key(Outcome(row.outcome), Reason(row.reason))
            for row in rows
        }

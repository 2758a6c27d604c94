"""Facts on real PostgreSQL: each is owed to who wants it, in the transaction that makes it one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from sqlalchemy import Engine, text

from domain.outcome import Outcome, Reason
from domain.send import Channel, SendState
from models.campaign import change_state, start_campaign, unfinished_sends
from models.database import in_transaction
from models.outbox import gather, remove
from models.progress import close
from models.suppression import IMPORT, suppress
from models.team import default_team_id
from models.topic import join_topic, leave_topic
from settings import load
from tests.builders import Draft, a_draft, a_running_campaign, scalar
from tests.requests import a_client, a_shop
from tests.webhooks import an_endpoint, kinds, owed

HOUR = timedelta(hours=1)


def ended(engine: Engine, *outcomes: tuple[Outcome, Reason]) -> int:
    """Id of a send of single messages that came to these outcomes, removed as a driver does it."""
    to = [f"person-{number}" for number, _ in enumerate(outcomes, 1)]
    sent = a_client(engine, load(_env_file=None)).send_blocking(
        "order-shipped", to=to, variables={"order": 1}
    )
    group = in_transaction(engine, lambda connection: gather(connection, 200))
    assert group is not None
    with engine.begin() as connection:
        for ordinal, (outcome, reason) in enumerate(outcomes, 1):
            connection.execute(
                text(
                    "INSERT INTO delivery (send_id, ordinal, step, part, outcome, reason)"
                    " VALUES (:send, :ordinal, 1, 0, :outcome, :reason)"
                ),
                {
                    "send": sent.send_id,
                    "ordinal": ordinal,
                    "outcome": int(outcome),
                    "reason": int(reason),
                },
            )
        remove(connection, group.id, [(sent.send_id, n) for n in range(1, len(outcomes) + 1)])
    return sent.send_id


def test_each_outcome_of_a_single_message_is_an_event_with_ids_alone(engine: Engine) -> None:
    a_shop(engine)
    an_endpoint(engine)

    send_id = ended(
        engine,
        (Outcome.ACCEPTED, Reason.NONE),
        (Outcome.REJECTED, Reason.RECIPIENT_REFUSED),
        (Outcome.SKIPPED, Reason.SUPPRESSED),
        (Outcome.UNCONFIRMED, Reason.NONE),
        (Outcome.EXPIRED, Reason.NONE),
        (Outcome.CANCELLED, Reason.NONE),
    )

    told = owed(engine)
    assert kinds(told) == [
        "message.accepted",
        "message.rejected",
        "message.skipped",
        "message.unconfirmed",
        "message.expired",
        "message.cancelled",
    ]
    assert told[2][1] == {
        "send": send_id,
        "ordinal": 3,
        "outcome": int(Outcome.SKIPPED),
        "reason": int(Reason.SUPPRESSED),
        "test": False,
    }
    assert scalar(engine, "SELECT count(*) FROM outbox") == 0


def test_the_step_where_a_message_stands_is_told(engine: Engine) -> None:
    a_shop(engine)
    an_endpoint(engine)
    sent = a_client(engine, load(_env_file=None)).send_blocking(
        "order-shipped", to="person-1", variables={"order": 1}
    )
    group = in_transaction(engine, lambda connection: gather(connection, 200))
    assert group is not None
    with engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO delivery (send_id, ordinal, step, part, outcome, reason)"
                " VALUES (:send, 1, 1, 0, 3, 20), (:send, 1, 2, 0, 2, 0)"
            ),
            {"send": sent.send_id},
        )
        remove(connection, group.id, [(sent.send_id, 1)])

    assert kinds(owed(engine)) == ["message.accepted"]


def test_who_wants_some_events_is_told_those_and_nobody_else_is_told_anything(
    engine: Engine,
) -> None:
    a_shop(engine)
    with engine.begin() as connection:
        other = connection.execute(
            text("INSERT INTO team (key, name) VALUES ('other', 'Other') RETURNING id")
        ).scalar_one()
    picky = an_endpoint(engine, "message.rejected")
    everything = an_endpoint(engine)
    disabled = an_endpoint(engine)
    an_endpoint(engine, team=other)
    with engine.begin() as connection:
        connection.execute(
            text("UPDATE webhook_endpoint SET is_enabled = false WHERE id = :id"), {"id": disabled}
        )

    ended(engine, (Outcome.ACCEPTED, Reason.NONE), (Outcome.REJECTED, Reason.CONTENT_REFUSED))

    assert kinds(owed(engine, picky)) == ["message.rejected"]
    assert kinds(owed(engine, everything)) == ["message.accepted", "message.rejected"]
    assert len(owed(engine)) == 3


def test_a_fact_that_is_rolled_back_is_told_to_nobody(engine: Engine) -> None:
    send_id = a_running_campaign(engine, Draft(people=2))
    an_endpoint(engine)

    with engine.connect() as connection:
        change_state(connection, send_id, SendState.PAUSED)
        connection.rollback()

    assert owed(engine) == []


def test_a_campaigns_states_are_told_in_order(engine: Engine) -> None:
    an_endpoint(engine)
    send_id = a_running_campaign(engine, Draft(people=2))
    with engine.begin() as connection:
        change_state(connection, send_id, SendState.PAUSED)
        change_state(connection, send_id, SendState.PAUSED)
        change_state(connection, send_id, SendState.RUNNING)
        connection.execute(text("UPDATE batch SET counts = '{\"accepted\": 2}'"))
        assert close(connection, send_id).is_closed
        close(connection, send_id)

    told = [told for told in owed(engine) if told[0].startswith("campaign.")]
    assert told == [
        (f"campaign.{word}", {"campaign": send_id, "test": False})
        for word in ("started", "paused", "resumed", "finished")
    ]


def test_a_campaign_that_is_cancelled_is_not_told_as_finished(engine: Engine) -> None:
    an_endpoint(engine, "campaign.cancelled", "campaign.finished")
    send_id = a_running_campaign(engine, Draft(people=2))
    with engine.begin() as connection:
        change_state(connection, send_id, SendState.CANCELLED)
        connection.execute(text("UPDATE batch SET counts = '{\"cancelled\": 2}'"))
        assert close(connection, send_id).is_closed

    assert kinds(owed(engine)) == ["campaign.cancelled"]


def test_a_scheduled_campaign_is_told_when_it_starts_by_itself(engine: Engine) -> None:
    an_endpoint(engine, "campaign.started")
    send_id = a_draft(engine, Draft(people=2))
    with engine.begin() as connection:
        start_campaign(connection, send_id, HOUR, at=datetime(2026, 1, 1, tzinfo=UTC))
    before = owed(engine)

    for _ in range(2):
        in_transaction(engine, lambda connection: unfinished_sends(connection, HOUR))

    assert before == []
    assert owed(engine) == [("campaign.started", {"campaign": send_id, "test": False})]


def test_who_joins_and_who_leaves_is_told_and_an_import_is_not(engine: Engine) -> None:
    a_shop(engine)
    an_endpoint(engine)
    with engine.begin() as connection:
        topic = scalar(engine, "SELECT id FROM topic WHERE key = 'newsletter'")
        person, another = connection.execute(
            text("SELECT id FROM recipient ORDER BY id LIMIT 2")
        ).scalars()
        leave_topic(
            connection, topic=topic, recipient_id=person, channel=Channel.EMAIL, source="link"
        )
        join_topic(
            connection, topic=topic, recipient_id=person, channel=Channel.EMAIL, source="form"
        )
        connection.execute(
            text(
                "UPDATE subscription SET state = 'left', source = 'import' WHERE recipient_id = :id"
            ),
            {"id": another},
        )

    said = {"recipient": person, "topic": "newsletter", "channel": "email"}
    assert owed(engine) == [("subscription.left", said), ("subscription.joined", said)]


def test_a_suppression_is_told_once_without_its_address_and_an_import_is_not(
    engine: Engine,
) -> None:
    an_endpoint(engine)
    with engine.begin() as connection:
        team = default_team_id(connection)
        added = [
            suppress(connection, team, {address: "manual"}, channel=Channel.EMAIL, source=source)
            for address, source in (
                ("ada@example.org", "api key 1"),
                ("ada@example.org", "api key 1"),
                ("bob@example.org", IMPORT),
            )
        ]

    key = scalar(engine, "SELECT id FROM suppression WHERE address = 'ada@example.org'")
    assert added == [1, 0, 1]
    assert owed(engine) == [("suppression.added", {"suppression": key, "channel": "email"})]


def test_nothing_is_written_for_who_has_no_endpoint(engine: Engine) -> None:
    a_shop(engine)
    ended(engine, (Outcome.ACCEPTED, Reason.NONE))
    with engine.begin() as connection:
        team = default_team_id(connection)
        suppress(connection, team, {"x@example.org": "manual"}, channel=Channel.EMAIL, source="t")

    assert owed(engine) == []

"""Figures that operators see, from rows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from sqlalchemy import Engine, text

import settings as settings_module
from models.database import in_transaction
from models.figures import read_figures
from models.outbox import gather
from settings import Settings
from tests.builders import Draft, a_running_campaign
from tests.requests import a_client, a_shop

ORDER = {"order": "A-17"}


def settings_of(engine: Engine) -> Settings:
    url = engine.url.render_as_string(hide_password=False)
    return settings_module.load(database_url=url, _env_file=None)


def figures(engine: Engine) -> dict[tuple[str, ...], float]:
    """By family and labels."""
    found = in_transaction(engine, read_figures)
    made = {(figure.family, *figure.labels): float(figure.value) for figure in found}
    assert len(made) == len(found), "a series is there twice"
    return made


def change(engine: Engine, sql: str) -> None:
    with engine.begin() as connection:
        connection.execute(text(sql))


def test_the_oldest_message_that_no_group_has_gives_the_queue_its_age(engine: Engine) -> None:
    a_shop(engine)
    client = a_client(engine, settings_of(engine))
    client.send_blocking("order-shipped", to="person-1", variables=ORDER, priority="critical")
    client.send_blocking("order-shipped", to="person-2", variables=ORDER, priority="critical")
    change(engine, "UPDATE send SET created_at = created_at - interval '90 s'")

    found = figures(engine)

    assert found["outbox_messages", "0", "waiting"] == 2
    assert 90 <= found["queue_age_seconds", "0", "waiting"] < 3000
    assert found["queue_age_seconds", "2", "waiting"] == 0


def test_a_message_in_a_group_is_driven_and_a_parked_one_has_no_age(engine: Engine) -> None:
    a_shop(engine)
    client = a_client(engine, settings_of(engine))
    client.send_blocking("order-shipped", to="person-1", variables=ORDER)
    in_transaction(engine, lambda c: gather(c, 200))
    later = datetime.now(UTC) + timedelta(days=1)
    client.send_blocking("order-shipped", to="person-2", variables=ORDER, at=later)

    found = figures(engine)

    assert found["outbox_messages", "2", "driven"] == 1
    assert found["outbox_messages", "2", "waiting"] == 0
    assert found["outbox_parked_messages",] == 1


def test_messages_of_campaigns_are_counted_by_outcome(engine: Engine) -> None:
    a_running_campaign(engine, Draft(people=10))
    change(engine, """UPDATE batch SET counts = '{"accepted": 6, "skipped:left": 1}'""")

    found = figures(engine)

    assert found["open_campaigns", "running"] == 1
    assert found["campaign_messages", "accepted"] == 6
    assert found["campaign_messages", "skipped"] == 1
    assert found["campaign_messages", "owed"] == 3


def test_an_account_shows_its_breaker_and_what_it_answered_lately(engine: Engine) -> None:
    a_shop(engine)
    change(
        engine,
        "UPDATE provider_account SET breaker_until = clock_timestamp(), state = 'refused';"
        "INSERT INTO account_health (account_id, bucket, answers, errors, slow)"
        " SELECT id, clock_timestamp(), 10, 3, 1 FROM provider_account",
    )

    found = figures(engine)

    labels = ("default", "simulator", "email")
    assert found["account_up", *labels] == 0
    assert found["account_breaker_open", *labels] == 1
    assert found["account_recent_answers", *labels] == 10
    assert found["account_recent_errors", *labels] == 3


def test_confirmed_duplicates_and_waiting_events_are_counted(engine: Engine) -> None:
    change(
        engine,
        "INSERT INTO delivery_event (occurred_on, send_id, ordinal, step, part, kind, raw)"
        " SELECT current_date, 1, 1, 1, 0, kind, '{}' FROM unnest(ARRAY['confirmed_duplicate',"
        " 'delivered']) AS kind;"
        "INSERT INTO event_inbox (account_id, provider_event_id, occurred_on, at, send_id, ordinal,"
        " step, part, kind, raw, due_at) VALUES (1, 'e', current_date, now(), 1, 1, 1, 0, 'delivered',"
        " '{}', clock_timestamp() - interval '40 s')",
    )

    found = figures(engine)

    assert found["confirmed_duplicates",] == 1
    assert found["inbox_events",] == 1
    assert 40 <= found["event_lag_seconds",] < 3000


def test_duplicates_are_counted_by_their_own_index(engine: Engine) -> None:
    with engine.connect() as connection:
        connection.execute(text("SET enable_seqscan = off"))
        plan = connection.execute(
            text("EXPLAIN SELECT 1 FROM delivery_event WHERE kind = 'confirmed_duplicate' LIMIT 10")
        ).scalars()

        assert "Seq Scan" not in "\n".join(plan)

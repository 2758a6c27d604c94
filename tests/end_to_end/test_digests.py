"""Digests through the real parts: one message a person and period arrives, whoever dies meanwhile."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from sqlalchemy import text

from domain.digest import Cadence
from tests.requests import a_client
from tests.scenario import Scenario, wait_until
from tests.topics import a_topic, members

MakeScenario = Callable[..., Scenario]

PEOPLE = 1000
TOPICS = ("orders", "returns", "stock")


def test_a_digest_for_a_thousand_members_of_three_topics_is_one_message_each(
    make_scenario: MakeScenario,
) -> None:
    made = make_scenario(
        default_from="Shop <shop@example.com>", digest_time="00:00", local_grace=300_000.0
    )
    topics = [a_topic(made.engine, key) for key in TOPICS]
    members(made.engine, PEOPLE, *topics, cadence=Cadence.DAILY)
    client = a_client(made.engine, made.settings)
    for topic in TOPICS:
        for number in (1, 2):
            client.event_blocking(topic, f"k-{number}", {"title": f"{topic} {number}"})
    with made.engine.begin() as connection:  # as if it had happened yesterday
        connection.execute(text("UPDATE digest_period SET ends_at = date_trunc('day', now())"))

    made.workers.start("main", "orchestration,upkeep")
    made.workers.start("single", "transactional")
    # kill -9 as soon as the period is somebody's work: before, while or after it is written.
    wait_until(lambda: made.value("SELECT reconciled_at FROM digest_period"), 60)
    made.workers.kill("main")
    made.workers.start("main", "orchestration,upkeep")
    wait_until(lambda: made.value("SELECT closed_at FROM send"), 120)
    assert made.value("SELECT written_at FROM digest_period")

    send_id = made.value("SELECT id FROM send")
    received = made.simulator.received(send_id)
    assert made.value("SELECT count(*) FROM send") == 1
    assert made.value("SELECT count(DISTINCT recipient_id) FROM message") == PEOPLE
    assert len(received) == PEOPLE
    assert set(Counter(entry["to"] for entry in received).values()) == {1}
    assert {entry["subject"] for entry in received} == {"Your day: 6 items"}
    assert made.value("SELECT count(*) FROM digest_item") == 0

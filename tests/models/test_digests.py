"""Digests: one message a person and period, whatever is repeated, merged, left or comes late."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, text

from domain.digest import Cadence
from domain.send import MessageClass
from models.database import in_transaction
from models.digest import MOST_ITEMS, due_periods
from models.digest_topic import DIGEST_TOPIC
from models.merge import merge
from models.team import default_team_id
from settings import Settings, load
from starter.campaigns import CampaignRefused
from starter.digests import DigestRefused, write_digests, write_open
from starter.messages import Carillon
from starter.topics import TopicRefused, TopicWish, create_topic
from tests.builders import scalar, scalars
from tests.requests import a_client
from tests.topics import NEWS, a_topic, members

TOPICS = ("orders", "returns", "stock")


@pytest.fixture
def settings() -> Settings:
    return load(_env_file=None, default_from="Shop <shop@example.com>")


@pytest.fixture
def client(engine: Engine, settings: Settings) -> Carillon:
    """Three members of three topics, who take each once a day."""
    members(engine, 3, *(a_topic(engine, key) for key in TOPICS), cadence=Cadence.DAILY)
    return a_client(engine, settings)


def run(engine: Engine, sql: str) -> None:
    with engine.begin() as connection:
        connection.execute(text(sql))


def period_ids(engine: Engine) -> list[int]:
    return list(scalars(engine, "SELECT id FROM digest_period ORDER BY id"))


def variables(engine: Engine, recipient_id: int) -> dict[str, Any]:
    found: dict[str, Any] = scalar(
        engine,
        "SELECT variables FROM message WHERE recipient_id = :recipient",
        {"recipient": recipient_id},
    )
    return found


def test_all_items_of_a_person_are_one_message_grouped_by_topic(
    client: Carillon, engine: Engine, settings: Settings
) -> None:
    for topic in TOPICS:
        client.event_blocking(topic, "k-1", {"title": f"First of {topic}"})
    client.event_blocking("orders", "k-2", {"title": "Second of orders"})

    written = write_digests(engine, settings, period_ids(engine)[0])

    assert written.messages == 3
    assert scalars(engine, "SELECT recipient_id FROM message ORDER BY ordinal") == [1, 2, 3]
    assert scalar(engine, "SELECT count(*) FROM outbox") == 3
    said = variables(engine, 2)
    assert (said["count"], said["cadence"]) == (4, "daily")
    assert [
        (group["topic"], group["name"], [entry["data"]["title"] for entry in group["entries"]])
        for group in said["items"]
    ] == [
        ("orders", "Orders", ["First of orders", "Second of orders"]),
        ("returns", "Returns", ["First of returns"]),
        ("stock", "Stock", ["First of stock"]),
    ]
    assert scalar(engine, "SELECT count(*) FROM digest_item") == 0


def test_twenty_who_write_a_period_at_once_write_it_once(
    client: Carillon, engine: Engine, settings: Settings
) -> None:
    client.event_blocking("orders", "k", NEWS)
    (period,) = period_ids(engine)

    with ThreadPoolExecutor(10) as writers:
        written = list(writers.map(lambda _: write_digests(engine, settings, period), range(20)))

    assert len({each.send_id for each in written}) == 1
    assert sorted(each.is_repeat for each in written) == [False] + 19 * [True]
    assert scalar(engine, "SELECT count(*) FROM message") == 3


def test_a_write_that_dies_before_its_commit_leaves_the_period_to_be_written(
    client: Carillon, engine: Engine
) -> None:
    client.event_blocking("orders", "k", NEWS)
    (period,) = period_ids(engine)

    with pytest.raises(CampaignRefused, match="names no sender"):
        write_digests(engine, load(_env_file=None), period)

    assert scalar(engine, "SELECT count(*) FROM send") == 0
    assert scalar(engine, "SELECT count(*) FROM digest_item") == 3
    good = load(_env_file=None, default_from="shop@example.com")
    assert write_digests(engine, good, period).messages == 3


def test_what_comes_after_a_period_is_written_is_in_the_next(
    client: Carillon, engine: Engine, settings: Settings
) -> None:
    client.event_blocking("orders", "k-1", NEWS)
    write_digests(engine, settings, period_ids(engine)[0])

    client.event_blocking("orders", "k-2", NEWS)

    first, second = period_ids(engine)
    assert scalars(engine, "SELECT DISTINCT period_id FROM digest_item") == [second]
    assert scalar(
        engine, "SELECT max(period) > min(period) FROM digest_period WHERE id IN (:a, :b)",
        {"a": first, "b": second},
    )  # fmt: skip


def test_an_event_that_is_being_raised_is_waited_for(
    client: Carillon, engine: Engine, settings: Settings
) -> None:
    client.event_blocking("orders", "k-1", NEWS)
    (period,) = period_ids(engine)

    with ThreadPoolExecutor(1) as writer, engine.connect() as raising:
        transaction = raising.begin()
        raising.execute(text(f"SELECT 1 FROM digest_period WHERE id = {period} FOR SHARE"))
        raising.execute(
            text(
                "INSERT INTO topic_event (team_id, topic_id, key, data_hash, data)"
                " SELECT team_id, id, 'late', '', '{\"title\": \"Late\"}' FROM topic"
                " WHERE key = 'orders'"
            )
        )
        raising.execute(
            text(
                "INSERT INTO digest_item (period_id, recipient_id, event_id, member)"
                f" SELECT {period}, 1, max(id), '{{}}' FROM topic_event"
            )
        )
        writing = writer.submit(write_digests, engine, settings, period)
        transaction.commit()
        writing.result(30)

    assert variables(engine, 1)["count"] == 2


def test_who_has_left_a_topic_finds_nothing_of_it(
    client: Carillon, engine: Engine, settings: Settings
) -> None:
    client.event_blocking("orders", "k", NEWS)
    client.event_blocking("stock", "k", NEWS)
    run(
        engine,
        "UPDATE subscription SET state = 'left' WHERE (recipient_id = 1 AND topic_id ="
        " (SELECT id FROM topic WHERE key = 'stock')) OR recipient_id = 2",
    )

    assert write_digests(engine, settings, period_ids(engine)[0]).messages == 2

    assert [group["topic"] for group in variables(engine, 1)["items"]] == ["orders"]
    assert scalars(engine, "SELECT recipient_id FROM message ORDER BY 1") == [1, 3]


def test_who_was_merged_since_gets_one_message(
    client: Carillon, engine: Engine, settings: Settings
) -> None:
    client.event_blocking("orders", "k", NEWS)
    in_transaction(engine, lambda c: merge(c, default_team_id(c), 1, 2))

    assert write_digests(engine, settings, period_ids(engine)[0]).messages == 2

    assert scalars(engine, "SELECT recipient_id FROM message ORDER BY 1") == [2, 3]
    assert variables(engine, 2)["count"] == 1


def test_a_period_whose_people_have_all_left_is_written_without_a_send(
    client: Carillon, engine: Engine, settings: Settings
) -> None:
    client.event_blocking("orders", "k", NEWS)
    run(engine, "UPDATE subscription SET state = 'left'")

    written = write_digests(engine, settings, period_ids(engine)[0])

    assert (written.send_id, written.messages) == (None, 0)
    assert write_digests(engine, settings, period_ids(engine)[0]).is_repeat


def test_a_digest_holds_the_newest_items_and_says_how_many_there_were(
    client: Carillon, engine: Engine, settings: Settings
) -> None:
    for number in range(MOST_ITEMS + 3):
        client.event_blocking("orders", f"k-{number}", {"title": str(number)})

    write_digests(engine, settings, period_ids(engine)[0])

    said = variables(engine, 1)
    titles = [entry["data"]["title"] for entry in said["items"][0]["entries"]]
    assert said["count"] == MOST_ITEMS + 3
    assert titles == [str(number) for number in range(3, MOST_ITEMS + 3)]


@pytest.mark.parametrize(
    ("class_of_stock", "expected", "on_unknown"),
    [
        (MessageClass.TRANSACTIONAL, "transactional", "resend"),
        (MessageClass.MARKETING, "marketing", "leave"),
    ],
)
def test_a_digest_with_marketing_in_it_is_marketing(
    client: Carillon,
    engine: Engine,
    settings: Settings,
    class_of_stock: MessageClass,
    expected: str,
    on_unknown: str,
) -> None:
    a_topic(engine, "stock", message_class=class_of_stock)
    client.event_blocking("orders", "k", NEWS)
    client.event_blocking("stock", "k", NEWS)

    write_digests(engine, settings, period_ids(engine)[0])

    assert scalars(engine, "SELECT message_class FROM send") == [expected]
    assert scalars(engine, "SELECT on_unknown FROM send") == [on_unknown]
    key = "SELECT t.key FROM send s JOIN topic t ON t.id = s.topic_id"
    assert scalar(engine, key) == DIGEST_TOPIC


def test_an_ended_period_goes_at_the_morning_of_each_person_and_one_by_command_at_once(
    client: Carillon, engine: Engine, settings: Settings
) -> None:
    client.event_blocking("orders", "k", NEWS)
    run(
        engine,
        "UPDATE digest_period SET period = '2026-01-05', ends_at = '2026-01-06 00:00+00'",
    )
    write_digests(engine, settings, period_ids(engine)[0])
    client.event_blocking("orders", "k-2", NEWS)

    write_open(engine, settings, Cadence.DAILY, None)

    first, second = scalars(engine, "SELECT coalesce(local_at::text, '') FROM send ORDER BY id")
    assert (first, second) == ("2026-01-06 08:00:00", "")


def test_periods_are_due_when_they_have_ended_and_not_all_the_time(
    client: Carillon, engine: Engine
) -> None:
    client.event_blocking("orders", "k", NEWS)
    every = timedelta(minutes=5)
    assert in_transaction(engine, lambda c: due_periods(c, every)) == []

    run(engine, "UPDATE digest_period SET ends_at = now() - interval '1 second'")

    (due,) = in_transaction(engine, lambda c: due_periods(c, every))
    assert (due.id, due.cadence, due.team) == (period_ids(engine)[0], Cadence.DAILY, "default")
    assert in_transaction(engine, lambda c: due_periods(c, every)) == []
    run(engine, "UPDATE digest_period SET reconciled_at = now() - interval '1 hour'")
    assert len(in_transaction(engine, lambda c: due_periods(c, every))) == 1


def test_a_period_that_is_not_there_is_refused(
    client: Carillon, engine: Engine, settings: Settings
) -> None:
    with pytest.raises(DigestRefused, match="no daily period '2020-01-01'"):
        write_open(engine, settings, Cadence.DAILY, "2020-01-01")


def test_nobody_makes_a_topic_where_digests_go_out_under(engine: Engine) -> None:
    with pytest.raises(TopicRefused, match="digests go out under"):
        in_transaction(
            engine, lambda c: create_topic(c, 1, TopicWish(key=DIGEST_TOPIC, name="Mine"))
        )

"""Events: one effect a key, everybody told by their cadence, nothing written for what is refused."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import Engine, text

from domain.digest import Cadence
from domain.send import Channel, MessageClass, OptIn
from models.database import in_transaction
from models.erasure import erase
from models.group_members import read_members
from models.outbox import gather
from models.topic import UnknownTopic
from models.topic_event import SMALL_AUDIENCE, EventKeyReused
from settings import load
from starter.events import EventRefused
from starter.messages import Carillon
from starter.topics import (
    JoinWish,
    RuleWish,
    TopicRefused,
    TopicWish,
    change_cadence,
    change_rule,
    check_wish,
    create_topic,
)
from tests.builders import scalar, scalars
from tests.requests import a_client
from tests.topics import NEWS, a_topic, members


@pytest.fixture
def client(engine: Engine) -> Carillon:
    members(engine, 4, a_topic(engine))
    return a_client(engine, load(_env_file=None))


def run(engine: Engine, sql: str, **values: Any) -> None:
    with engine.begin() as connection:
        connection.execute(text(sql), values)


def cadence_of(engine: Engine, key: str, who: str, cadence: Cadence) -> None:
    in_transaction(engine, lambda c: change_cadence(c, 1, key, who, cadence))


def rule(engine: Engine, when: str, joins: str, *, add: bool) -> bool:
    wish = RuleWish(topic="orders", when=when, joins=joins)
    return in_transaction(engine, lambda c: change_rule(c, 1, wish, add=add))


def test_everybody_who_joined_gets_a_message_and_others_do_not(
    client: Carillon, engine: Engine
) -> None:
    run(
        engine,
        "UPDATE subscription SET state = 'left' WHERE recipient_id = 4 AND topic_id IN"
        " (SELECT id FROM topic WHERE key = 'orders')",
    )

    raised = client.event_blocking("orders", "k-1", NEWS)

    assert (raised.messages, raised.digest_items) == (3, 0)
    assert scalars(engine, "SELECT recipient_id FROM message ORDER BY ordinal") == [1, 2, 3]
    assert scalars(engine, "SELECT ordinal FROM outbox ORDER BY id") == [1, 2, 3]
    assert scalar(engine, "SELECT messages FROM send") == 3
    assert scalar(engine, "SELECT message_class FROM send") == "transactional"


def test_an_event_without_members_is_kept_and_sends_nothing(engine: Engine) -> None:
    a_topic(engine)

    raised = a_client(engine, load(_env_file=None)).event_blocking("orders", "k-1", NEWS)

    assert (raised.send_id, raised.messages) == (None, 0)
    assert scalar(engine, "SELECT count(*) FROM topic_event") == 1
    assert scalar(engine, "SELECT count(*) FROM send") == 0


def test_twenty_parallel_equal_calls_are_one_event(client: Carillon, engine: Engine) -> None:
    with ThreadPoolExecutor(20) as callers:
        raised = list(
            callers.map(lambda _: client.event_blocking("orders", "k-1", NEWS), range(20))
        )

    assert len({each.event_id for each in raised}) == 1
    assert {(each.send_id, each.messages) for each in raised} == {(raised[0].send_id, 4)}
    assert sorted(each.is_repeat for each in raised) == [False] + 19 * [True]
    assert scalar(engine, "SELECT count(*) FROM topic_event") == 1
    assert scalar(engine, "SELECT count(*) FROM send") == 1
    assert scalar(engine, "SELECT count(*) FROM outbox") == 4


def test_the_same_key_with_other_data_is_refused(client: Carillon, engine: Engine) -> None:
    client.event_blocking("orders", "k-1", NEWS)

    with pytest.raises(EventKeyReused, match=r"'k-1' was used for another event of 'orders'"):
        client.event_blocking("orders", "k-1", {"title": "Another"})

    assert scalar(engine, "SELECT count(*) FROM send") == 1


def test_the_order_of_names_makes_no_other_event(client: Carillon) -> None:
    client.event_blocking("orders", "k-1", {"title": "t", "n": 1})

    assert client.event_blocking("orders", "k-1", {"n": 1, "title": "t"}).is_repeat


def test_the_same_key_of_another_topic_is_another_event(client: Carillon, engine: Engine) -> None:
    a_topic(engine, "returns")
    first = client.event_blocking("orders", "k-1", NEWS)

    assert client.event_blocking("returns", "k-1", NEWS).event_id != first.event_id


def test_the_call_without_blocking_is_the_same(client: Carillon) -> None:
    first = asyncio.run(client.event("orders", "k-1", NEWS))

    assert client.event_blocking("orders", "k-1", NEWS).event_id == first.event_id


@pytest.mark.parametrize(
    ("topic", "key", "data", "error", "says"),
    [
        ("nothing", "k", NEWS, UnknownTopic, "no topic 'nothing'"),
        ("orders", "", NEWS, EventRefused, "1 to 200"),
        ("orders", "k" * 201, NEWS, EventRefused, "1 to 200"),
        ("orders", "a\nb", NEWS, EventRefused, "printable"),
        ("orders", "k", {}, EventRefused, "asks for title"),
        ("orders", "k", {"title": "x" * 100_001}, EventRefused, "100 kB"),
        ("orders", "k", {"title": {1, 2}}, EventRefused, "not JSON"),
        ("orders", "k", {"title": "\0"}, EventRefused, "NUL"),
        ("orders", "k", ["title"], EventRefused, "JSON object"),
        ("orders", "k", {**NEWS, "member": 1}, EventRefused, "'member' is a name of ours"),
        ("orders", "k", {**NEWS, "email": 1}, EventRefused, "'email' is a name of ours"),
    ],
)
def test_what_cannot_be_taken_is_refused_with_a_sentence_and_writes_nothing(
    client: Carillon, engine: Engine, topic: str, key: str, data: Any, error: type, says: str
) -> None:
    with pytest.raises(error, match=says):
        client.event_blocking(topic, key, data)

    assert scalar(engine, "SELECT count(*) FROM topic_event") == 0
    assert scalar(engine, "SELECT count(*) FROM send") == 0


def test_a_topic_without_a_template_takes_no_events(client: Carillon, engine: Engine) -> None:
    a_topic(engine, "plain", template=None)

    with pytest.raises(EventRefused, match="no template"):
        client.event_blocking("plain", "k", NEWS)


def test_the_membership_s_data_is_member_in_templates_and_the_event_s_data_wins_over_attributes(
    client: Carillon, engine: Engine
) -> None:
    run(engine, 'UPDATE subscription SET details = \'{"desk": "North"}\' WHERE recipient_id = 2')
    run(engine, 'UPDATE recipient SET attributes = \'{"title": "Dr", "plan": "gold"}\'')

    client.event_blocking("orders", "k", NEWS)

    assert scalar(engine, "SELECT variables FROM send") == NEWS
    assert scalars(engine, "SELECT variables FROM message ORDER BY ordinal LIMIT 2") == [
        {"member": {}},
        {"member": {"desk": "North"}},
    ]
    with engine.begin() as connection:
        group = gather(connection, 10)
        assert group is not None
        second = read_members(connection, group.id)[1]
    assert second.person.variables == '{"title": "A new order", "member": {"desk": "North"}}'


def test_large_audiences_stand_behind_single_messages(engine: Engine) -> None:
    members(engine, SMALL_AUDIENCE + 1, a_topic(engine))
    client = a_client(engine, load(_env_file=None))

    raised = client.event_blocking("orders", "k", NEWS)

    assert raised.messages == SMALL_AUDIENCE + 1
    assert scalars(engine, "SELECT DISTINCT priority FROM outbox") == [3]
    assert scalar(engine, "SELECT priority FROM send") == 3


def test_who_takes_a_digest_finds_the_event_there_alone(client: Carillon, engine: Engine) -> None:
    cadence_of(engine, "orders", "person-1", Cadence.DAILY)
    cadence_of(engine, "orders", "person-2", Cadence.WEEKLY)

    raised = client.event_blocking("orders", "k", NEWS)

    assert (raised.messages, raised.digest_items) == (2, 2)
    assert scalars(
        engine,
        "SELECT p.cadence || i.recipient_id FROM digest_item i"
        " JOIN digest_period p ON p.id = i.period_id ORDER BY 1",
    ) == ["daily1", "weekly2"]


def test_a_member_by_two_channels_gets_one_message_and_none_beside_a_digest(
    client: Carillon, engine: Engine
) -> None:
    in_transaction(
        engine,
        lambda c: create_topic(c, 1, TopicWish(key="both", name="Both", template="order-raised@1")),
    )
    run(engine, "UPDATE topic SET plan = '[{\"channel\": \"in_app\"}, {\"channel\": \"email\"}]'"
                " WHERE key = 'both'")  # fmt: skip
    run(
        engine,
        "UPDATE template SET key = 'x' WHERE key = 'order-raised';"
        "INSERT INTO template (team_id, key, name) SELECT id, 'order-raised', 'n' FROM team;"
        "INSERT INTO template_version (template_id, number, message_class, sender, content,"
        " variables, digest) SELECT t.id, 1, 'transactional', v.sender, v.content ||"
        " jsonb_build_object('in_app', v.content -> 'email'), '{}', 'd' FROM template t,"
        " template_version v WHERE t.key = 'order-raised'",
    )
    run(
        engine,
        "INSERT INTO subscription (topic_id, channel, recipient_id, state, source, cadence)"
        " SELECT t.id, c, r, 'subscribed', 'test',"
        "  CASE WHEN r = 2 AND c = 'email' THEN 'daily' ELSE 'immediate' END"
        " FROM topic t, unnest(ARRAY['in_app', 'email']) AS c, generate_series(1, 2) AS r"
        " WHERE t.key = 'both'",
    )

    raised = client.event_blocking("both", "k", NEWS)

    assert (raised.messages, raised.digest_items) == (1, 1)
    assert scalars(engine, "SELECT recipient_id FROM message") == [1]


def test_digests_are_for_members_by_email_alone(client: Carillon, engine: Engine) -> None:
    run(engine, "DELETE FROM subscription WHERE recipient_id = 1")

    with pytest.raises(TopicRefused, match="no member of 'orders' by e-mail"):
        cadence_of(engine, "orders", "person-1", Cadence.DAILY)
    with pytest.raises(TopicRefused, match="Digests go by e-mail"):
        check_wish(JoinWish(channel=Channel.SMS, cadence=Cadence.DAILY))


def test_a_rule_makes_the_recipient_of_an_event_a_member_of_another_topic(
    client: Carillon, engine: Engine
) -> None:
    a_topic(engine, "vips")
    assert rule(engine, "plan=gold", "vips", add=True)
    assert not rule(engine, "plan=gold", "vips", add=True)

    first = client.event_blocking("orders", "1", {**NEWS, "plan": "gold", "recipient": "person-3"})
    client.event_blocking("orders", "2", {**NEWS, "plan": "silver", "recipient": "person-2"})
    unknown = client.event_blocking("orders", "3", {**NEWS, "plan": "gold", "recipient": "nobody"})
    client.event_blocking("orders", "4", {**NEWS, "plan": "gold", "recipient": "new@example.com"})

    joined = scalars(
        engine,
        "SELECT coalesce(r.external_id, c.address) FROM subscription s JOIN topic t ON"
        " t.id = s.topic_id JOIN recipient r ON r.id = s.recipient_id JOIN contact_point c"
        " ON c.recipient_id = r.id WHERE t.key = 'vips' AND s.source = 'rule on orders' ORDER BY 1",
    )
    assert (first.joined, unknown.joined) == (1, 0)
    assert joined == ["new@example.com", "person-3"]
    assert rule(engine, "plan=gold", "vips", add=False)
    assert not rule(engine, "plan=gold", "vips", add=False)


@pytest.mark.parametrize(
    ("when", "joins", "says"),
    [
        ("plan", "other", "plan=gold"),
        ("a.b=c", "other", "plan=gold"),
        ("plan=gold", "orders", "another topic"),
        ("plan=gold", "double", "must confirm"),
    ],
)
def test_a_rule_that_cannot_be_is_refused(
    client: Carillon, engine: Engine, when: str, joins: str, says: str
) -> None:
    a_topic(engine, "other")
    a_topic(engine, "double", opt_in=OptIn.DOUBLE)

    with pytest.raises(TopicRefused, match=says):
        rule(engine, when, joins, add=True)

    assert scalar(engine, "SELECT count(*) FROM topic_rule") == 0


def test_erasure_takes_what_waits_for_a_digest_and_what_only_the_erased_were_told(
    engine: Engine,
) -> None:
    members(engine, 1, a_topic(engine))
    digest = a_topic(engine, "digest-topic", message_class=MessageClass.MARKETING)
    run(
        engine,
        "INSERT INTO subscription (topic_id, channel, recipient_id, state, source, cadence)"
        " VALUES (:topic, 'email', 1, 'subscribed', 'test', 'daily')",
        topic=digest,
    )
    client = a_client(engine, load(_env_file=None))
    client.event_blocking("orders", "k", NEWS)
    client.event_blocking("digest-topic", "k", NEWS)
    assert scalar(engine, "SELECT count(*) FROM digest_item") == 1

    in_transaction(engine, lambda c: erase(c, 1, 1))

    assert scalar(engine, "SELECT count(*) FROM digest_item") == 0
    assert scalar(engine, "SELECT variables FROM send") == {}
    assert scalar(engine, "SELECT data FROM topic_event ORDER BY id LIMIT 1") == {}

"""Requests for single messages: one effect a key, and nothing written for what is refused."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, text

from activities.contract import RequestInput
from domain.person import InvalidAddress
from domain.plan import PlanRefused
from models.database import in_transaction
from models.merge import merge
from models.outbox import gather, make_due
from models.request import KeyReused, TooLate, cancel_request
from models.team import default_team_id
from models.template import UnknownTemplate
from models.topic import UnknownTopic
from settings import load
from starter.messages import Carillon, commit_request
from starter.request_recipients import UnknownRecipient
from starter.request_template import MissingVariables
from starter.wish import RequestRefused
from tests.builders import scalar, scalars
from tests.requests import a_client, a_shop, a_template

ORDER = {"order": "A-17"}


@pytest.fixture(params=["new", "used"])
def client(engine: Engine, request: pytest.FixtureRequest) -> Carillon:
    """One that was used before knows the template, and writes without looking it up first."""
    a_shop(engine)
    made = a_client(engine, load(_env_file=None))
    if request.param == "used":
        made.send_blocking("order-shipped", to="person-1", variables=ORDER)
        with engine.begin() as connection:
            connection.execute(text("DELETE FROM outbox; DELETE FROM message; DELETE FROM send"))
    return made


def test_a_request_is_its_send_its_messages_and_their_outbox_rows(
    client: Carillon, engine: Engine
) -> None:
    sent = client.send_blocking("order-shipped", to=["person-1", "person-2"], variables=ORDER)

    assert sent.messages == 2
    assert scalar(engine, "SELECT count(*) FROM message") == 2
    assert scalars(engine, "SELECT ordinal FROM outbox ORDER BY id") == [1, 2]
    assert scalar(engine, "SELECT state FROM send") == "running"
    assert scalar(engine, "SELECT variables FROM message LIMIT 1") == ORDER


def test_a_recipient_named_twice_gets_one_message(client: Carillon, engine: Engine) -> None:
    sent = client.send_blocking("order-shipped", to=["person-1", "person-1"], variables=ORDER)

    assert sent.messages == 1
    assert scalar(engine, "SELECT count(*) FROM outbox") == 1


def test_the_same_key_again_is_answered_as_the_first_time(client: Carillon, engine: Engine) -> None:
    first = client.send_blocking(
        "order-shipped", to="person-1", variables=ORDER, idempotency_key="k"
    )
    again = client.send_blocking(
        "order-shipped", to="person-1", variables=ORDER, idempotency_key="k"
    )

    assert again.send_id == first.send_id
    assert (first.is_repeat, again.is_repeat) == (False, True)
    assert scalar(engine, "SELECT count(*) FROM message") == 1


def test_twenty_at_once_with_one_key_have_one_effect(client: Carillon, engine: Engine) -> None:
    def ask(_: int) -> int:
        return client.send_blocking(
            "order-shipped", to="person-1", variables=ORDER, idempotency_key="k"
        ).send_id

    with ThreadPoolExecutor(20) as pool:
        answers = set(pool.map(ask, range(20)))

    assert len(answers) == 1
    assert scalar(engine, "SELECT count(*) FROM outbox") == 1


def test_a_key_with_another_request_is_refused(client: Carillon) -> None:
    client.send_blocking("order-shipped", to="person-1", variables=ORDER, idempotency_key="k")

    with pytest.raises(KeyReused, match="'k' was used for another request"):
        client.send_blocking("order-shipped", to="person-2", variables=ORDER, idempotency_key="k")


def test_a_bare_address_is_an_anonymous_recipient_and_the_same_one_again(
    client: Carillon, engine: Engine
) -> None:
    for _ in range(2):
        client.send_blocking("order-shipped", to="Ada@Example.org", variables=ORDER)

    assert scalar(engine, "SELECT count(DISTINCT recipient_id) FROM message") == 1
    assert (
        scalar(
            engine,
            "SELECT c.address FROM message m JOIN contact_point c USING (recipient_id) LIMIT 1",
        )
        == "ada@example.org"
    )


def test_a_request_means_the_version_that_is_the_newest_then(
    client: Carillon, engine: Engine
) -> None:
    client.send_blocking("order-shipped", to="person-1", variables=ORDER)
    with engine.begin() as connection:
        a_template(connection, content={"sms": {"": {"subject": "", "html": "", "text": "Hi"}}})

    for _ in range(2):
        client.send_blocking("order-shipped", to="person-1")

    numbers = "SELECT v.number, s.channel FROM send s JOIN template_version v"
    numbers += " ON v.id = s.template_version_id ORDER BY s.id"
    with engine.connect() as connection:
        rows = [tuple(row) for row in connection.execute(text(numbers))]
    assert rows == [(1, "email"), (2, "sms"), (2, "sms")]


def test_what_a_template_asks_of_people_each_of_them_must_have(
    client: Carillon, engine: Engine
) -> None:
    content = {"sms": {"": {"subject": "", "html": "", "text": "{{ order }} to {{ city }}"}}}
    with engine.begin() as connection:
        a_template(connection, content=content)
        connection.execute(
            text(
                'UPDATE recipient SET attributes = \'{"city": "Graz"}\''
                " WHERE external_id IN ('person-1', 'person-2')"
            )
        )
    for _ in range(2):
        client.send_blocking("order-shipped", to=["person-1", "person-2"], variables=ORDER)

    with pytest.raises(MissingVariables, match=r"asks for city.*'person-3'"):
        client.send_blocking("order-shipped", to=["person-1", "person-3"], variables=ORDER)

    assert scalars(engine, "SELECT messages FROM send") == [2, 2]


def test_who_was_merged_is_told_as_the_one_they_are(client: Carillon, engine: Engine) -> None:
    in_transaction(engine, lambda c: merge(c, default_team_id(c), 2, 1))

    apart = client.send_blocking("order-shipped", to="person-2", variables=ORDER)
    together = client.send_blocking("order-shipped", to=["person-2", "person-1"], variables=ORDER)

    assert (apart.messages, together.messages) == (1, 1)
    assert scalars(engine, "SELECT recipient_id FROM message") == [1, 1]


def test_a_server_that_was_started_again_meanwhile_is_nothing_to_notice(
    client: Carillon, engine: Engine
) -> None:
    client.send_blocking("order-shipped", to="person-1", variables=ORDER)
    with engine.connect() as connection:
        connection.execute(
            text(
                "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        )

    client.send_blocking("order-shipped", to="person-1", variables=ORDER)

    assert scalar(engine, "SELECT count(*) FROM outbox") == 2


@pytest.mark.parametrize(
    ("wishes", "error", "why"),
    [
        ({"to": "nobody"}, UnknownRecipient, "no recipient 'nobody'"),
        ({"to": ["person-1", "nobody"]}, UnknownRecipient, "'nobody'"),
        ({"to": "ada@nowhere@example.org"}, InvalidAddress, "invalid characters"),
        ({"to": "+43 1"}, InvalidAddress, "."),
        ({"to": "http://example.org/hook"}, InvalidAddress, "https"),
        ({"template": "no-such"}, UnknownTemplate, "no template 'no-such'"),
        ({"template": "order-shipped@7"}, UnknownTemplate, "no version 7"),
        ({"variables": {}}, MissingVariables, "asks for order"),
        ({"topic": "no-such"}, UnknownTopic, "no topic 'no-such'"),
        ({"plan": "pigeon"}, PlanRefused, "no channel"),
        ({"plan": "push"}, RequestRefused, "says nothing for push"),
        ({"priority": "urgent"}, RequestRefused, "no priority 'urgent'"),
        ({"message_class": "marketing"}, RequestRefused, "needs a topic"),
        ({"at": datetime(2030, 1, 1)}, RequestRefused, "needs a zone"),  # noqa: DTZ001
        ({"expires_after": timedelta(0)}, RequestRefused, "some time"),
        ({"to": []}, RequestRefused, "1 to 1,000 recipients"),
        ({"to": ["person-1"] * 1001}, RequestRefused, "1 to 1,000 recipients"),
        ({"variables": {"order": "x" * 200_000}}, RequestRefused, "larger than 100 kB"),
        ({"colour": "red"}, RequestRefused, "not understood"),
    ],
)
def test_what_is_refused_writes_nothing(
    client: Carillon, engine: Engine, wishes: dict[str, Any], error: type[Exception], why: str
) -> None:
    given: dict[str, Any] = {"template": "order-shipped", "to": "person-1", "variables": ORDER}
    template = str((given | wishes).pop("template"))
    wished = {name: value for name, value in (given | wishes).items() if name != "template"}

    with pytest.raises(error, match=why):
        client.send_blocking(template, **wished)

    for table in ("send", "message", "outbox"):
        assert scalar(engine, f"SELECT count(*) FROM {table}") == 0


def test_the_urgent_are_gathered_first_and_apart(client: Carillon, engine: Engine) -> None:
    for priority in ("low", "normal", "critical", "normal"):
        client.send_blocking("order-shipped", to="person-1", variables=ORDER, priority=priority)

    groups = []
    while (group := in_transaction(engine, lambda c: gather(c, 200))) is not None:
        groups.append(group)

    sizes = scalars(
        engine, "SELECT count(*) FROM outbox GROUP BY group_id, priority ORDER BY priority"
    )
    priorities = scalars(engine, "SELECT priority FROM message_group ORDER BY id")
    assert priorities == [0, 2, 3]
    assert sizes == [1, 2, 1]


def test_two_lanes_never_take_the_same_message(client: Carillon, engine: Engine) -> None:
    for number in range(40):
        client.send_blocking("order-shipped", to=f"person-{number % 10 + 1}", variables=ORDER)

    def gather_all(_: int) -> int:
        groups = 0
        while in_transaction(engine, lambda c: gather(c, 3)) is not None:
            groups += 1
        return groups

    with ThreadPoolExecutor(4) as pool:
        groups = sum(pool.map(gather_all, range(4)))

    assert scalar(engine, "SELECT count(*) FROM outbox WHERE group_id IS NULL") == 0
    assert scalar(engine, "SELECT count(DISTINCT group_id) FROM outbox") == groups


def test_what_is_due_later_is_not_gathered_before(client: Carillon, engine: Engine) -> None:
    later = datetime.now(UTC) + timedelta(hours=1)
    sent = client.send_blocking("order-shipped", to="person-1", variables=ORDER, at=later)

    assert in_transaction(engine, lambda c: gather(c, 200)) is None
    in_transaction(engine, lambda c: make_due(c, sent.send_id))
    assert in_transaction(engine, lambda c: gather(c, 200)) is not None


def test_a_cancelled_request_is_due_at_once_and_an_ended_one_cannot_be_cancelled(
    client: Carillon, engine: Engine, closed: Callable[[int], None]
) -> None:
    later = datetime.now(UTC) + timedelta(hours=1)
    sent = client.send_blocking("order-shipped", to="person-1", variables=ORDER, at=later)

    client.cancel_blocking(sent.send_id)
    assert scalar(engine, "SELECT due_at FROM outbox") is None
    other = client.send_blocking("order-shipped", to="person-1", variables=ORDER)
    closed(other.send_id)
    with pytest.raises(TooLate, match="finished already"):
        in_transaction(engine, lambda c: cancel_request(c, other.send_id))


@pytest.fixture
def closed(engine: Engine) -> Callable[[int], None]:
    """Ends a send as its driver would."""
    from sqlalchemy import text

    def close(send_id: int) -> None:
        with engine.begin() as connection:
            connection.execute(
                text(
                    "UPDATE send SET state = 'finished', closed_at = now() WHERE id = :id;"
                    "DELETE FROM outbox WHERE send_id = :id"
                ),
                {"id": send_id},
            )

    return close


@pytest.mark.parametrize(
    ("wishes", "sentence"),
    [
        ({"local_at": datetime(2030, 1, 1, 18, tzinfo=UTC)}, "without a zone"),
        ({"local_at": datetime(9999, 12, 31, 18)}, "without a zone"),  # noqa: DTZ001  everybody's clock
        ({"local_at": "soon"}, "2026-12-24T18:00"),
        ({"local_at": "2030-01-01T18:00", "at": datetime(2030, 1, 1, tzinfo=UTC)}, "one of them"),
    ],
)
def test_a_local_time_that_is_none_is_refused(
    client: Carillon, engine: Engine, wishes: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(RequestRefused, match=sentence):
        client.send_blocking("order-shipped", to="person-1", variables=ORDER, **wishes)

    assert scalar(engine, "SELECT count(*) FROM send") == 0


def test_through_temporal_a_local_time_is_a_text_and_waits_in_the_outbox(
    client: Carillon, engine: Engine
) -> None:
    given = RequestInput(
        key="k",
        template="order-shipped",
        to=["person-1"],
        variables=ORDER,
        local_at="2030-12-24T18:00",
    )

    made = commit_request(client, given)

    assert made.group_id is None
    assert scalar(engine, "SELECT due_at FROM outbox") == datetime(2030, 12, 24, 17, tzinfo=UTC)


def test_what_became_due_is_gathered_with_what_always_was(client: Carillon, engine: Engine) -> None:
    later = datetime.now(UTC) + timedelta(hours=1)
    for person, at in (("person-1", None), ("person-2", later), ("person-3", later)):
        client.send_blocking("order-shipped", to=person, variables=ORDER, at=at)
    with engine.begin() as connection:
        connection.execute(
            text("UPDATE outbox SET due_at = now() WHERE id = (SELECT min(id) + 1 FROM outbox)")
        )

    group = in_transaction(engine, lambda c: gather(c, 200))

    assert group is not None
    assert scalar(engine, "SELECT count(*) FROM outbox WHERE group_id = :g", {"g": group.id}) == 2
    assert in_transaction(engine, lambda c: gather(c, 200)) is None

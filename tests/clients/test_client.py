"""The client before the real API: what it sends is done, and what is refused says why."""

from __future__ import annotations

import inspect
import pickle
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from carillon_client import (
    NO_RETRIES,
    AsyncCarillon,
    BadRequest,
    Carillon,
    Conflict,
    Forbidden,
    Invalid,
    NewMessage,
    NotConfigured,
    NotFound,
    Unauthorized,
    UnexpectedAnswer,
)
from tests.builders import scalar
from tests.clients.conftest import Served

ORDER = {"order": "A-17"}
NAIVE = datetime.fromisoformat("2035-01-01T09:00")


@pytest.fixture
def carillon(served: Served) -> Carillon:
    return served.client()


def sends_of(served: Served, key: str) -> Any:
    return scalar(
        served.engine, "SELECT count(*) FROM send WHERE idempotency_key = :key", {"key": key}
    )


def test_a_message_is_committed_and_the_same_key_again_is_the_same_answer(
    served: Served, carillon: Carillon
) -> None:
    first = carillon.send("order-shipped", "person-1", ORDER, idempotency_key="again")
    again = carillon.send("order-shipped", "person-1", ORDER, idempotency_key="again")

    assert first.id.startswith("snd_")
    assert (again.id, again.messages) == (first.id, first.messages)
    assert (first.is_repeat, again.is_repeat) == (False, True)
    assert sends_of(served, "again") == 1


def test_a_key_is_made_where_none_is_given(served: Served, carillon: Carillon) -> None:
    one = carillon.send("order-shipped", ["person-1", "person-2"], ORDER)
    other = carillon.send("order-shipped", ["person-1", "person-2"], ORDER)

    assert one.id != other.id
    assert len(one.messages) == 2
    assert sends_of(served, str(one.idempotency_key)) == 1


def test_everything_that_may_be_said_of_a_message_arrives(carillon: Carillon) -> None:
    sent = carillon.send(
        "order-shipped",
        "person-1",
        {"order": "Süß & 17 <b>"},
        message_class="transactional",
        priority="high",
        topic="newsletter",
        plan="in_app:read/1h,email",
        at=datetime(2035, 1, 1, 9, tzinfo=UTC),
        expires_after=timedelta(days=366),
        on_unknown="leave",
    )
    ready = carillon.dry_run("order-shipped", "person-1", ORDER, local_at=NAIVE, priority="low")

    message = carillon.message(sent.messages[0])
    assert (message.topic, message.message_class) == ("newsletter", "transactional")
    assert message.idempotency_key == sent.idempotency_key
    assert ready.priority == "low"
    assert ready.due_at is not None


def test_what_is_wrong_is_said_with_its_place_and_writes_nothing(
    served: Served, carillon: Carillon
) -> None:
    with pytest.raises(Invalid) as caught:
        carillon.send("order-shipped", "nobody", ORDER, idempotency_key="wrong")

    error = caught.value
    assert [found.pointer for found in error.errors] == ["/to"]
    assert (error.status, error.kind) == (422, "unknown-recipient")
    assert "nobody" in error.detail
    assert str(error.request_id) in str(error)
    assert error.idempotency_key == "wrong"
    assert sends_of(served, "wrong") == 0


def test_errors_pass_between_processes(carillon: Carillon) -> None:
    with pytest.raises(Invalid) as caught:
        carillon.send("no-such", "person-1")

    passed = pickle.loads(pickle.dumps(caught.value))

    assert passed.problem == caught.value.problem
    assert str(passed) == str(caught.value)


def test_the_same_key_for_another_message_is_refused(carillon: Carillon) -> None:
    carillon.send("order-shipped", "person-1", ORDER, idempotency_key="reused")

    with pytest.raises(Invalid) as caught:
        carillon.send("order-shipped", "person-2", ORDER, idempotency_key="reused")

    assert caught.value.kind == "idempotency-key-reused"


def test_keys_that_are_wrong_or_may_not_are_told_apart(served: Served) -> None:
    unknown = Carillon(served.web.url, "crl_live_unknown", retries=NO_RETRIES)
    reader = Carillon(served.web.url, served.key(["messages:read"]), retries=NO_RETRIES)

    with pytest.raises(Unauthorized) as not_known:
        unknown.send("order-shipped", "person-1", ORDER)
    with pytest.raises(Forbidden) as not_allowed:
        reader.send("order-shipped", "person-1", ORDER)

    assert not_known.value.kind == "no-key"
    assert "messages:send" in not_allowed.value.detail


def test_a_dry_run_checks_and_writes_nothing(served: Served, carillon: Carillon) -> None:
    before = scalar(served.engine, "SELECT count(*) FROM send")

    ready = carillon.dry_run("order-shipped", "new@example.org", ORDER)
    with pytest.raises(Invalid):
        carillon.dry_run("order-shipped", "new@example.org")

    assert (ready.channels, ready.messages, ready.due_at) == (("email",), 1, None)
    assert scalar(served.engine, "SELECT count(*) FROM send") == before


def test_a_bulk_has_an_answer_for_each_message(served: Served, carillon: Carillon) -> None:
    messages = [
        NewMessage("order-shipped", "person-1", ORDER, idempotency_key="item-0"),
        NewMessage("order-shipped", "nobody", ORDER, idempotency_key="item-1"),
        NewMessage("order-shipped", ["person-2", "person-3"], ORDER),
    ]

    bulk = carillon.send_many(messages, idempotency_key="bulk")
    again = carillon.send_many(messages, idempotency_key="bulk")

    sent, refused, unnamed = bulk.items
    assert (bulk.accepted, bulk.refused) == (2, 1)
    assert sent.sent is not None
    assert sent.sent.idempotency_key == "item-0"
    assert isinstance(refused.error, Invalid)
    assert refused.error.errors[0].pointer == "/to"
    assert refused.error.idempotency_key == "item-1"
    assert unnamed.sent is not None
    assert len(unnamed.sent.messages) == 2
    assert (bulk.is_repeat, again.is_repeat) == (False, True)
    assert [item.sent for item in again.items] == [item.sent for item in bulk.items]
    assert (sends_of(served, "item-0"), sends_of(served, "item-1")) == (1, 0)


def test_a_message_is_seen_with_its_trace_and_cancelled_by_id_send_or_key(
    carillon: Carillon,
) -> None:
    one, two, three = (carillon.send("order-shipped", "person-1", ORDER) for _ in range(3))

    message = carillon.message(one.messages[0])
    cancelled = [
        carillon.cancel(one.messages[0]),
        carillon.cancel(two.id),
        carillon.cancel_by_key(str(three.idempotency_key)),
        carillon.cancel(two.id),
    ]

    assert (message.send, message.trace[0].what) == (one.id, "requested")
    assert message.created_at.utcoffset() == timedelta(0)
    assert [each.id for each in cancelled] == [one.id, two.id, three.id, two.id]
    assert {each.state for each in cancelled} == {"cancelled"}


def test_what_is_not_there_and_what_cannot_be_are_told_apart(carillon: Carillon) -> None:
    sent = carillon.send("order-shipped", ["person-1", "person-2"], ORDER)

    with pytest.raises(NotFound):
        carillon.message("msg_00000000000011")
    with pytest.raises(NotFound):
        carillon.cancel_by_key("never-used")
    with pytest.raises(Conflict):
        carillon.cancel(sent.messages[0])


@pytest.mark.parametrize("id", ["", "snd_0", "msg_../../keys", "msg_0/cancel", "msg_0?x", ".."])
def test_what_is_no_id_of_a_message_is_not_asked_for(carillon: Carillon, id: str) -> None:
    with pytest.raises(ValueError, match="is not an id"):
        carillon.message(id)


@pytest.mark.parametrize(
    "options",
    [
        {"idempotency_key": ""},
        {"idempotency_key": "k" * 201},
        {"idempotency_key": "a\r\nX-Other: b"},
        {"idempotency_key": "schlüssel"},
        {"at": NAIVE},
        {"local_at": datetime(2035, 1, 1, tzinfo=UTC)},
    ],
)
def test_what_cannot_be_sent_is_a_value_error(carillon: Carillon, options: Any) -> None:
    with pytest.raises(ValueError, match=r"key has 1 to 200|zone"):
        carillon.send("order-shipped", "person-1", ORDER, **options)


def test_what_json_cannot_say_is_not_sent(carillon: Carillon) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        carillon.send("order-shipped", "person-1", {"order": float("nan")})
    with pytest.raises(TypeError, match="not JSON serializable"):
        carillon.send("order-shipped", "person-1", {"order": object()})


def test_an_address_that_is_not_the_apis_is_said_so(served: Served) -> None:
    elsewhere = Carillon(f"{served.web.url}/elsewhere", served.key(), retries=NO_RETRIES)

    with pytest.raises((NotFound, UnexpectedAnswer, BadRequest)) as caught:
        elsewhere.send("order-shipped", "person-1", ORDER)

    assert caught.value.status == 404
    assert caught.value.kind == ""


def test_address_and_key_come_from_the_environment(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = served.key()
    monkeypatch.setenv("CARILLON_URL", f"{served.web.url}/v1/")
    monkeypatch.setenv("CARILLON_API_KEY", f"{key}\n")

    with Carillon() as carillon:
        sent = carillon.send("order-shipped", "person-1", ORDER)

    assert sent.id.startswith("snd_")
    assert key not in repr(carillon)


@pytest.mark.parametrize(
    ("url", "key", "sentence"),
    [
        (None, "crl_live_x", "CARILLON_URL"),
        ("http://127.0.0.1:1", None, "CARILLON_API_KEY"),
        ("127.0.0.1:8600", "crl_live_x", "no address"),
        ("ftp://example.org", "crl_live_x", "no address"),
        ("http://", "crl_live_x", "no address"),
        ("http://exa mple:x", "crl_live_x", "no address"),
        ("http://127.0.0.1:1", "crl_live\r\nX-Other: x", "characters"),
    ],
)
def test_without_a_usable_address_and_key_there_is_no_client(
    url: str | None, key: str | None, sentence: str
) -> None:
    with pytest.raises(NotConfigured, match=sentence):
        Carillon(url, key)


async def test_the_client_for_asyncio_does_the_same(served: Served) -> None:
    async with AsyncCarillon(served.web.url, served.key()) as carillon:
        sent = await carillon.send("order-shipped", "person-1", ORDER, idempotency_key="async")
        again = await carillon.send("order-shipped", "person-1", ORDER, idempotency_key="async")
        bulk = await carillon.send_many([NewMessage("order-shipped", "nobody", ORDER)])
        ready = await carillon.dry_run("order-shipped", "person-1", ORDER)
        message = await carillon.message(sent.messages[0])
        cancelled = [await carillon.cancel(sent.id), await carillon.cancel_by_key("async")]
        with pytest.raises(Invalid) as caught:
            await carillon.send("no-such", "person-1", ORDER)

    assert (sent.is_repeat, again.is_repeat, again.id) == (False, True, sent.id)
    assert isinstance(bulk.items[0].error, Invalid)
    assert ready.messages == 1
    assert message.send == sent.id
    assert {each.id for each in cancelled} == {sent.id}
    assert caught.value.errors[0].pointer == "/template"
    assert sends_of(served, "async") == 1


def test_both_clients_have_the_same_methods() -> None:
    def methods(kind: type) -> dict[str, str]:
        return {
            name: str(inspect.signature(method))
            for name, method in inspect.getmembers(kind, inspect.isfunction)
            if not name.startswith("_") or name == "__init__"
        }

    assert methods(Carillon) == methods(AsyncCarillon)

"""The contract over webhooks, what is in one, and where none may go."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import ClassVar

import orjson
import pytest

from domain.answer import AnswerClass
from domain.webhook_signature import endpoint_secret, verify
from providers.protocol import Request, Session
from providers.webhook import WebhookConfig, WebhookSession, webhook_target
from tests.providers.contract import Contract, World, changed_request
from tests.providers.http_peer import Act, HttpPeer, answer
from tests.providers.provider_builders import answer_to

K = AnswerClass

ANSWERS: dict[str, tuple[Act, AnswerClass]] = {
    "200": (answer(200, b"ok"), K.ACCEPTED),
    "202": (answer(202), K.ACCEPTED),
    "204": (answer(204), K.ACCEPTED),
    "301": (answer(301, b"", "Location: http://127.0.0.1/\r\n"), K.RECIPIENT_REFUSED),
    "400": (answer(400, b"ann1@people.example"), K.RECIPIENT_REFUSED),
    "401": (answer(401), K.RECIPIENT_REFUSED),
    "404": (answer(404), K.RECIPIENT_REFUSED),
    "408": (answer(408), K.UNKNOWN),
    "410": (answer(410), K.RECIPIENT_REFUSED),
    "429": (answer(429, b"", "Retry-After: 7\r\n"), K.THROTTLED),
    "500": (answer(500), K.UNKNOWN),
    "502": (answer(502), K.THROTTLED),
    "503": (answer(503), K.UNAVAILABLE),
    "504": (answer(504), K.THROTTLED),
    "cut 200": (Act(b"HTTP/1.1 200 Ok\r\nContent-Length: 9\r\n\r\n{", then_close=True), K.ACCEPTED),
    "half a header": (Act(b"HTTP/1.1 200 Ok\r\nContent-Le", then_close=True), K.UNKNOWN),
    "no HTTP": (Act(b"220 smtp.example ready\r\n", then_close=True), K.UNKNOWN),
    "reset": (Act(then_reset=True), K.UNKNOWN),
}


class WebhookWorld:
    """See `contract.World`; what it is set to answer are keys of ANSWERS."""

    def __init__(self) -> None:
        self.peer = HttpPeer()
        self.url = f"{self.peer.url}/hook?team=1"
        self.masters: tuple[str, ...] = ("master",)
        self.set_to_accept()

    def session(self, *, connections: int = 4, request_timeout: float = 5.0) -> Session:
        config = WebhookConfig(
            masters=self.masters,
            allow_private=True,
            connections=connections,
            request_timeout=timedelta(seconds=request_timeout),
        )
        return WebhookSession.open(config)

    def session_to(self, port: int) -> Session:
        self.url = f"http://127.0.0.1:{port}/hook"
        return self.session()

    def references(self) -> list[str]:
        return [seen.headers["webhook-id"] for seen in self.peer.seen]

    def header_names(self) -> set[str]:
        return {name.lower() for seen in self.peer.seen for name in seen.headers}

    def set_to_answer(self, said: object) -> None:
        self.peer.act = lambda seen: ANSWERS[str(said)][0]

    def set_to_close_unanswered(self) -> None:
        self.peer.act = lambda seen: Act(reply=b"", then_close=True)

    def set_to_hang(self) -> None:
        self.peer.act = lambda seen: Act(hang=True)

    def set_to_accept(self) -> None:
        self.peer.act = lambda seen: answer(204)

    def close_idle_connections(self) -> None:
        self.peer.close_connections()

    def request(self, number: int, **changes: object) -> Request:
        return changed_request(number, {"address": self.url, **changes})

    def close(self) -> None:
        self.peer.close()


@pytest.fixture
def world() -> Iterator[WebhookWorld]:
    world = WebhookWorld()
    yield world
    world.close()


class TestWebhook(Contract):
    """One message a request."""

    CHECK_WITHOUT_SERVER = AnswerClass.ACCEPTED
    CODES: ClassVar[list[tuple[object, AnswerClass]]] = [
        (name, kind) for name, (_, kind) in ANSWERS.items()
    ]

    @pytest.fixture
    def world(self, world: WebhookWorld) -> World:
        return world


def sent(world: WebhookWorld, **changes: object) -> AnswerClass:
    session = world.session()
    kind = answer_to(session, world.request(1, **changes)).kind
    session.close()
    return kind


def test_body_is_signed_with_the_endpoints_own_secret(world: WebhookWorld) -> None:
    sent(world, data='{"order": 7}', kind="order.paid")

    (seen,) = world.peer.seen
    headers = tuple(seen.headers[f"webhook-{name}"] for name in ("id", "timestamp", "signature"))
    now = datetime.now(UTC)
    assert seen.path == "/hook?team=1"
    assert verify([endpoint_secret("master", world.url)], headers, seen.body, now=now)  # type: ignore[arg-type]  # three of them
    assert not verify([endpoint_secret("master", "https://other/")], headers, seen.body, now=now)  # type: ignore[arg-type]  # three of them


def test_during_a_rotation_it_is_signed_with_both(world: WebhookWorld) -> None:
    world.masters = ("new", "old")

    sent(world)

    (seen,) = world.peer.seen
    headers = tuple(seen.headers[f"webhook-{name}"] for name in ("id", "timestamp", "signature"))
    for master in world.masters:
        secrets = [endpoint_secret(master, world.url)]
        assert verify(secrets, headers, seen.body, now=datetime.now(UTC))  # type: ignore[arg-type]  # three of them


def test_body_has_type_time_and_data(world: WebhookWorld) -> None:
    sent(world, data='{"order": 7}', kind="order-paid.v1")

    body = orjson.loads(world.peer.seen[0].body)
    assert body["type"] == "order_paid.v1"
    assert body["data"] == {"order": 7}
    assert abs(datetime.fromisoformat(body["timestamp"]) - datetime.now(UTC)) < timedelta(minutes=1)


def test_without_data_subject_and_text_are_the_data(world: WebhookWorld) -> None:
    sent(world)

    body = orjson.loads(world.peer.seen[0].body)
    assert (body["type"], body["data"]) == ("message", {"subject": "News 1", "text": "Hello 1"})


@pytest.mark.parametrize(
    "changes",
    [
        {"data": "[1]"},
        {"data": "{"},
        {"data": "1"},
        {"kind": "no spaces"},
        {"kind": "a\r\nX-Evil: 1"},
        {"kind": ".a"},
        {"data": '{"a": "' + "b" * 300_000 + '"}'},
    ],
)
def test_content_that_is_no_webhook_is_refused(
    world: WebhookWorld, changes: dict[str, object]
) -> None:
    assert sent(world, **changes) is AnswerClass.CONTENT_REFUSED
    assert world.peer.seen == []


def test_only_the_deadline_of_15_seconds_or_less_is_waited() -> None:
    long = WebhookConfig(masters=("m",), request_timeout=timedelta(minutes=5))

    assert webhook_target(long).request_timeout == timedelta(seconds=15)


def test_an_endless_answer_is_given_up_and_its_status_counts(world: WebhookWorld) -> None:
    head = b"HTTP/1.1 200 Ok\r\nContent-Length: 100000000\r\n\r\n"
    world.peer.act = lambda seen: Act(head + b"x" * 1_000_000)
    session = world.session(request_timeout=10)

    answer = answer_to(session, world.request(1), within=3)

    assert answer.kind is AnswerClass.ACCEPTED
    session.close()


def test_gone_says_so_and_throttled_says_when_to_come_back(world: WebhookWorld) -> None:
    session = world.session()
    world.set_to_answer("410")
    assert answer_to(session, world.request(1)).code == "410"

    world.set_to_answer("429")
    assert answer_to(session, world.request(2)).retry_after == timedelta(seconds=7)
    session.close()


def test_an_empty_secret_is_refused() -> None:
    for masters in ((), ("",), ("a", "")):
        with pytest.raises(ValueError, match="empty"):
            WebhookConfig(masters=masters)

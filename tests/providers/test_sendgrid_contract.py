"""The contract over SendGrid's API, one message a request and merging."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from typing import ClassVar

import orjson
import pytest

from domain.answer import AnswerClass
from providers.protocol import Request, Session
from providers.sendgrid import SendGridConfig, SendGridSession
from tests.providers.contract import Contract, World, changed_request
from tests.providers.http_peer import Act, HttpPeer, Seen, answer
from tests.providers.provider_builders import SKELETON

K = AnswerClass
JSON = "Content-Type: application/json\r\n"
HTML = "Content-Type: text/html\r\n"


def error(field: str | None, message: str) -> bytes:
    """SendGrid's documented error body."""
    return orjson.dumps({"errors": [{"message": message, "field": field, "help": None}]})


ANSWERS: dict[str, tuple[Act, AnswerClass]] = {
    "202": (answer(202, b"", "X-Message-Id: a\r\n"), K.ACCEPTED),
    "200 sandbox": (answer(200, b"", "X-Message-Id: a\r\n"), K.ACCEPTED),
    "200 page": (answer(200, b"<!doctype html><p>Hi", HTML), K.ACCOUNT_REFUSED),
    "204": (answer(204), K.UNKNOWN),
    "301": (answer(301, b"", "Location: /elsewhere\r\n"), K.ACCOUNT_REFUSED),
    "400 to": (
        answer(
            400, error("personalizations.0.to.0.email", "ann1@people.example is no address"), JSON
        ),
        K.RECIPIENT_REFUSED,
    ),
    "400 content": (answer(400, error("content.0.value", "too short"), JSON), K.CONTENT_REFUSED),
    "400 headers": (
        answer(400, error("personalizations.0.headers", "reserved"), JSON),
        K.CONTENT_REFUSED,
    ),
    "400 from": (answer(400, error("from.email", "no address"), JSON), K.ACCOUNT_REFUSED),
    "400 unverified": (
        answer(
            400, error(None, "The from address does not match a verified Sender Identity."), JSON
        ),
        K.ACCOUNT_REFUSED,
    ),
    "400 no json": (answer(400, b"Bad request"), K.CONTENT_REFUSED),
    "401": (answer(401, error(None, "authorization required"), JSON), K.ACCOUNT_REFUSED),
    "403": (answer(403, error("from", "verified Sender Identity"), JSON), K.ACCOUNT_REFUSED),
    "404": (answer(404), K.ACCOUNT_REFUSED),
    "405": (answer(405), K.ACCOUNT_REFUSED),
    "413": (answer(413), K.CONTENT_REFUSED),
    "418": (answer(418), K.ACCOUNT_REFUSED),
    "429": (answer(429, b"", "Retry-After: 7\r\n"), K.THROTTLED),
    "500": (answer(500), K.UNKNOWN),
    "502": (answer(502, b"<html>bad gateway", HTML), K.UNKNOWN),
    "503": (answer(503), K.UNAVAILABLE),
    "504": (answer(504), K.UNKNOWN),
    "interim": (
        Act(b"HTTP/1.1 102 Wait\r\n\r\nHTTP/1.1 202 Ok\r\nContent-Length: 0\r\n\r\n"),
        K.ACCEPTED,
    ),
    "cut 202": (
        Act(b"HTTP/1.1 202 Ok\r\nContent-Length: 9\r\n\r\n{", then_close=True),
        K.ACCEPTED,
    ),
    "cut 400": (
        Act(b"HTTP/1.1 400 No\r\nContent-Length: 9\r\n\r\n{", then_close=True),
        K.UNAVAILABLE,
    ),
    "half a header": (Act(b"HTTP/1.1 202 Ok\r\nContent-Le", then_close=True), K.UNKNOWN),
    "no HTTP": (Act(b"220 smtp.example ready\r\n", then_close=True), K.UNKNOWN),
    "reset": (Act(then_reset=True), K.UNKNOWN),
}


class SendGridWorld:
    """An HTTP peer; its CODES are keys of ANSWERS."""

    def __init__(self, *, merges: bool) -> None:
        self.peer = HttpPeer()
        self.merges = merges
        self.set_to_accept()

    def session(self, *, connections: int = 4, request_timeout: float = 5.0) -> Session:
        return SendGridSession.open(self._config(self.peer.url, connections, request_timeout))

    def session_to(self, port: int) -> Session:
        return SendGridSession.open(self._config(f"http://127.0.0.1:{port}", 1, 5.0))

    def _config(self, url: str, connections: int, request_timeout: float) -> SendGridConfig:
        return SendGridConfig(
            api_key="SG.test",
            base_url=url,
            connections=connections,
            request_timeout=timedelta(seconds=request_timeout),
            max_messages_per_request=1000 if self.merges else 1,
        )

    def references(self) -> list[str]:
        return [
            personalization["custom_args"]["mid"]
            for seen in self.peer.seen
            if seen.method == "POST"
            for personalization in orjson.loads(seen.body)["personalizations"]
        ]

    def header_names(self) -> set[str]:
        return {
            name.lower()
            for seen in self.peer.seen
            if seen.method == "POST"
            for personalization in orjson.loads(seen.body)["personalizations"]
            for name in (*personalization.get("headers", ()), *seen.headers)
        }

    def set_to_answer(self, said: object) -> None:
        self._post(lambda seen: ANSWERS[str(said)][0])

    def set_to_close_unanswered(self) -> None:
        self._post(lambda seen: Act(reply=b"", then_close=True))

    def set_to_hang(self) -> None:
        self._post(lambda seen: Act(hang=True))

    def set_to_accept(self) -> None:
        self._post(lambda seen: Act())

    def _post(self, act: Callable[[Seen], Act]) -> None:
        scopes = answer(200, b'{"scopes":["mail.send"]}', JSON)
        self.peer.act = lambda seen: scopes if seen.path == "/v3/scopes" else act(seen)

    def close_idle_connections(self) -> None:
        self.peer.close_connections()

    def request(self, number: int, **changes: object) -> Request:
        request = changed_request(number, changes)
        return replace(request, skeleton=SKELETON) if self.merges else request

    def close(self) -> None:
        self.peer.close()


class TestSendGridSingle(Contract):
    """One message a request."""

    CODES: ClassVar[list[tuple[object, AnswerClass]]] = [
        (name, kind) for name, (_, kind) in ANSWERS.items()
    ]

    @pytest.fixture
    def world(self) -> Iterator[World]:
        world = SendGridWorld(merges=False)
        yield world
        world.close()


class TestSendGridMerging(TestSendGridSingle):
    """Several people a request."""

    @pytest.fixture
    def world(self) -> Iterator[World]:
        world = SendGridWorld(merges=True)
        yield world
        world.close()

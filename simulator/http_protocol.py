"""HTTP/1.1 on a bare asyncio.Protocol: quick enough to be nobody's bottleneck, and close enough to
the wire that a fault can cut a connection at any point.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Protocol, assert_never, cast

import httptools

from simulator.ending import Ending, reset
from simulator.faults import StandingFault

PHRASES = {status.value: status.phrase for status in HTTPStatus}


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer to a request, or what happens in its place."""

    status: int
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()
    delay_seconds: float = 0
    ending: Ending = Ending.ANSWER


@dataclass(slots=True)
class Head:
    """What is known of a request before its body; names of headers are lower case."""

    method: str = ""
    path: str = ""
    query: str = ""
    headers: dict[bytes, bytes] = field(default_factory=dict)
    faults: tuple[StandingFault, ...] = ()
    """Filled by the endpoint on arrival."""


class Endpoint(Protocol):
    """What a connection asks, in the order in which requests arrive and are complete."""

    @property
    def max_body_bytes(self) -> int: ...

    def arrived(self, head: Head) -> Reply | None:
        """Called as soon as the head is read; a Reply here is given without reading the body."""

    def completed(self, head: Head, body: bytes | None) -> Reply:
        """The answer; `body` is None when it was larger than `max_body_bytes`."""


@dataclass(slots=True)
class _Exchange:
    head: Head = field(default_factory=Head)
    target: bytes = b""
    chunks: list[bytes] = field(default_factory=list)
    size_bytes: int = 0
    keeps_alive: bool = True


class HttpConnection(asyncio.Protocol):
    """One connection. Pipelined requests are answered one after the other, in their order."""

    def __init__(self, endpoint: Endpoint, open_connections: set[asyncio.Transport]) -> None:
        self._endpoint = endpoint
        self._open_connections = open_connections
        self._parser = httptools.HttpRequestParser(self)
        self._exchange = _Exchange()
        self._waiting: deque[_Exchange] = deque()
        self._is_busy = False
        self._has_ended = False
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._open_connections.add(self._transport)

    def connection_lost(self, error: Exception | None) -> None:
        self._has_ended = True
        self._open_connections.discard(self._transport)
        if self._timer is not None:
            self._timer.cancel()

    def data_received(self, data: bytes) -> None:
        if self._has_ended:
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserCallbackError:
            raise
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._refuse_garbage()
        self._answer_waiting()

    # What httptools calls while it parses.

    def on_message_begin(self) -> None:
        self._exchange = _Exchange()

    def on_url(self, url: bytes) -> None:
        self._exchange.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._exchange.head.headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        exchange = self._exchange
        head = exchange.head
        head.method = self._parser.get_method().decode("latin-1")
        path, _, query = exchange.target.partition(b"?")
        head.path, head.query = path.decode("latin-1"), query.decode("latin-1")
        if self._has_ended:
            return
        refusal = self._endpoint.arrived(head)
        if refusal is not None:
            exchange.keeps_alive = False
            self._end_with(exchange, refusal)
        elif head.headers.get(b"expect", b"").lower() == b"100-continue":
            self._continue_or_refuse(exchange)

    def on_body(self, body: bytes) -> None:
        exchange = self._exchange
        exchange.size_bytes += len(body)
        if exchange.size_bytes <= self._endpoint.max_body_bytes:
            exchange.chunks.append(body)
        else:
            exchange.chunks.clear()

    def on_message_complete(self) -> None:
        # httptools reads no body behind an offer to upgrade: such a request is answered and closed.
        is_upgrade = self._parser.should_upgrade()
        self._exchange.keeps_alive = self._parser.should_keep_alive() and not is_upgrade
        self._waiting.append(self._exchange)

    # What we do with it.

    def _continue_or_refuse(self, exchange: _Exchange) -> None:
        """A client that asks first is told of a body that is too large before it sends it."""
        declared = exchange.head.headers.get(b"content-length", b"0")
        if declared.isdigit() and int(declared) > self._endpoint.max_body_bytes:
            exchange.keeps_alive = False
            self._end_with(exchange, self._endpoint.completed(exchange.head, None))
        elif not self._waiting and not self._is_busy:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _answer_waiting(self) -> None:
        while self._waiting and not self._is_busy and not self._has_ended:
            exchange = self._waiting.popleft()
            is_too_large = exchange.size_bytes > self._endpoint.max_body_bytes
            body = None if is_too_large else b"".join(exchange.chunks)
            exchange.chunks.clear()
            self._end_with(exchange, self._endpoint.completed(exchange.head, body))

    def _end_with(self, exchange: _Exchange, reply: Reply) -> None:
        match reply.ending:
            case Ending.RESET:
                self._has_ended = True
                reset(self._transport)
            case Ending.CLOSE:
                self._has_ended = True
                self._transport.close()
            case Ending.HANG:
                self._is_busy = True
            case Ending.ANSWER if reply.delay_seconds > 0:
                self._is_busy = True
                loop = asyncio.get_running_loop()
                self._timer = loop.call_later(
                    reply.delay_seconds, self._write_late, exchange, reply
                )
            case Ending.ANSWER:
                self._write(exchange, reply)
            case _ as never:
                assert_never(never)

    def _write_late(self, exchange: _Exchange, reply: Reply) -> None:
        self._is_busy = False
        self._write(exchange, reply)
        self._answer_waiting()

    def _write(self, exchange: _Exchange, reply: Reply) -> None:
        lines = [
            f"HTTP/1.1 {reply.status} {PHRASES.get(reply.status, 'Unknown')}",
            "Server: carillon-simulator",
            f"Content-Length: {len(reply.body)}",
            f"Connection: {'keep-alive' if exchange.keeps_alive else 'close'}",
            *(f"{name}: {value}" for name, value in reply.headers),
        ]
        head = "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"
        self._transport.write(head if exchange.head.method == "HEAD" else head + reply.body)
        if not exchange.keeps_alive:
            self._has_ended = True
            self._transport.close()

    def _refuse_garbage(self) -> None:
        """What is not HTTP gets a 400 after the answers that are due before it."""
        self._answer_waiting()
        if self._has_ended or self._is_busy:
            return
        exchange = _Exchange(keeps_alive=False)
        self._write(exchange, Reply(400))

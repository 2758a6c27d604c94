"""The part of a session that all adapters over HTTP share: requests wait for a free connection."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from datetime import timedelta
from typing import NamedTuple

from domain.answer import CALL_BY_MISSED, Answer
from providers.http_transport import Destination, HttpTransport, Transfer
from providers.protocol import Reply, Request
from providers.unsendable import Unsendable


class Post(NamedTuple):
    """A request as it goes on the wire."""

    body: bytes
    to: Destination | None = None
    """None: the transport's own URL and headers."""


class PostQueue:
    """Submitted requests, each answered exactly once. Not thread-safe; never retries."""

    def __init__(
        self,
        transport: HttpTransport,
        *,
        prepare: Callable[[Request], Post],
        answer: Callable[[Transfer], Answer],
    ) -> None:
        """`prepare` makes the payload and may raise Unsendable; `answer` classes what came of it."""
        self._transport = transport
        self._prepare = prepare
        self._answer = answer
        self._waiting: deque[Request] = deque()
        self._ready: list[Reply] = []
        self._open = 0

    @property
    def open_requests(self) -> int:
        """Requests submitted and not yet answered."""
        return self._open

    def submit(self, request: Request) -> None:
        """Take a request; begin it if a connection is free, else keep it until one is.

        Raises ValueError for several mails without a skeleton.
        """
        if request.skeleton is None and len(request.mails) != 1:
            raise ValueError("without a skeleton a request carries one mail")
        self._open += 1
        self._waiting.append(request)
        self._begin_waiting()

    def poll(self, timeout: timedelta) -> list[Reply]:
        """Replies that have come; waits for the first at most `timeout`."""
        until = time.monotonic() + timeout.total_seconds()
        while True:
            self._begin_waiting()
            remaining = 0.0 if self._ready else max(0.0, until - time.monotonic())
            for transfer in self._transport.poll(timedelta(seconds=remaining)):
                self._ready.append(Reply(transfer.tag, self._answer(transfer)))
            if self._ready or remaining == 0.0 or not self._open:
                return self._taken()

    def close(self) -> None:
        """Close the connections; open requests are given up without a reply."""
        self._waiting.clear()
        self._ready.clear()
        self._open = 0
        self._transport.close()

    def _begin_waiting(self) -> None:
        while self._waiting and self._transport.has_free_connection:
            request = self._waiting.popleft()
            if time.monotonic() > request.call_by:
                self._ready.append(Reply(request.number, CALL_BY_MISSED))
                continue
            try:
                post = self._prepare(request)
            except Unsendable as unsendable:
                self._ready.append(Reply(request.number, unsendable.answer))
                continue
            self._transport.post(request.number, post.body, request.call_by, post.to)

    def _taken(self) -> list[Reply]:
        replies, self._ready = self._ready, []
        self._open -= len(replies)
        return replies

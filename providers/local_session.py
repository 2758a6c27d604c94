"""A session that calls nobody: it answers at once, in this process."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta

from domain.answer import CALL_BY_MISSED, Answer, AnswerClass
from domain.send import Channel
from providers.protocol import Capabilities, Mail, Reply, Request

_ENOUGH_BYTES = 1_000_000


class LocalSession:
    """Every request is accepted when it is submitted; see `protocol.Session`."""

    def __init__(self, channel: Channel, take: Callable[[Mail], None]) -> None:
        """`take` does what is to be done with a message; it may not fail."""
        self._channel = channel
        self._take = take
        self._ready: list[Reply] = []

    @property
    def capabilities(self) -> Capabilities:
        """What the driver of a batch must know."""
        return Capabilities(
            channel=self._channel,
            merges=False,
            max_messages_per_request=1,
            max_request_bytes=_ENOUGH_BYTES,
            max_slot_bytes=0,
            max_open_requests=64,
        )

    @property
    def open_requests(self) -> int:
        """Requests submitted and not yet answered."""
        return len(self._ready)

    def submit(self, request: Request) -> None:
        """Accept a request, unless its time has passed. Raises ValueError for several mails."""
        if len(request.mails) != 1:
            raise ValueError("a request carries one mail")
        self._ready.append(Reply(request.number, self._answer(request)))

    def poll(self, timeout: timedelta) -> list[Reply]:
        """The answers to what was submitted; never waits."""
        replies, self._ready = self._ready, []
        return replies

    def check(self) -> Answer:
        """There is nothing that could be wrong."""
        return Answer(kind=AnswerClass.ACCEPTED, detail="Nothing outside is needed.")

    def close(self) -> None:
        """Open requests are given up without a reply."""
        self._ready.clear()

    def _answer(self, request: Request) -> Answer:
        if time.monotonic() > request.call_by:
            return CALL_BY_MISSED
        (mail,) = request.mails
        self._take(mail)
        return Answer(kind=AnswerClass.ACCEPTED, provider_message_id=mail.reference)

"""SMTP: one message a request, over kept and pipelined connections to one relay.

A relay's "250" to the final dot is the acceptance; bounces come later, as mail. There is no
idempotency key: Message-ID and X-Carillon-Reference are equal on every retry, no more.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

from domain.answer import CALL_BY_MISSED, Answer, AnswerClass
from domain.send import Channel
from providers.account import AccountConfig, ProviderEntry, Wire
from providers.mime import LetterBuilder
from providers.protocol import Capabilities, Reply, Request
from providers.smtp_answers import Stage, answer_to_refusal
from providers.smtp_config import SmtpConfig, parse_smtp_url
from providers.smtp_connection import Job, SmtpConnection
from providers.smtp_handshake import ConnectFailed, connect, tls_context
from providers.unsendable import Unsendable

__all__ = ["ENTRY", "SmtpConfig", "SmtpSession", "parse_smtp_url"]

_MAX_MESSAGE_BYTES = 25_000_000
_LONGEST_TICK = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class SmtpSettings:
    """Of settings.py."""

    smtp_url: str = field(default="", repr=False)
    smtp_rate: float = 0.0
    simulator_smtp_url: str = ""


class SmtpSession:
    """Kept connections to one relay, worked by an event loop of its own during `poll`.

    Not to be used in a thread where another event loop runs.
    """

    @classmethod
    def open(cls, config: SmtpConfig) -> SmtpSession:
        """A session; connects when the first request is submitted."""
        return cls(config)

    def __init__(self, config: SmtpConfig) -> None:
        self._config = config
        self._context = tls_context(config)
        self._loop = asyncio.new_event_loop()
        self._letters = LetterBuilder()
        self._waiting: deque[Job] = deque()
        self._ready: list[Reply] = []
        self._open = 0
        self._connections: set[SmtpConnection] = set()
        self._opening: set[asyncio.Task[None]] = set()
        self._failures = 0
        self._no_attempt_before = 0.0
        self._last_failure = Answer(kind=AnswerClass.UNAVAILABLE)
        self._dispatch_is_due = False
        self._is_polling = False
        self._bug: BaseException | None = None
        self._loop.set_exception_handler(self._note_bug)
        timeout = config.request_timeout.total_seconds()
        self._tick_seconds = min(_LONGEST_TICK, timeout / 20)
        self._loop.call_soon(self._tick)

    @property
    def capabilities(self) -> Capabilities:
        """What the driver of a batch must know."""
        return Capabilities(
            channel=Channel.EMAIL,
            merges=False,
            max_messages_per_request=1,
            max_request_bytes=_MAX_MESSAGE_BYTES,
            max_slot_bytes=0,
            # One on the wire and one pipelined behind it.
            max_open_requests=2 * self._config.connections,
        )

    @property
    def open_requests(self) -> int:
        """Requests submitted and not yet answered."""
        return self._open

    def submit(self, request: Request) -> None:
        """Take a request; the next `poll` begins it if a connection is free.

        Raises ValueError unless it is one rendered mail.
        """
        if len(request.mails) != 1 or request.skeleton is not None:
            raise ValueError("an SMTP request is one rendered mail")
        self._open += 1
        self._waiting.append(Job(request))
        self._dispatch_soon()

    def poll(self, timeout: timedelta) -> list[Reply]:
        """Replies that have come; waits for the first at most `timeout`."""
        wait = 0.0 if self._ready or not self._open else timeout.total_seconds()
        end = self._loop.call_later(max(0.0, wait), self._loop.stop)
        self._is_polling = True
        self._loop.run_forever()
        self._is_polling = False
        end.cancel()
        if self._bug:
            raise self._bug
        replies, self._ready = self._ready, []
        self._open -= len(replies)
        return replies

    def check(self) -> Answer:
        """Connects, greets, authenticates and says NOOP and QUIT, on a connection of its own."""
        return self._loop.run_until_complete(self._check())

    def close(self) -> None:
        """Close the connections; open requests are given up without a reply."""
        if self._loop.is_closed():
            return
        self._waiting.clear()
        self._open = 0
        for connection in self._connections:
            connection.quit()
        opening = list(self._opening)
        for task in opening:
            task.cancel()
        if opening:
            self._loop.run_until_complete(asyncio.wait(opening))
        self._loop.run_until_complete(asyncio.sleep(0))  # transports close in the next turn
        self._connections.clear()
        self._ready.clear()
        self._loop.close()

    # --- Owner, for the connections --------------------------------------------------------

    def next_job(self, connection: SmtpConnection) -> Job | None:
        """The first waiting job that can be written on this connection, its letter built."""
        while self._waiting:
            job = self._waiting.popleft()
            request = job.request
            if time.monotonic() > request.call_by:
                self.answered(job, CALL_BY_MISSED)
                continue
            try:
                job.letter = self._letters.build(request.sender, request.mails[0], connection.offer)
            except Unsendable as unsendable:
                self.answered(job, unsendable.answer)
                continue
            return job
        return None

    def answered(self, job: Job, answer: Answer) -> None:
        """Keep the reply and let `poll` return."""
        self._ready.append(Reply(job.request.number, answer))
        if self._is_polling:
            self._loop.stop()

    def handed_back(self, job: Job) -> None:
        """Wait again, in front of the others."""
        self._waiting.appendleft(job)
        self._dispatch_soon()

    def lost(self, connection: SmtpConnection) -> None:
        """Forget the connection; what waits gets a new one."""
        self._connections.discard(connection)
        self._dispatch_soon()

    # --- connections -----------------------------------------------------------------------

    def _dispatch_soon(self) -> None:
        if not self._dispatch_is_due and not self._loop.is_closed():
            self._dispatch_is_due = True
            self._loop.call_soon(self._dispatch)

    def _dispatch(self) -> None:
        """Give what waits to idle connections, then to new ones, then behind others' bodies."""
        self._dispatch_is_due = False
        for connection in list(self._connections):
            if self._waiting and connection.is_idle:
                connection.take_next()
        self._open_connections()
        for connection in list(self._connections):
            if len(self._waiting) > len(self._opening) and connection.may_pipeline:
                connection.take_next()
        if not self._connections and not self._opening:
            self._refuse_waiting()

    def _open_connections(self) -> None:
        if time.monotonic() < self._no_attempt_before:
            return
        most = self._config.connections - len(self._connections) - len(self._opening)
        for _ in range(min(most, len(self._waiting) - len(self._opening))):
            task = self._loop.create_task(self._add_connection())
            self._opening.add(task)
            task.add_done_callback(self._opened)

    def _opened(self, task: asyncio.Task[None]) -> None:
        self._opening.discard(task)
        if not task.cancelled() and (error := task.exception()):
            self._note_bug(self._loop, {"exception": error})

    def _note_bug(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """A mistake of ours in a callback: `poll` raises it, instead of asyncio's log line."""
        self._bug = context.get("exception") or RuntimeError(context["message"])
        if self._is_polling:
            self._loop.stop()

    async def _add_connection(self) -> None:
        try:
            connection = await connect(self._config, self._context, self)
            if connection.is_closed:
                raise ConnectFailed(Answer(kind=AnswerClass.UNAVAILABLE, code="connection"))
        except ConnectFailed as failed:
            self._back_off(failed.answer)
        else:
            self._failures = 0
            self._connections.add(connection)
            connection.take_next()

    def _back_off(self, answer: Answer) -> None:
        """No further attempt for a while; nobody waits for one if no connection is left."""
        config = self._config
        delay = min(config.backoff_most, config.backoff_first * 2 ** min(self._failures, 16))
        self._failures += 1
        self._no_attempt_before = time.monotonic() + delay.total_seconds()
        self._last_failure = answer
        if not self._connections:
            self._refuse_waiting()

    def _refuse_waiting(self) -> None:
        wait = max(0.0, self._no_attempt_before - time.monotonic())
        answer = replace(
            self._last_failure,
            retry_after=self._last_failure.retry_after or timedelta(seconds=wait),
        )
        while self._waiting:
            self.answered(self._waiting.popleft(), answer)

    def _tick(self) -> None:
        """End waits that took too long."""
        now = time.monotonic()
        for connection in list(self._connections):
            if now > connection.deadline:
                connection.fail("time-out", "no answer within the request time-out")
        if any(now > job.request.call_by for job in self._waiting):
            for job in [job for job in self._waiting if now > job.request.call_by]:
                self._waiting.remove(job)
                self.answered(job, CALL_BY_MISSED)
        self._loop.call_later(self._tick_seconds, self._tick)

    async def _check(self) -> Answer:
        try:
            connection = await connect(self._config, self._context, _NobodyWaits())
        except ConnectFailed as failed:
            return failed.answer
        try:
            async with asyncio.timeout(self._config.request_timeout.total_seconds()):
                reply = await connection.command(b"NOOP")
        except OSError as error:  # TimeoutError is one
            return Answer(
                kind=AnswerClass.UNAVAILABLE, code="connection", detail=str(error) or "no answer"
            )
        finally:
            connection.quit()
        if reply.code != 250:
            return answer_to_refusal(reply, Stage.CONNECT)
        return Answer(kind=AnswerClass.ACCEPTED, code="250", detail="The server takes our mail.")


class _NobodyWaits:
    """Owner of a connection that carries no jobs."""

    def next_job(self, connection: SmtpConnection) -> Job | None:
        return None

    def answered(self, job: Job, answer: Answer) -> None: ...

    def handed_back(self, job: Job) -> None: ...

    def lost(self, connection: SmtpConnection) -> None: ...


def _accounts(settings: SmtpSettings, wire: Wire) -> Iterator[AccountConfig]:
    if settings.smtp_url:
        yield _account("smtp", settings.smtp_url, wire, is_real=True, rate=settings.smtp_rate)
    if settings.simulator_smtp_url:
        yield _account("simulator-smtp", settings.simulator_smtp_url, wire, is_real=False)


def _account(key: str, url: str, wire: Wire, *, is_real: bool, rate: float = 0.0) -> AccountConfig:
    return AccountConfig(
        key=key,
        provider="smtp",
        channel=Channel.EMAIL,
        is_real=is_real,
        rate=rate,
        config=replace(
            parse_smtp_url(url), connections=wire.connections, request_timeout=wire.request_timeout
        ),
        open=SmtpSession.open,
    )


ENTRY = ProviderEntry(
    name="smtp", settings=SmtpSettings, accounts=_accounts, credentials=("smtp_url",)
)

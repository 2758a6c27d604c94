"""One kept SMTP connection: an asyncio protocol that pipelines where the server offers it.

RFC 2920 lets MAIL, RCPT and DATA go in one write, and the next message's behind the body of the
one before: one round trip a message. Replies come in order; each is taken by the step that
expects it. A message is written once, or not at all: whatever breaks, its job is answered or,
where its body certainly did not go, handed back.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import deque
from collections.abc import Callable
from typing import Protocol

from domain.answer import CALL_BY_MISSED, Answer, AnswerClass
from providers.mime import Letter
from providers.protocol import Request
from providers.smtp_answers import ServerReply, Stage, answer_to_refusal
from providers.smtp_offer import Offer

_MAX_REPLY_BYTES = 64 * 1024
_QUEUE_ID = re.compile(r"queued as <?([\w.@-]{1,100})|^ok:? ([\w-]{10,100})$", re.IGNORECASE)


class Job:
    """A request on its way over a connection."""

    __slots__ = ("body_is_written", "deadline", "letter", "refusal", "request", "was_handed_back")

    def __init__(self, request: Request) -> None:
        self.request = request
        self.letter = Letter(b"", b"", b"")
        self.deadline = 0.0
        """time.monotonic() at which to stop waiting."""
        self.refusal: Answer | None = None
        self.body_is_written = False
        self.was_handed_back = False


class Owner(Protocol):
    """The session, as its connections see it."""

    def next_job(self, connection: SmtpConnection) -> Job | None:
        """A job with its letter built for this connection, or nothing to do."""

    def answered(self, job: Job, answer: Answer) -> None:
        """The job is done."""

    def handed_back(self, job: Job) -> None:
        """The job was certainly not sent, through no fault of its own."""

    def lost(self, connection: SmtpConnection) -> None:
        """The connection is gone; its jobs were answered or handed back before."""


Step = Callable[[Job, ServerReply], None]


class SmtpConnection(asyncio.Protocol):
    """Made by `smtp_handshake.connect`, which drives it by `command` until it may carry jobs."""

    def __init__(self, owner: Owner, request_timeout: float) -> None:
        self.offer = Offer()
        self.transport: asyncio.Transport | None = None
        self._owner = owner
        self._timeout = request_timeout
        self._jobs: deque[Job] = deque()
        self._steps: deque[tuple[Step, Job] | asyncio.Future[ServerReply]] = deque()
        self._partial = b""
        self._lines: list[str] = []
        self._needs_reset = False
        self._letters_carried = 0
        self._is_leaving = False
        self.is_closed = False

    # --- what the session asks -------------------------------------------------------------

    @property
    def is_idle(self) -> bool:
        """Whether it waits for a job."""
        return not (self._jobs or self._is_leaving or self.is_closed)

    @property
    def may_pipeline(self) -> bool:
        """Whether the next job's envelope may go behind the body that is on its way."""
        jobs = self._jobs
        is_alone = len(jobs) == 1 and jobs[0].body_is_written
        return is_alone and self.offer.pipelining and not (self._is_leaving or self.is_closed)

    @property
    def deadline(self) -> float:
        """time.monotonic() at which the oldest job's wait ends."""
        return self._jobs[0].deadline if self._jobs else float("inf")

    def carry(self, job: Job) -> None:
        """Begin a job; only if `is_idle` or `may_pipeline`."""
        self._write(self._envelope(job))

    def take_next(self) -> None:
        """Begin the owner's next job, if there is one."""
        if self._is_leaving or self.is_closed:
            return
        job = self._owner.next_job(self)
        if job:
            self.carry(job)

    def fail(self, code: str, detail: str) -> None:
        """Give the connection up: answer or hand back its jobs, close, tell the owner."""
        if self.is_closed:
            return
        self.is_closed = True
        if self.transport:
            self.transport.abort()
        for position, job in enumerate(self._jobs):
            self._give_up(job, is_first=position == 0, code=code, detail=detail)
        self._jobs.clear()
        for step in self._steps:
            if isinstance(step, asyncio.Future) and not step.done():
                step.set_exception(ConnectionResetError(detail))
        self._steps.clear()
        self._owner.lost(self)

    def quit(self) -> None:
        """Say goodbye if nothing is open, and close."""
        self.is_closed = True
        if self.transport and not self._jobs:
            self._write(b"QUIT\r\n")
            self.transport.close()
        elif self.transport:
            self.transport.abort()

    async def command(self, line: bytes = b"") -> ServerReply:
        """Write a line (without its end), return the reply. For the handshake; b"": only wait."""
        if self.is_closed:
            raise ConnectionResetError("the server closed the connection")
        waiter: asyncio.Future[ServerReply] = asyncio.get_running_loop().create_future()
        self._steps.append(waiter)
        if line:
            self._write(line + b"\r\n")
        return await waiter

    # --- asyncio.Protocol ------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - asyncio types it too widely
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        *lines, self._partial = (self._partial + data).split(b"\n")
        if len(self._partial) + sum(map(len, self._lines)) > _MAX_REPLY_BYTES:
            self.fail("protocol", "the server's reply has no end")
        for line in lines:
            if self.is_closed:
                return
            self._line_received(line)

    def connection_lost(self, exc: Exception | None) -> None:
        self.fail("connection", "the server closed the connection")

    # --- replies ---------------------------------------------------------------------------

    def _line_received(self, line: bytes) -> None:
        code = line[:3]
        if not code.isdigit() or not b"200" <= code <= b"599":
            self.fail("protocol", "the server's reply has no code")
            return
        self._lines.append(line[4:].decode("utf-8", "replace").rstrip("\r"))
        if line[3:4] == b"-":
            return
        lines, self._lines = self._lines, []
        self._reply_received(ServerReply(int(code), lines))

    def _reply_received(self, reply: ServerReply) -> None:
        if not self._steps:
            # 421 before an idle time-out, or bytes slipped in behind STARTTLS's 220.
            self.fail("protocol", "the server spoke unasked")
            return
        step = self._steps.popleft()
        if isinstance(step, asyncio.Future):
            if not step.done():
                step.set_result(reply)
            return
        act, job = step
        self._is_leaving = self._is_leaving or reply.code == 421
        act(job, reply)
        if self._is_leaving:
            self.fail("421", "the server closes the connection")

    def _reset_answered(self, _job: Job, reply: ServerReply) -> None:
        if reply.code != 250:
            self.fail("protocol", "the server refused RSET")

    def _mail_answered(self, job: Job, reply: ServerReply) -> None:
        self._note_refusal(job, reply, Stage.MAIL)
        if not self.offer.pipelining:
            self._go_on(job, job.letter.rcpt, self._rcpt_answered)

    def _rcpt_answered(self, job: Job, reply: ServerReply) -> None:
        self._note_refusal(job, reply, Stage.RCPT)
        if not self.offer.pipelining:
            self._go_on(job, b"DATA\r\n", self._data_answered)

    def _data_answered(self, job: Job, reply: ServerReply) -> None:
        if reply.code < 300:
            self.fail("protocol", "the server answered DATA by success")
        elif reply.code != 354:
            self._note_refusal(job, reply, Stage.DATA)
            self._end_refused(job)
        elif job.refusal:
            # The server takes DATA although nobody is left: RFC 2920 3.1 wants a lone dot.
            self._steps.append((self._lone_dot_answered, job))
            self._write(b".\r\n")
        elif time.monotonic() > job.request.call_by:
            # DATA cannot be taken back, a dot would send an empty message: hang up.
            job.refusal = CALL_BY_MISSED
            self.fail("call_by", "")
        else:
            self._write_body(job)

    def _lone_dot_answered(self, job: Job, _reply: ServerReply) -> None:
        self._end_refused(job)

    def _final_answered(self, job: Job, reply: ServerReply) -> None:
        code = reply.code
        if 300 <= code < 400:
            self.fail("protocol", "the server answered the message by asking for more")
            return
        self._jobs.popleft()
        self._letters_carried += 1
        if code < 300:
            found = _QUEUE_ID.search(reply.text)
            queue_id = (found.group(1) or found.group(2)) if found else ""
            answer = Answer(kind=AnswerClass.ACCEPTED, provider_message_id=queue_id, code=str(code))
        else:
            answer = _refusal(job, reply, Stage.FINAL)
        self._owner.answered(job, answer)
        if not self._jobs:
            self.take_next()

    # --- steps -----------------------------------------------------------------------------

    def _envelope(self, job: Job) -> bytes:
        self._jobs.append(job)
        job.deadline = time.monotonic() + self._timeout
        written = job.letter.mail
        if self._needs_reset:
            self._needs_reset = False
            self._steps.append((self._reset_answered, job))
            written = b"RSET\r\n" + written
            if not self.offer.pipelining:
                # A plain server may drop what it finds behind a command: one at a time.
                self._steps[-1] = (self._reset_then_mail, job)
                return b"RSET\r\n"
        self._steps.append((self._mail_answered, job))
        if self.offer.pipelining:
            self._steps.append((self._rcpt_answered, job))
            self._steps.append((self._data_answered, job))
            written += job.letter.rcpt + b"DATA\r\n"
        return written

    def _reset_then_mail(self, job: Job, reply: ServerReply) -> None:
        self._reset_answered(job, reply)
        if not self.is_closed:
            self._go_on(job, job.letter.mail, self._mail_answered)

    def _go_on(self, job: Job, line: bytes, step: Step) -> None:
        if job.refusal:
            self._end_refused(job)
            return
        self._steps.append((step, job))
        self._write(line)

    def _write_body(self, job: Job) -> None:
        job.body_is_written = True
        job.deadline = time.monotonic() + self._timeout
        self._steps.append((self._final_answered, job))
        following = self._owner.next_job(self) if self.offer.pipelining else None
        if following:
            self._write(job.letter.data + self._envelope(following))
        else:
            self._write(job.letter.data)

    def _end_refused(self, job: Job) -> None:
        # MAIL may have been taken and still stand, which some servers keep after a refused DATA.
        self._needs_reset = True
        self._jobs.popleft()
        refusal = job.refusal or Answer(kind=AnswerClass.UNAVAILABLE, code="protocol")
        self._owner.answered(job, refusal)
        self.take_next()

    def _note_refusal(self, job: Job, reply: ServerReply, stage: Stage) -> None:
        if job.refusal is None and reply.code >= 300:
            job.refusal = _refusal(job, reply, stage)

    def _give_up(self, job: Job, *, is_first: bool, code: str, detail: str) -> None:
        """Answer or hand back one job of a connection that is gone."""
        if job.body_is_written:
            self._owner.answered(job, Answer(kind=AnswerClass.UNKNOWN, code=code, detail=detail))
        elif job.refusal:
            self._owner.answered(job, job.refusal)
        elif not job.was_handed_back and (not is_first or self._letters_carried):
            # It waited behind another, or met a kept connection that the server had given up.
            job.was_handed_back = True
            self._owner.handed_back(job)
        else:
            self._owner.answered(
                job, Answer(kind=AnswerClass.UNAVAILABLE, code=code, detail=detail)
            )

    def _write(self, data: bytes) -> None:
        if self.transport:
            self.transport.write(data)


def _refusal(job: Job, reply: ServerReply, stage: Stage) -> Answer:
    mail = job.request.mails[0]
    return answer_to_refusal(reply, stage, mail.name, mail.address.rpartition("@")[0])

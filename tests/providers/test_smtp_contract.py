"""The contract over SMTP, pipelined and plain."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from email import message_from_bytes
from email.message import Message
from typing import ClassVar

import pytest

from domain.answer import AnswerClass
from providers.protocol import Request, Session
from providers.smtp import SmtpConfig, SmtpSession
from tests.providers.contract import Contract, World, changed_request
from tests.providers.smtp_peer import SmtpPeer

K = AnswerClass


class SmtpWorld:
    """A peer with the given extensions; its CODES are (verb, reply)."""

    def __init__(self, *extensions: str) -> None:
        self.peer = SmtpPeer(extensions=extensions)

    def session(self, *, connections: int = 4, request_timeout: float = 5.0) -> Session:
        return SmtpSession.open(
            SmtpConfig(
                host="127.0.0.1",
                port=self.peer.port,
                connections=connections,
                request_timeout=timedelta(seconds=request_timeout),
            )
        )

    def session_to(self, port: int) -> Session:
        return SmtpSession.open(SmtpConfig(host="127.0.0.1", port=port))

    def references(self) -> list[str]:
        return [str(message["X-Carillon-Reference"]) for message in self._messages()]

    def header_names(self) -> set[str]:
        return {name.lower() for message in self._messages() for name in message}

    def _messages(self) -> list[Message]:
        return [message_from_bytes(taken.data) for taken in self.peer.taken]

    def set_to_answer(self, said: object) -> None:
        verb, reply = str(said).split(" ", 1)
        self.peer.replies = {verb: reply}

    def set_to_close_unanswered(self) -> None:
        self.peer.replies = {"FINAL": "CLOSE"}

    def set_to_hang(self) -> None:
        self.peer.replies = {"FINAL": "HANG"}

    def set_to_accept(self) -> None:
        self.peer.replies = {}

    def close_idle_connections(self) -> None:
        self.peer.close_connections()

    def request(self, number: int, **changes: object) -> Request:
        return changed_request(number, changes)

    def close(self) -> None:
        self.peer.close()


class TestSmtpPipelined(Contract):
    """Where the server offers PIPELINING."""

    CODES: ClassVar[list[tuple[object, AnswerClass]]] = [
        ("MAIL 421 4.3.2 shutting down", K.UNAVAILABLE),
        ("MAIL 451 4.3.0 try later", K.UNAVAILABLE),
        ("MAIL 450 4.7.1 too many messages", K.THROTTLED),
        ("MAIL 550 5.7.1 sender ann1@people.example not allowed", K.ACCOUNT_REFUSED),
        ("MAIL 553 5.1.8 sender domain unknown", K.ACCOUNT_REFUSED),
        ("MAIL 530 5.7.0 authentication required", K.ACCOUNT_REFUSED),
        ("MAIL 552 5.3.4 too big", K.CONTENT_REFUSED),
        ("RCPT 550 5.1.1 <ann1@people.example>: user ann1 unknown", K.RECIPIENT_REFUSED),
        ("RCPT 551 5.1.6 moved", K.RECIPIENT_REFUSED),
        ("RCPT 553 5.1.3 bad syntax", K.RECIPIENT_REFUSED),
        ("RCPT 550 no such user here", K.RECIPIENT_REFUSED),
        ("RCPT 552 5.2.2 mailbox full", K.RECIPIENT_REFUSED),
        ("RCPT 554 5.7.1 relay access denied", K.ACCOUNT_REFUSED),
        ("RCPT 550 5.7.1 not to this group", K.CONTENT_REFUSED),
        ("RCPT 421 4.7.0 too fast", K.THROTTLED),
        ("RCPT 450 4.2.1 mailbox disabled", K.UNAVAILABLE),
        ("RCPT 450 4.2.1 receiving mail at a rate that is too high", K.THROTTLED),
        ("RCPT 451 4.7.1 greylisted", K.UNAVAILABLE),
        ("RCPT 452 4.2.2 mailbox full", K.UNAVAILABLE),
        ("RCPT 452 4.5.3 too many recipients", K.THROTTLED),
        ("DATA 451 4.3.0 no", K.UNAVAILABLE),
        ("DATA 554 5.5.0 no", K.CONTENT_REFUSED),
        ("FINAL 451 4.3.0 later", K.UNAVAILABLE),
        ("FINAL 452 4.3.1 disk full", K.THROTTLED),
        ("FINAL 552 5.3.4 too big", K.CONTENT_REFUSED),
        ("FINAL 554 5.6.0 refused", K.CONTENT_REFUSED),
        ("FINAL 550 5.7.1 spam", K.CONTENT_REFUSED),
        ("FINAL 550 5.1.1 no such user", K.RECIPIENT_REFUSED),
        ("FINAL 550 5.4.5 daily quota exceeded", K.ACCOUNT_REFUSED),
        ("FINAL 250-first line\r\n250 2.0.0 queued", K.ACCEPTED),
    ]

    @pytest.fixture
    def world(self) -> Iterator[World]:
        world = SmtpWorld("PIPELINING", "8BITMIME", "SIZE 30000000", "ENHANCEDSTATUSCODES")
        yield world
        world.close()


class TestSmtpPlain(TestSmtpPipelined):
    """Where the server offers nothing."""

    @pytest.fixture
    def world(self) -> Iterator[World]:
        world = SmtpWorld()
        yield world
        world.close()

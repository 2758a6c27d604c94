"""An SMTP server on a bare asyncio.Protocol: the dialogue of RFC 5321 with pipelining (RFC 2920).

Bodies are never walked line by line: the end is found by one search, and a message costs the
server some tens of microseconds.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import assert_never, cast

from simulator.ending import Ending, reset
from simulator.faults import FaultKind, Provider, Stage, first_effect
from simulator.smtp_auth import Conversation, conversation
from simulator.smtp_transaction import (
    Exchange,
    Outcome,
    Transaction,
    parse_path,
)

log = logging.getLogger(__name__)

HOSTNAME = "simulator.carillon.test"
MAX_LINE_OCTETS = 12_288
"""RFC 4954's limit, for AUTH; other commands are far shorter."""
FINAL_DOT = b"\r\n.\r\n"


class SmtpConnection(asyncio.Protocol):
    """One connection. Answers to pipelined commands are gathered and written at once."""

    def __init__(self, exchange: Exchange, open_connections: set[asyncio.Transport]) -> None:
        self._exchange = exchange
        self._open_connections = open_connections
        self._buffer = bytearray()
        self._position = 0
        self._scanned = 0
        self._replies: list[str] = []
        self._is_stalled = False
        self._has_ended = False
        self._is_encrypted = False
        self._timer: asyncio.TimerHandle | None = None
        self._upgrade: asyncio.Task[None] | None = None
        self._authentication: Conversation | None = None
        self._user = ""
        self._peer_name = b""
        self._transaction: Transaction | None = None
        self._reads_body = False
        self._commands: dict[bytes, Callable[[bytes], str]] = {
            b"EHLO": self._ehlo,
            b"HELO": self._helo,
            b"MAIL": self._mail,
            b"RCPT": self._rcpt,
            b"DATA": self._data,
            b"RSET": self._rset,
            b"NOOP": lambda _: "250 2.0.0 Ok",
            b"QUIT": self._quit,
            b"VRFY": lambda _: "252 2.5.2 cannot verify, will try to deliver",
            b"EXPN": lambda _: "502 5.5.1 not implemented",
            b"HELP": lambda _: "214 2.0.0 see RFC 5321",
            b"AUTH": self._auth,
            b"STARTTLS": self._starttls,
        }

    # The wire.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._open_connections.add(self._transport)
        faults = self._exchange.board.arrived(Provider.SMTP, Stage.BANNER)
        if first_effect(faults, FaultKind.RESET):
            self._reset()
            return
        refusal = self._exchange.refusal(faults)
        self._say(refusal or f"220 {HOSTNAME} ESMTP Carillon simulator")
        self._flush()
        if refusal:
            self._close()

    def connection_lost(self, error: Exception | None) -> None:
        self._has_ended = True
        self._open_connections.discard(self._transport)
        if self._timer is not None:
            self._timer.cancel()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        self._work()

    def _work(self) -> None:
        """Do all that the buffer holds, then write the answers in one piece."""
        while not (self._is_stalled or self._has_ended):
            if not (self._take_body() if self._reads_body else self._take_line()):
                break
        del self._buffer[: self._position]
        self._scanned = max(0, self._scanned - self._position)
        self._position = 0
        self._flush()

    def _say(self, reply: str) -> None:
        """Queue an answer; 421 announces that we close."""
        self._replies.append(reply)
        if reply.startswith("421"):
            self._close()

    def _flush(self) -> None:
        if self._replies and not self._transport.is_closing():
            self._transport.write(("\r\n".join(self._replies) + "\r\n").encode())
        self._replies.clear()

    def _close(self) -> None:
        self._flush()
        self._has_ended = True
        self._transport.close()

    def _reset(self) -> None:
        self._has_ended = True
        self._replies.clear()
        reset(self._transport)

    # Commands.

    def _take_line(self) -> bool:
        end = self._buffer.find(b"\n", self._position)
        if end < 0:
            if len(self._buffer) - self._position > MAX_LINE_OCTETS:
                self._say("500 5.5.2 line too long")
                self._close()
            return False
        line = bytes(self._buffer[self._position : end]).rstrip(b"\r")
        self._position = end + 1
        if self._authentication is not None:
            self._continue_authentication(line)
            return True
        verb, _, argument = line.partition(b" ")
        command = self._commands.get(verb.upper())
        if command is None:
            self._say("500 5.5.2 command not recognized")
            return True
        reply = command(argument.strip())
        if reply:
            self._say(reply)
        if verb.upper() == b"QUIT":
            self._close()
        return True

    def _ehlo(self, argument: bytes) -> str:
        if not argument:
            return "501 5.5.4 syntax: EHLO hostname"
        self._peer_name, self._transaction = argument, None
        offered = self._exchange.options.extensions(is_encrypted=self._is_encrypted)
        lines = [HOSTNAME, *offered]
        return "\r\n".join([*(f"250-{line}" for line in lines[:-1]), f"250 {lines[-1]}"])

    def _helo(self, argument: bytes) -> str:
        if not argument:
            return "501 5.5.4 syntax: HELO hostname"
        self._peer_name, self._transaction = argument, None
        return f"250 {HOSTNAME}"

    def _mail(self, argument: bytes) -> str:
        if not self._peer_name:
            return "503 5.5.1 send HELO or EHLO first"
        if self._transaction is not None:
            return "503 5.5.1 nested MAIL command"
        path = parse_path(argument) if argument[:5].upper() == b"FROM:" else None
        begun = self._exchange.begin(path, is_named=bool(self._user))
        if isinstance(begun, str):
            return begun
        self._transaction = begun
        return "250 2.1.0 Ok"

    def _rcpt(self, argument: bytes) -> str:
        if self._transaction is None:
            return "503 5.5.1 need MAIL before RCPT"
        path = parse_path(argument) if argument[:3].upper() == b"TO:" else None
        return self._exchange.add_recipient(self._transaction, path)

    def _data(self, argument: bytes) -> str:
        if argument:
            return "501 5.5.4 syntax: DATA"
        if self._transaction is None:
            return "503 5.5.1 need RCPT before DATA"
        if not self._transaction.recipients:
            return "554 5.5.1 no valid recipients"
        self._exchange.mailbox.counts.requests += 1
        self._transaction.faults = self._exchange.board.arrived(Provider.SMTP)
        self._reads_body = True
        self._scanned = self._position
        return "354 end data with <CR><LF>.<CR><LF>"

    def _rset(self, _argument: bytes) -> str:
        self._transaction = None
        return "250 2.0.0 Ok"

    def _quit(self, _argument: bytes) -> str:
        return "221 2.0.0 bye"

    # AUTH and STARTTLS.

    def _auth(self, argument: bytes) -> str:
        if not self._peer_name or self._transaction is not None or self._user:
            return "503 5.5.1 AUTH is not possible now"
        mechanism, _, initial = argument.partition(b" ")
        try:
            self._authentication = conversation(mechanism, initial.strip())
        except ValueError:
            return "504 5.5.4 unknown authentication mechanism"
        self._continue_authentication(None)
        return ""

    def _continue_authentication(self, line: bytes | None) -> None:
        talk = self._authentication
        if talk is None:
            return
        if line == b"*":
            self._authentication = None
            self._say("501 5.7.0 authentication cancelled")
            return
        try:
            challenge = next(talk) if line is None else talk.send(line)
            self._say(challenge.decode())
        except StopIteration as end:
            self._authentication = None
            self._say(self._authenticated(end.value))

    def _authenticated(self, credentials: tuple[str, str] | None) -> str:
        if credentials is None:
            return "501 5.5.2 malformed authentication"
        is_right = self._exchange.options.is_right(*credentials)
        if self._exchange.board.is_revoked(Provider.SMTP) or not is_right:
            return "535 5.7.8 authentication credentials invalid"
        self._user = credentials[0]
        return "235 2.7.0 authentication successful"

    def _starttls(self, argument: bytes) -> str:
        if argument:
            return "501 5.5.4 syntax: STARTTLS"
        if self._exchange.options.tls is None or self._is_encrypted:
            return "502 5.5.1 not available"
        self._say("220 2.0.0 ready to start TLS")
        self._flush()
        # What was sent in clear behind STARTTLS must not be taken for what TLS protects.
        self._position = len(self._buffer)
        self._is_stalled = True
        self._transport.pause_reading()
        self._upgrade = asyncio.get_running_loop().create_task(self._encrypt())
        return ""

    async def _encrypt(self) -> None:
        plain, tls = self._transport, self._exchange.options.tls
        if tls is None:
            return
        try:
            loop = asyncio.get_running_loop()
            encrypted = await loop.start_tls(plain, self, tls, server_side=True)
        except OSError:
            log.info("smtp.tls_failed")
            plain.abort()
            return
        if encrypted is None:
            return
        self._open_connections.discard(plain)
        self._open_connections.add(encrypted)
        self._transport = encrypted
        self._is_encrypted, self._is_stalled = True, False
        self._peer_name, self._user, self._transaction = b"", "", None
        self._work()

    # Bodies.

    def _take_body(self) -> bool:
        transaction = cast(Transaction, self._transaction)
        buffer, start = self._buffer, self._position
        if len(buffer) == start:
            return False
        if first_effect(transaction.faults, FaultKind.RESET):
            self._exchange.mailbox.counts.refused += 1
            self._reset()
            return False
        if buffer.startswith(b".\r\n", start) and not transaction.is_too_large:
            end, following = start, start + 3
        else:
            found = buffer.find(FINAL_DOT, max(start, self._scanned - len(FINAL_DOT) + 1))
            if found < 0:
                self._discard_excess(transaction)
                return False
            end, following = found + 2, found + len(FINAL_DOT)
        self._position = self._scanned = following
        self._reads_body, self._transaction = False, None
        body = bytes(memoryview(buffer)[start:end])
        self._end_with(self._exchange.finish(transaction, body, self._user))
        return True

    def _discard_excess(self, transaction: Transaction) -> None:
        """A body that is too large is read to its end, but not kept."""
        self._scanned = len(self._buffer)
        if len(self._buffer) - self._position > self._exchange.options.size_bytes:
            transaction.is_too_large = True
            self._position = len(self._buffer) - len(FINAL_DOT) + 1

    def _end_with(self, outcome: Outcome) -> None:
        match outcome.ending:
            case Ending.RESET:
                self._reset()
            case Ending.CLOSE:
                self._close()
            case Ending.HANG:
                self._is_stalled = True
            case Ending.ANSWER if outcome.delay_seconds > 0:
                self._is_stalled = True
                loop = asyncio.get_running_loop()
                self._timer = loop.call_later(
                    outcome.delay_seconds, self._answer_late, outcome.reply
                )
            case Ending.ANSWER:
                self._say(outcome.reply)
            case _ as never:
                assert_never(never)

    def _answer_late(self, reply: str) -> None:
        self._is_stalled = False
        self._say(reply)
        self._work()

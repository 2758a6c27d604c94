"""From a host name to a connection that may carry mail: TCP, TLS, EHLO, STARTTLS, AUTH."""

from __future__ import annotations

import asyncio
import socket
import ssl
from base64 import b64encode

from domain.answer import Answer, AnswerClass
from providers.redaction import without_addresses
from providers.smtp_answers import ServerReply, Stage, answer_to_refusal
from providers.smtp_config import SmtpConfig, Tls
from providers.smtp_connection import Owner, SmtpConnection
from providers.smtp_offer import Offer, read_offer


class ConnectFailed(Exception):
    """No connection; `answer` is true for whatever waits for one."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.detail)
        self.answer = answer


def tls_context(config: SmtpConfig) -> ssl.SSLContext | None:
    """The context of all connections of a session; None without TLS."""
    if config.tls is Tls.NONE:
        return None
    context = ssl.create_default_context()
    if not config.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


async def connect(
    config: SmtpConfig, context: ssl.SSLContext | None, owner: Owner
) -> SmtpConnection:
    """A connection ready for mail. Raises ConnectFailed, within `connect_timeout`."""
    connection = SmtpConnection(owner, config.request_timeout.total_seconds())
    try:
        async with asyncio.timeout(config.connect_timeout.total_seconds()):
            await _connect(connection, config, context)
    except TimeoutError as error:
        connection.quit()
        raise ConnectFailed(_unavailable("time-out", "no connection in time")) from error
    except (OSError, UnicodeError) as error:  # TLS is OSError; a host name may be no name at all
        connection.quit()
        raise ConnectFailed(_unavailable("connection", str(error))) from error
    except (ConnectFailed, asyncio.CancelledError):
        connection.quit()
        raise
    return connection


async def _connect(
    connection: SmtpConnection, config: SmtpConfig, context: ssl.SSLContext | None
) -> None:
    loop = asyncio.get_running_loop()
    implicit = context if config.tls is Tls.IMPLICIT else None
    await loop.create_connection(lambda: connection, config.host, config.port, ssl=implicit)
    _expect(await connection.command(), 220)
    connection.offer = await _hello(connection)
    if config.tls is Tls.STARTTLS and context:
        await _start_tls(connection, config, context)
        # What was said before TLS anybody may have said.
        connection.offer = await _hello(connection)
    if config.user:
        await _authenticate(connection, config)


async def _hello(connection: SmtpConnection) -> Offer:
    name = _own_name(connection).encode()
    reply = await connection.command(b"EHLO " + name)
    if reply.code in (500, 502, 504):  # a server from before 1995
        reply = await connection.command(b"HELO " + name)
        _expect(reply, 250)
        return Offer()
    _expect(reply, 250)
    return read_offer(reply.lines)


def _own_name(connection: SmtpConnection) -> str:
    """This machine's name if it is a full one, else its address as a literal (RFC 5321 4.1.3)."""
    name = socket.gethostname()
    if "." in name.strip(".") and name.isascii() and name.isprintable() and " " not in name:
        return name
    own = connection.transport.get_extra_info("sockname") if connection.transport else None
    address = str(own[0]) if own else "127.0.0.1"
    return f"[IPv6:{address.partition('%')[0]}]" if ":" in address else f"[{address}]"


async def _start_tls(
    connection: SmtpConnection, config: SmtpConfig, context: ssl.SSLContext
) -> None:
    if not connection.offer.starttls or connection.transport is None:
        detail = "The server offers no STARTTLS, so nothing is sent to it."
        raise ConnectFailed(
            Answer(kind=AnswerClass.ACCOUNT_REFUSED, code="STARTTLS", detail=detail)
        )
    _expect(await connection.command(b"STARTTLS"), 220)
    loop = asyncio.get_running_loop()
    connection.transport = await loop.start_tls(
        connection.transport, connection, context, server_hostname=config.host
    )


async def _authenticate(connection: SmtpConnection, config: SmtpConfig) -> None:
    user, password = config.user.encode(), config.password.encode()
    mechanisms = connection.offer.mechanisms
    if "PLAIN" in mechanisms:
        secret = b64encode(b"\0" + user + b"\0" + password)
        reply = await connection.command(b"AUTH PLAIN " + secret)
    elif "LOGIN" in mechanisms:
        _expect(await connection.command(b"AUTH LOGIN"), 334, Stage.AUTH)
        _expect(await connection.command(b64encode(user)), 334, Stage.AUTH)
        reply = await connection.command(b64encode(password))
    else:
        detail = "The server offers neither AUTH PLAIN nor AUTH LOGIN."
        raise ConnectFailed(Answer(kind=AnswerClass.ACCOUNT_REFUSED, code="AUTH", detail=detail))
    _expect(reply, 235, Stage.AUTH)


def _expect(reply: ServerReply, code: int, stage: Stage = Stage.CONNECT) -> None:
    if reply.code != code:
        raise ConnectFailed(answer_to_refusal(reply, stage))


def _unavailable(code: str, detail: str) -> Answer:
    return Answer(kind=AnswerClass.UNAVAILABLE, code=code, detail=without_addresses(detail))

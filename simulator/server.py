"""The simulator's process: five ports, one event loop, one journal."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import signal
import socket
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from functools import partial

import uvicorn
from fastapi import FastAPI

from simulator.config import SimulatorConfig
from simulator.faults import FaultBoard, read_faults
from simulator.http_protocol import Endpoint, HttpConnection
from simulator.inbox import inbox_app
from simulator.journal import Journal
from simulator.mailbox import Mailbox
from simulator.sendgrid import SendGridEndpoint
from simulator.smtp import SmtpConnection
from simulator.smtp_options import SmtpOptions
from simulator.smtp_transaction import Exchange
from simulator.twilio import TwilioEndpoint
from simulator.webhook import WebhookReceiver

log = logging.getLogger("simulator")

BACKLOG = 512
YOUNG_OBJECTS = 50_000
"""A request of 1,000 people is some thousand objects, none of them in a cycle."""


class _InboxServer(uvicorn.Server):
    """uvicorn without signal handlers of its own: `_inbox` stops it."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.is_listening = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.is_listening.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def run(config: SimulatorConfig) -> None:
    """Serve until SIGTERM or SIGINT.

    Raises OSError when a port is taken or a file cannot be opened, pydantic.ValidationError when
    the fault rules are wrong.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    asyncio.run(_serve(config))


async def _serve(config: SimulatorConfig) -> None:
    board = FaultBoard(read_faults(config.faults) if config.faults else ())
    options = SmtpOptions.of(config)
    journal = Journal(config.journal_path)
    try:
        mailbox = Mailbox(journal)
        endpoints: dict[str, tuple[int, Endpoint]] = {
            "sendgrid": (
                config.sendgrid_port,
                SendGridEndpoint(mailbox, board, config.sendgrid_rate),
            ),
            "twilio": (config.twilio_port, TwilioEndpoint(mailbox, board, config.twilio_rate)),
            "webhook": (config.webhook_port, WebhookReceiver(mailbox, board)),
        }
        exchange = Exchange(mailbox, board, options)
        gc.set_threshold(YOUNG_OBJECTS, 20, 100)
        async with contextlib.AsyncExitStack() as ports:
            await _listen_and_wait(config, ports, endpoints, exchange)
    finally:
        journal.close()
    log.info("simulator.stopped")


async def _listen_and_wait(
    config: SimulatorConfig,
    ports: contextlib.AsyncExitStack,
    endpoints: Mapping[str, tuple[int, Endpoint]],
    exchange: Exchange,
) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    connections: set[asyncio.Transport] = set()
    ports.callback(_abort_all, connections)
    listening: dict[str, int] = {}
    protocols: dict[str, tuple[int, Callable[[], asyncio.Protocol]]] = {
        name: (port, partial(HttpConnection, endpoint, connections))
        for name, (port, endpoint) in endpoints.items()
    }
    protocols["smtp"] = (config.smtp_port, partial(SmtpConnection, exchange, connections))
    for name, (port, protocol) in protocols.items():
        server = await loop.create_server(protocol, config.host, port, backlog=BACKLOG)
        ports.callback(server.close)
        listening[name] = server.sockets[0].getsockname()[1]
    app = inbox_app(exchange.mailbox, exchange.board, exchange.options)
    listening["inbox"] = await ports.enter_async_context(_inbox(app, config.host, config.port))
    log.info(
        "simulator.ready inbox_port=%d sendgrid_port=%d smtp_port=%d twilio_port=%d webhook_port=%d",
        *(listening[name] for name in ("inbox", "sendgrid", "smtp", "twilio", "webhook")),
    )
    await stop.wait()


@contextlib.asynccontextmanager
async def _inbox(app: FastAPI, host: str, port: int) -> AsyncIterator[int]:
    """The inbox's web server while the block runs; gives the port it listens on."""
    listener = _listener(host, port)
    server = _InboxServer(
        uvicorn.Config(
            app,
            lifespan="off",
            access_log=False,
            log_config=None,
            log_level="warning",
            timeout_graceful_shutdown=1,
        )
    )
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        await server.is_listening.wait()
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        await serving
        listener.close()


def _listener(host: str, port: int) -> socket.socket:
    """A bound socket, so that a port that is taken is an OSError here and not an exit elsewhere."""
    family, kind, protocol, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError:
        listener.close()
        raise
    return listener


def _abort_all(connections: set[asyncio.Transport]) -> None:
    """What is accepted is in the journal already; answers still owed are lost, as in any crash."""
    for transport in tuple(connections):
        transport.abort()

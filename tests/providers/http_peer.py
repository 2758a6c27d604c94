"""A small HTTP server for adapters' tests: reads whole requests, does what the test says."""

from __future__ import annotations

import socket
import ssl
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

ACCEPTED = (
    b"HTTP/1.1 202 Accepted\r\nX-Message-Id: msg-1\r\nContent-Length: 0\r\n"
    b"Connection: keep-alive\r\n\r\n"
)


@dataclass(frozen=True)
class Seen:
    """A request that came in whole."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    connection: int


@dataclass(frozen=True)
class Act:
    """What the server does after it has read a request."""

    reply: bytes = ACCEPTED
    then_close: bool = False
    then_reset: bool = False
    hang: bool = False


def answer(status: int, body: bytes = b"", headers: str = "") -> Act:
    """An answer of `status`; `headers` are whole lines, each with CRLF."""
    head = f"HTTP/1.1 {status} Said\r\nContent-Length: {len(body)}\r\n{headers}\r\n"
    return Act(reply=head.encode() + body)


@dataclass
class HttpPeer:
    """Listens on a free port of 127.0.0.1 until `close`."""

    act: Callable[[Seen], Act] = lambda seen: Act()
    tls: ssl.SSLContext | None = None
    seen: list[Seen] = field(default_factory=list)
    connections: int = 0

    def __post_init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._sockets: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"

    def close(self) -> None:
        self._listener.close()
        self.close_connections()

    def close_connections(self) -> None:
        """As a server that restarts."""
        for connection in self._sockets:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue
        self._sockets.clear()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._sockets.append(connection)
            threading.Thread(
                target=self._serve, args=(connection, self.connections), daemon=True
            ).start()

    def _serve(self, connection: socket.socket, number: int) -> None:
        try:
            if self.tls:
                connection = self.tls.wrap_socket(connection, server_side=True)
            with connection, connection.makefile("rb") as stream:
                while True:
                    line = stream.readline().decode()
                    if not line:
                        return
                    headers = {}
                    while (header := stream.readline().decode().rstrip("\r\n")) != "":
                        name, _, value = header.partition(":")
                        headers[name.lower()] = value.strip()
                    length = int(headers.get("content-length", 0))
                    body = stream.read(length)
                    if len(body) < length:
                        return
                    method, path, _ = line.split()
                    seen = Seen(method, path, headers, body, number)
                    self.seen.append(seen)
                    if not self._do(self.act(seen), connection):
                        return
        except OSError:
            return

    def _do(self, act: Act, connection: socket.socket) -> bool:
        if act.hang:
            connection.recv(1)
            return False
        if act.then_reset:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            # makefile() keeps the descriptor open, so close it under its feet.
            socket.close(connection.detach())
            return False
        connection.sendall(act.reply)
        if act.then_close:
            connection.shutdown(socket.SHUT_RDWR)
        return not act.then_close

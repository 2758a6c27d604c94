"""A small SMTP server for adapters' tests: keeps what it was told, says what the test wants."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import BinaryIO

DEFAULTS = {
    "GREETING": "220 peer ready",
    "STARTTLS": "220 go ahead",
    "AUTH": "235 2.7.0 welcome",
    "MAIL": "250 2.1.0 ok",
    "RCPT": "250 2.1.5 ok",
    "DATA": "354 end with a dot",
    "FINAL": "250 2.0.0 Ok: queued as 4Q7",
    "RSET": "250 2.0.0 ok",
    "NOOP": "250 2.0.0 ok",
    "QUIT": "221 2.0.0 bye",
}


@dataclass(frozen=True)
class Taken:
    """A message that came in whole, to its final dot."""

    mail: str
    rcpts: tuple[str, ...]
    data: bytes
    connection: int


class Hangup(Exception):
    """The peer closes this connection."""


@dataclass
class SmtpPeer:
    """Listens on a free port of 127.0.0.1 until `close`.

    `replies` by verb override the defaults; a list is used up, one a time. The replies "CLOSE" and
    "HANG" are acts. "FINAL" answers a message's final dot.
    """

    extensions: Sequence[str] = ("PIPELINING", "8BITMIME", "SIZE 30000000")
    replies: dict[str, str | list[str]] = field(default_factory=dict)
    tls: ssl.SSLContext | None = None
    implicit_tls: bool = False
    taken: list[Taken] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)
    connections: int = 0

    def __post_init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._sockets: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

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
            if self.tls and self.implicit_tls:
                connection = self.tls.wrap_socket(connection, server_side=True)
            with connection:
                _Dialogue(self, connection, number).run()
        except (OSError, Hangup):
            return


class _Dialogue:
    """One connection."""

    def __init__(self, peer: SmtpPeer, connection: socket.socket, number: int) -> None:
        self.peer = peer
        self.connection = connection
        self.number = number
        self.stream: BinaryIO = connection.makefile("rb")
        self.mail = ""
        self.rcpts: list[str] = []

    def run(self) -> None:
        self.say("GREETING")
        while line := self.stream.readline():
            command = line.decode().rstrip("\r\n")
            self.peer.commands.append(command)
            self.obey(command)

    def obey(self, command: str) -> None:
        verb = command.split(" ")[0].split(":")[0].upper()
        if verb in ("EHLO", "HELO"):
            self.hello(verb)
        elif verb == "STARTTLS":
            self.start_tls()
        elif verb == "MAIL":
            self.mail_from(command)
        elif verb == "RCPT":
            self.rcpt_to(command)
        elif verb == "DATA":
            self.take_data()
        else:
            if verb == "RSET":
                self.mail, self.rcpts = "", []
            self.say(verb)

    def hello(self, verb: str) -> None:
        if verb in self.peer.replies:
            self.say(verb)
            return
        lines = ["peer.example", *(self.peer.extensions if verb == "EHLO" else ())]
        text = "".join(f"250-{line}\r\n" for line in lines[:-1]) + f"250 {lines[-1]}\r\n"
        self.connection.sendall(text.encode())

    def start_tls(self) -> None:
        self.say("STARTTLS")
        assert self.peer.tls
        self.connection = self.peer.tls.wrap_socket(self.connection, server_side=True)
        self.stream = self.connection.makefile("rb")

    def mail_from(self, command: str) -> None:
        if self.mail:
            self.connection.sendall(b"503 5.5.1 nested MAIL\r\n")
            return
        self.mail = command if self.say("MAIL").startswith("2") else ""

    def rcpt_to(self, command: str) -> None:
        if not self.mail:
            self.connection.sendall(b"503 5.5.1 no MAIL\r\n")
        elif self.say("RCPT").startswith("2"):
            self.rcpts.append(command)

    def take_data(self) -> None:
        if not self.rcpts and "DATA" not in self.peer.replies:
            self.connection.sendall(b"503 5.5.1 no valid RCPT\r\n")
            return
        if not self.say("DATA").startswith("354"):
            return
        lines = []
        while (line := self.stream.readline()) != b".\r\n":
            if not line:
                return
            lines.append(line.removeprefix(b"."))
        data = b"".join(lines)
        self.peer.taken.append(Taken(self.mail, tuple(self.rcpts), data, self.number))
        self.mail, self.rcpts = "", []
        self.say("FINAL")

    def say(self, verb: str) -> str:
        given = self.peer.replies.get(verb, DEFAULTS.get(verb, "500 5.5.1 what?"))
        if isinstance(given, list):
            given = given.pop(0) if given else DEFAULTS[verb]
        if given == "HANG":
            self.connection.recv(1)
        if given in ("HANG", "CLOSE"):
            raise Hangup
        self.connection.sendall(f"{given}\r\n".encode())
        return given

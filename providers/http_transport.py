"""HTTP posts over libcurl that are never sent twice: kept connections, one thread, no retries.

What libcurl must be kept from, each proved by tests/providers/test_http_transport.py:

- It repeats a request by itself, up to five times, when a *reused* connection closes before a byte
  of the answer came - also after the server has read the whole POST. No option turns that off
  (https://github.com/curl/curl/pull/18417 asks for one). It cannot repeat a body that it reads by
  a callback and cannot rewind, so bodies go by READFUNCTION and SEEKFUNCTION always fails: the
  transfer ends with SEND_FAIL_REWIND instead. Never CURLOPT_POSTFIELDS here.
- After that error the easy handle may stay broken (curl issues 17139, 18206): it is thrown away.
- It looks whether a kept connection is dead only if that was idle for a second. So we look
  ourselves (`_a_kept_connection_died`) and ask for a fresh connection.
"""

from __future__ import annotations

import re
import select
import socket
import ssl
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from typing import Any, NamedTuple

import certifi
import pycurl

MAX_BODY_BYTES = 64 * 1024
"""Of an answer; the rest is read and dropped."""

_UPLOAD_BUFFER_BYTES = 256 * 1024
# libcurl trusts a connection it used within the last second without looking.
_DISTRUST = 1.5
_LONGEST_WAIT = 0.25
_SHORTEST_WAIT = 0.001
# Linux tells a closed peer apart from waiting data; elsewhere POLLHUP (always reported) has to do.
_PEER_CLOSED = getattr(select, "POLLRDHUP", 0)


# Our own refusal to repeat a request is what libcurl reports when a connection is lost (error 65).
_SENTENCES = {65: "the connection was closed before an answer came"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One URL, what is sent along with every request to it, and how long to wait."""

    url: str
    headers: Sequence[str]
    """Whole lines, "Name: value"."""
    connections: int
    request_timeout: timedelta
    """From the start of the transfer, the connection included, to the last byte of the answer."""
    connect_timeout: timedelta = timedelta(seconds=10)
    may_connect: Callable[[str, int], bool] | None = None
    """Asked with the very IP address and port before each connection is opened; None: all may."""
    resolve: Sequence[str] = ()
    """Fixed answers to name look-ups, "host:port:address", as of curl's --resolve."""
    cuts_answers: bool = False
    """Whether an answer is given up once `MAX_BODY_BYTES` of its body are read."""


class Destination(NamedTuple):
    """Where one post goes, in place of its target's URL and headers."""

    url: str
    headers: Sequence[str]


class Transfer(NamedTuple):
    """A finished exchange, or what is known of one that failed."""

    tag: int
    status: int
    """0: no complete answer header came."""
    headers: bytes
    """The header block of the final answer; see `header_value`."""
    body: bytes
    """The first 64 kB of the answer's body."""
    error: str
    """Empty: the answer is complete. Else libcurl's words; they hold no content."""
    was_begun: bool
    """Whether the first body byte was handed over. If not, nobody can have accepted the request."""
    is_late: bool
    """Not begun, because `write_by` had passed when the connection stood."""
    is_denied: bool = False
    """Not begun, because an address of its host may not be connected to."""


def header_value(headers: bytes, name: str) -> str:
    """The first value of a header in a header block; empty if it is not there."""
    found = _header_pattern(name).search(headers)
    return found.group(1).decode("latin-1").strip() if found else ""


@lru_cache(maxsize=32)
def _header_pattern(name: str) -> re.Pattern[bytes]:
    return re.compile(rb"(?im)^%s:([^\r\n]*)" % re.escape(name.encode("ascii")))


class HttpTransport:
    """At most `connections` requests at once to one target. Not thread-safe."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._multi = pycurl.CurlMulti()
        self._multi.setopt(pycurl.M_MAXCONNECTS, 2 * target.connections)
        self._free: list[_Slot] = []
        self._busy: dict[Any, _Slot] = {}
        self._kept = select.poll()
        self._kept_sockets: set[int] = set()
        self._distrust_until = 0.0

    @property
    def has_free_connection(self) -> bool:
        """Whether `post` may be called."""
        return len(self._busy) < self._target.connections

    def post(self, tag: int, body: bytes, write_by: float, to: Destination | None = None) -> None:
        """Begin to send `body`, unless time.monotonic() has passed `write_by` when it could go.

        `to`: in place of the target's URL. A transport that is given one is always given one.
        Does not block. Raises RuntimeError when no connection is free.
        """
        slot = self._slot()
        slot.load(tag, body, write_by)
        if to is not None:
            slot.go_to(to)
        self._begin(slot)

    def get(self, tag: int) -> None:
        """Begin to ask for the target's URL; libcurl may repeat this one, which harms nobody."""
        slot = self._slot()
        slot.load(tag, None, float("inf"))
        self._begin(slot)

    def poll(self, timeout: timedelta) -> list[Transfer]:
        """What has finished; waits for the first at most `timeout`, not at all if nothing is open."""
        until = time.monotonic() + timeout.total_seconds()
        while True:
            _, running = self._multi.perform()
            finished = self._collect()
            remaining = until - time.monotonic()
            if finished or not running or remaining <= 0:
                return finished
            self._wait(remaining)

    def close(self) -> None:
        """Close all connections; transfers under way are given up."""
        for slot in self._busy.values():
            self._multi.remove_handle(slot.easy)
        for slot in (*self._busy.values(), *self._free):
            slot.easy.close()
        self._busy.clear()
        self._free.clear()
        self._multi.close()

    def _slot(self) -> _Slot:
        if not self.has_free_connection:
            raise RuntimeError("no connection is free")
        return self._free.pop() if self._free else _Slot(self._target)

    def _begin(self, slot: _Slot) -> None:
        if self._kept_sockets and self._a_kept_connection_died():
            self._distrust_until = time.monotonic() + _DISTRUST
        slot.want_fresh_connection(time.monotonic() < self._distrust_until)
        self._busy[slot.easy] = slot
        self._multi.add_handle(slot.easy)

    def _a_kept_connection_died(self) -> bool:
        """Whether a peer closed a connection that we keep, since it was last asked.

        libcurl owns the sockets and may have closed one and somebody else got its number: then the
        answer may be a wrong yes, which costs one fresh connection.
        """
        dead = self._kept.poll(0)
        for number, _ in dead:
            self._kept.unregister(number)
            self._kept_sockets.discard(number)
        return bool(dead)

    def _collect(self) -> list[Transfer]:
        finished: list[Transfer] = []
        more = 1
        while more:
            more, complete, failed = self._multi.info_read()
            finished += [self._complete(easy) for easy in complete]
            finished += [
                self._failed(easy, _SENTENCES.get(code, text)) for easy, code, text in failed
            ]
        return finished

    def _complete(self, easy: Any) -> Transfer:
        slot = self._busy.pop(easy)
        transfer = slot.transfer("")
        socket = easy.getinfo(pycurl.ACTIVESOCKET)
        self._multi.remove_handle(easy)
        self._free.append(slot)
        if socket >= 0 and socket not in self._kept_sockets:
            self._kept.register(socket, _PEER_CLOSED)
            self._kept_sockets.add(socket)
        return transfer

    def _failed(self, easy: Any, text: str) -> Transfer:
        slot = self._busy.pop(easy)
        transfer = slot.transfer(text or "the transfer failed")
        self._multi.remove_handle(easy)
        easy.close()
        return transfer

    def _wait(self, remaining: float) -> None:
        wanted = self._multi.timeout()
        wait = min(remaining, _LONGEST_WAIT, wanted / 1000 if wanted >= 0 else _LONGEST_WAIT)
        began = time.monotonic()
        ready = self._multi.select(max(wait, _SHORTEST_WAIT))
        # select() returns at once while names are looked up, and for file descriptors over 1,023.
        if not ready and time.monotonic() - began < _SHORTEST_WAIT:
            time.sleep(_SHORTEST_WAIT)


class _Slot:
    """A reused easy handle and what belongs to its present transfer."""

    __slots__ = (
        "_body",
        "_fresh",
        "_is_denied",
        "_lines",
        "_size",
        "_target",
        "easy",
        "outgoing",
        "tag",
    )

    def __init__(self, target: Target) -> None:
        self._target = target
        self.easy = _easy_handle(target)
        self.easy.setopt(pycurl.WRITEFUNCTION, self._take)
        self.easy.setopt(pycurl.SEEKFUNCTION, _never_rewind)
        if target.may_connect is not None:
            self.easy.setopt(pycurl.OPENSOCKETFUNCTION, self._open)
        self._is_denied = False
        self.tag = 0
        self.outgoing = _Outgoing(b"", 0.0)
        self._fresh = False
        self._lines: list[bytes] = []
        self._body: list[bytes] = []
        self._size = 0

    def load(self, tag: int, body: bytes | None, write_by: float) -> None:
        """Prepare a POST of `body`; a GET if it is None."""
        self.tag = tag
        self._lines, self._body, self._size = [], [], 0
        self._is_denied = False
        self.easy.setopt(pycurl.HEADERFUNCTION, self._lines.append)
        self.outgoing = _Outgoing(body or b"", write_by)
        if body is None:
            self.easy.setopt(pycurl.HTTPGET, 1)
            return
        self.easy.setopt(pycurl.POST, 1)
        self.easy.setopt(pycurl.READFUNCTION, self.outgoing.read)
        self.easy.setopt(pycurl.POSTFIELDSIZE_LARGE, len(body))

    def go_to(self, destination: Destination) -> None:
        """Another URL and other headers than the target's."""
        self.easy.setopt(pycurl.URL, destination.url)
        self.easy.setopt(pycurl.HTTPHEADER, [*destination.headers, "Expect:"])

    def want_fresh_connection(self, fresh: bool) -> None:
        if fresh is not self._fresh:
            self.easy.setopt(pycurl.FRESH_CONNECT, int(fresh))
            self._fresh = fresh

    def transfer(self, error: str) -> Transfer:
        lines = b"".join(self._lines)
        # An interim answer (1xx) has a header block of its own, before the final one.
        final = (
            lines[lines.rfind(b"\r\n\r\nHTTP/") + 1 :].lstrip() if b"\r\n\r\nH" in lines else lines
        )
        is_whole = b"\r\n" in self._lines and not final.startswith((b"HTTP/1.1 1", b"HTTP/1.0 1"))
        return Transfer(
            self.tag,
            self.easy.getinfo(pycurl.RESPONSE_CODE) if is_whole else 0,
            final,
            b"".join(self._body),
            error,
            self.outgoing.position > 0,
            self.outgoing.is_late,
            self._is_denied,
        )

    def _take(self, piece: bytes) -> int:
        room = MAX_BODY_BYTES - self._size
        if room > 0:
            self._body.append(piece[:room])
            self._size += len(piece)
        return 0 if room <= 0 and self._target.cuts_answers else len(piece)

    def _open(self, _purpose: int, place: Any) -> Any:
        """A socket for the address that libcurl has looked up and is about to connect to.

        Nothing is looked up between this question and the connection, so no answer of a name
        server can change in between (DNS rebinding).
        """
        may_connect = self._target.may_connect
        host, port = place.addr[:2] if isinstance(place.addr, tuple) else ("", 0)
        # A name with one wrong address is not trusted with its others.
        if self._is_denied or may_connect is None or not may_connect(host, port):
            self._is_denied = True
            return pycurl.SOCKET_BAD
        return socket.socket(place.family, place.socktype, place.protocol)


class _Outgoing:
    """A body that libcurl asks for in pieces, once, and not before the connection stands."""

    __slots__ = ("_body", "_write_by", "is_late", "position")

    def __init__(self, body: bytes, write_by: float) -> None:
        self._body = body
        self._write_by = write_by
        self.position = 0
        self.is_late = False

    def read(self, size: int) -> bytes | int:
        position = self.position
        if position == 0 and time.monotonic() > self._write_by:
            self.is_late = True
            return int(pycurl.READFUNC_ABORT)
        self.position = position + size
        return self._body[position : position + size]


def _never_rewind(_offset: int, _origin: int) -> int:
    return int(pycurl.SEEKFUNC_FAIL)


def _easy_handle(target: Target) -> Any:
    easy = pycurl.Curl()
    timeout, connect = target.request_timeout, min(target.connect_timeout, target.request_timeout)
    for option, value in (
        (pycurl.URL, target.url),
        # Without "Expect:" libcurl waits a second for a "100 Continue" before bodies over 1 MB.
        (pycurl.HTTPHEADER, [*target.headers, "Expect:"]),
        # HTTP/2 would repeat refused streams, and 64 posts at once need no multiplexing.
        (pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_1_1),
        (pycurl.FOLLOWLOCATION, 0),
        (pycurl.PROTOCOLS, pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS),
        (pycurl.PROXY, ""),  # set, if empty: else http_proxy and its like are taken
        (pycurl.SSL_VERIFYPEER, 1),
        (pycurl.SSL_VERIFYHOST, 2),
        (pycurl.CAINFO, _authorities()),
        (pycurl.NOSIGNAL, 1),
        (pycurl.TCP_KEEPALIVE, 1),
        (pycurl.UPLOAD_BUFFERSIZE, _UPLOAD_BUFFER_BYTES),
        (pycurl.TIMEOUT_MS, max(1, round(timeout.total_seconds() * 1000))),
        (pycurl.CONNECTTIMEOUT_MS, max(1, round(connect.total_seconds() * 1000))),
    ):
        easy.setopt(option, value)
    if target.resolve:
        easy.setopt(pycurl.RESOLVE, list(target.resolve))
    return easy


def _authorities() -> str:
    """The certificate authorities' file: the system's (or SSL_CERT_FILE's), else certifi's.

    pycurl's wheel is built with the path of its build machine, which is not there on ours.
    """
    with suppress(OSError):
        return ssl.get_default_verify_paths().cafile or certifi.where()
    return certifi.where()

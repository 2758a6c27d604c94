"""libcurl is kept from its habits: repeating posts, trusting dead connections, proxies, redirects."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pycurl
import pytest

from providers.http_transport import (
    MAX_BODY_BYTES,
    HttpTransport,
    Target,
    Transfer,
    header_value,
)
from tests.providers.http_peer import Act, HttpPeer, Seen, answer
from tests.providers.provider_builders import a_certificate

NEVER = float("inf")
SIZES = [1, 8_600, 300_000, 3_000_000]


@pytest.fixture
def peer() -> Iterator[HttpPeer]:
    peer = HttpPeer()
    yield peer
    peer.close()


def a_transport(url: str, *, connections: int = 1, timeout: float = 5.0) -> HttpTransport:
    return HttpTransport(
        Target(
            url=url,
            headers=["Content-Type: text/plain"],
            connections=connections,
            request_timeout=timedelta(seconds=timeout),
        )
    )


def exchange(transport: HttpTransport, body: bytes = b"x", write_by: float = NEVER) -> Transfer:
    transport.post(5, body, write_by)
    (transfer,) = transport.poll(timedelta(seconds=8))
    assert transfer.tag == 5
    return transfer


def on_request(number: int, act: Act, peer: HttpPeer) -> None:
    """The peer accepts all but its n-th request, with which it does `act`."""
    peer.act = lambda seen: act if len(peer.seen) == number else Act()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("act", [Act(reply=b"", then_close=True), Act(then_reset=True)])
def test_post_lost_on_a_kept_connection_is_not_repeated(
    peer: HttpPeer, act: Act, size: int
) -> None:
    on_request(2, act, peer)
    transport = a_transport(peer.url)
    exchange(transport)

    lost = exchange(transport, b"x" * size)
    time.sleep(0.05)

    assert (lost.status, lost.was_begun, bool(lost.error)) == (0, True, True)
    assert len(peer.seen) == 2
    assert {seen.connection for seen in peer.seen} == {1}
    transport.close()


def test_the_same_post_by_postfields_is_repeated_behind_our_back(peer: HttpPeer) -> None:
    """Why bodies go by a read callback. If this fails, libcurl has changed: read its notes."""
    on_request(2, Act(reply=b"", then_close=True), peer)
    easy = pycurl.Curl()
    easy.setopt(pycurl.URL, peer.url)
    for _ in range(2):
        easy.setopt(pycurl.POSTFIELDS, b"x")
        easy.perform()

    assert len(peer.seen) == 3


def test_transport_goes_on_after_a_lost_post(peer: HttpPeer) -> None:
    on_request(2, Act(reply=b"", then_close=True), peer)
    transport = a_transport(peer.url)
    for _ in range(2):
        exchange(transport)

    assert [exchange(transport).status for _ in range(3)] == [202, 202, 202]
    transport.close()


@pytest.mark.parametrize("idle", [0.02, 0.4, 1.2])
def test_connection_closed_while_idle_is_not_used_again(peer: HttpPeer, idle: float) -> None:
    transport = a_transport(peer.url)
    exchange(transport)
    peer.close_connections()
    time.sleep(idle)

    assert [exchange(transport).status for _ in range(3)] == [202, 202, 202]
    assert len(peer.seen) == 4
    transport.close()


def test_connections_are_kept(peer: HttpPeer) -> None:
    transport = a_transport(peer.url)

    for _ in range(20):
        exchange(transport)

    assert peer.connections == 1
    transport.close()


def test_no_more_than_the_given_connections_are_open(peer: HttpPeer) -> None:
    transport = a_transport(peer.url, connections=3)
    for _ in range(3):
        assert transport.has_free_connection
        transport.post(1, b"x", NEVER)

    assert not transport.has_free_connection
    with pytest.raises(RuntimeError):
        transport.post(1, b"x", NEVER)
    transport.close()


def test_late_post_is_not_written() -> None:
    """The connection stands only after `write_by`."""
    with socket.create_server(("127.0.0.1", 0), backlog=1) as server:
        transport = a_transport(f"http://127.0.0.1:{server.getsockname()[1]}")
        transport.post(1, b"x" * 100, time.monotonic() + 0.05)
        time.sleep(0.1)

        (transfer,) = transport.poll(timedelta(seconds=2))

        assert transfer.is_late
        assert not transfer.was_begun
        accepted, _ = server.accept()
        transport.close()
        assert b"xxx" not in accepted.recv(65536)


def test_time_out_while_the_body_goes_out_was_begun(peer: HttpPeer) -> None:
    peer.act = lambda seen: Act(hang=True)
    transport = a_transport(peer.url, timeout=0.2)

    transfer = exchange(transport)

    assert transfer.was_begun
    assert transfer.status == 0
    transport.close()


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "http://no-such-name.invalid"])
def test_not_connected_was_not_begun(url: str) -> None:
    transport = a_transport(url)

    transfer = exchange(transport)

    assert not transfer.was_begun
    assert transfer.error
    transport.close()


def test_certificates_are_verified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    context, trusted = a_certificate(tmp_path)
    peer = HttpPeer(tls=context)

    distrustful = a_transport(peer.url)
    refused = exchange(distrustful)
    monkeypatch.setenv("SSL_CERT_FILE", str(trusted))
    trusting = a_transport(peer.url)

    assert (refused.status, refused.was_begun) == (0, False)
    assert [exchange(trusting).status for _ in range(2)] == [202, 202]
    assert peer.seen[-1].connection == peer.seen[-2].connection
    distrustful.close()
    trusting.close()
    peer.close()


def test_lost_over_tls_is_not_repeated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    context, trusted = a_certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(trusted))
    peer = HttpPeer(tls=context)
    on_request(2, Act(reply=b"", then_close=True), peer)
    transport = a_transport(peer.url)
    exchange(transport)

    assert exchange(transport).was_begun
    time.sleep(0.05)
    assert len(peer.seen) == 2
    transport.close()
    peer.close()


def test_environment_proxies_and_redirects_are_not_followed(
    peer: HttpPeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    peer.act = lambda seen: answer(307, b"", f"Location: {peer.url}/elsewhere\r\n")
    transport = a_transport(peer.url)

    assert exchange(transport).status == 307
    assert [seen.path for seen in peer.seen] == ["/"]
    transport.close()


def test_long_answer_is_cut_and_no_100_continue_is_awaited(peer: HttpPeer) -> None:
    peer.act = lambda seen: answer(400, b"y" * (MAX_BODY_BYTES + 9000))
    transport = a_transport(peer.url)
    began = time.monotonic()

    transfer = exchange(transport, b"x" * 3_000_000)

    assert transfer.body == b"y" * MAX_BODY_BYTES
    assert "expect" not in peer.seen[0].headers
    assert time.monotonic() - began < 0.9
    transport.close()


def test_header_value_is_of_the_final_answer(peer: HttpPeer) -> None:
    interim = b"HTTP/1.1 103 Early\r\nX-Message-Id: wrong\r\n\r\n"
    final = b"HTTP/1.1 202 Ok\r\nContent-Length: 0\r\nx-message-ID:  right \r\n\r\n"
    peer.act = lambda seen: Act(reply=interim + final)
    transport = a_transport(peer.url)

    transfer = exchange(transport)

    assert (transfer.status, header_value(transfer.headers, "X-Message-Id")) == (202, "right")
    assert header_value(transfer.headers, "Retry-After") == ""
    transport.close()


def test_answers_of_several_open_posts_keep_their_tags(peer: HttpPeer) -> None:
    def echo(seen: Seen) -> Act:
        return answer(200, seen.body)

    peer.act = echo
    transport = a_transport(peer.url, connections=8)
    for tag in range(8):
        transport.post(tag, b"%d" % tag, NEVER)

    transfers: list[Transfer] = []
    while len(transfers) < 8:
        transfers += transport.poll(timedelta(seconds=2))

    assert {transfer.tag: transfer.body for transfer in transfers} == {
        tag: b"%d" % tag for tag in range(8)
    }
    transport.close()

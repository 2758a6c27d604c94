"""Server-side request forgery: no trick of a URL or of a name server leads to this machine or net."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import timedelta

import pytest

from domain.answer import Answer, AnswerClass
from providers.http_transport import HttpTransport, Target, Transfer
from providers.webhook import WebhookConfig, WebhookSession
from tests.providers.http_peer import Act, HttpPeer, answer
from tests.providers.provider_builders import a_mail, a_request, answer_to


@pytest.fixture
def peer() -> Iterator[HttpPeer]:
    """Something on this machine that nobody outside may reach."""
    peer = HttpPeer()
    yield peer
    peer.close()


def answer_from(url: str, *resolve: str) -> Answer:
    """What a session of a real account says to a message for `url`."""
    config = WebhookConfig(
        masters=("master",), resolve=resolve, request_timeout=timedelta(seconds=2)
    )
    session = WebhookSession.open(config)
    try:
        return answer_to(session, a_request(1, a_mail(1, address=url)))
    finally:
        session.close()


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "2130706433",  # decimal
        "0177.0.0.1",  # octal
        "0x7f.0.0.1",  # hexadecimal
        "0x7f000001",
        "127.1",  # short
        "127.0.1",
        "0",
        "0.0.0.0",
        "localhost",
        "[::1]",
        "[::]",
        "[::127.0.0.1]",
        "[::ffff:127.0.0.1]",  # IPv4 mapped
        "[::ffff:7f00:1]",
        "[64:ff9b::7f00:1]",  # NAT64
        "[2002:7f00:1::]",  # 6to4
        "[fe80::1]",
        "[fd00:ec2::254]",  # metadata by IPv6
        "169.254.169.254",  # metadata
        "100.100.100.200",  # metadata within carrier-grade NAT
        "100.64.0.1",
        "10.0.0.1",
        "192.168.0.1",
        "user@127.0.0.1",
        "public.example@127.0.0.1",
        "public.example#@127.0.0.1",
        "public.example\\@127.0.0.1",
    ],
)
@pytest.mark.parametrize("port", ["", ":8443"])
def test_a_trick_url_is_refused_and_connects_to_nothing(host: str, port: str) -> None:
    answer = answer_from(f"https://{host}{port}/hook")

    # A name that does not resolve is no refusal; but it is no connection either.
    assert answer.kind in (AnswerClass.RECIPIENT_REFUSED, AnswerClass.UNAVAILABLE)
    assert answer.kind is AnswerClass.RECIPIENT_REFUSED or host == "public.example#@127.0.0.1"


@pytest.mark.parametrize(
    "addresses",
    ["127.0.0.1", "10.0.0.1,127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "169.254.169.254"],
)
def test_a_name_that_leads_inside_is_refused(addresses: str) -> None:
    answer = answer_from("https://hooks.example:8443/", f"hooks.example:8443:{addresses}")

    assert (answer.kind, answer.code) == (AnswerClass.RECIPIENT_REFUSED, "address")
    assert "hooks" not in answer.detail


def test_a_name_that_rebinds_between_two_messages_is_refused_the_second_time(
    peer: HttpPeer,
) -> None:
    def transfer(address: str) -> Transfer:
        target = Target(
            url=f"http://rebinding.example:{peer.port}/",
            headers=(),
            connections=1,
            request_timeout=timedelta(seconds=2),
            may_connect=lambda connected, _: connected == "127.0.0.1",
            resolve=[f"rebinding.example:{peer.port}:{address}"],
        )
        transport = HttpTransport(target)
        transport.post(1, b"{}", time.monotonic() + 5)
        (transfer,) = transport.poll(timedelta(seconds=5))
        transport.close()
        return transfer

    first, second = transfer("127.0.0.1"), transfer("127.0.0.2")

    assert (first.status, first.is_denied) == (202, False)
    assert (second.status, second.is_denied, second.was_begun) == (0, True, False)
    assert peer.connections == 1


def test_a_name_with_one_address_inside_is_not_trusted_with_the_next(peer: HttpPeer) -> None:
    target = Target(
        url=f"http://mixed.example:{peer.port}/",
        headers=(),
        connections=1,
        request_timeout=timedelta(seconds=2),
        may_connect=lambda connected, _: connected == "127.0.0.1",
        resolve=[f"mixed.example:{peer.port}:127.0.0.2,127.0.0.1"],
    )
    transport = HttpTransport(target)
    transport.post(1, b"{}", time.monotonic() + 5)
    (transfer,) = transport.poll(timedelta(seconds=5))
    transport.close()

    assert (transfer.is_denied, transfer.was_begun, peer.connections) == (True, False, 0)


def test_the_question_names_the_very_address_that_is_connected_to(peer: HttpPeer) -> None:
    asked: list[tuple[str, int]] = []

    def may_connect(address: str, port: int) -> bool:
        asked.append((address, port))
        return True

    target = Target(
        url=f"http://localhost:{peer.port}/",
        headers=(),
        connections=1,
        request_timeout=timedelta(seconds=2),
        may_connect=may_connect,
    )
    transport = HttpTransport(target)
    transport.post(1, b"{}", time.monotonic() + 5)
    transport.poll(timedelta(seconds=5))
    transport.close()

    assert ("127.0.0.1", peer.port) in asked
    assert {port for _, port in asked} == {peer.port}


def test_a_redirect_inside_is_not_followed(peer: HttpPeer) -> None:
    inside = HttpPeer()
    peer.act = lambda seen: answer(307, b"", f"Location: {inside.url}/\r\n")
    session = WebhookSession.open(WebhookConfig(masters=("m",), allow_private=True))

    kind = answer_to(session, a_request(1, a_mail(1, address=peer.url))).kind

    assert kind is AnswerClass.RECIPIENT_REFUSED
    assert inside.seen == []
    session.close()
    inside.close()


def test_no_proxy_of_the_environment_is_asked(
    peer: HttpPeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = HttpPeer(act=lambda seen: Act(b"HTTP/1.1 200 Ok\r\nContent-Length: 0\r\n\r\n"))
    for name in ("http_proxy", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, proxy.url)
    session = WebhookSession.open(WebhookConfig(masters=("m",), allow_private=True))

    answer_to(session, a_request(1, a_mail(1, address=peer.url)))

    assert (len(peer.seen), proxy.connections) == (1, 0)
    session.close()
    proxy.close()

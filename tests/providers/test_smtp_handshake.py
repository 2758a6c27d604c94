"""From a host name to a connection that may carry mail: back-off, greeting, AUTH, TLS, check."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from domain.answer import AnswerClass
from providers.smtp import SmtpConfig, SmtpSession
from providers.smtp_config import Tls
from tests.providers.provider_builders import a_certificate, a_request, answer_to, replies_to
from tests.providers.smtp_peer import SmtpPeer

K = AnswerClass


@pytest.fixture
def peer() -> Iterator[SmtpPeer]:
    peer = SmtpPeer()
    yield peer
    peer.close()


def a_session(peer: SmtpPeer, **changes: Any) -> SmtpSession:
    values = {"host": "127.0.0.1", "port": peer.port, "connections": 1, **changes}
    return SmtpSession.open(SmtpConfig(**values))


def verbs(peer: SmtpPeer) -> list[str]:
    return [command.split(" ")[0] for command in peer.commands]


def kinds(session: SmtpSession, *numbers: int) -> list[AnswerClass]:
    """The classes of the answers to requests of these numbers, submitted together."""
    replies = dict(replies_to(session, *(a_request(number) for number in numbers)))
    return [replies[number].kind for number in numbers]


def test_failed_connections_do_not_spin() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    session = SmtpSession.open(SmtpConfig(host="127.0.0.1", port=port))
    first = answer_to(session, a_request(1))
    peer_is_asked = session._failures

    later = [answer_to(session, a_request(number)) for number in range(2, 30)]

    assert first.kind is K.UNAVAILABLE
    assert {answer.kind for answer in later} == {K.UNAVAILABLE}
    assert all(answer.retry_after is not None for answer in later)
    assert session._failures - peer_is_asked <= 1
    session.close()


def test_connects_again_after_the_backoff(peer: SmtpPeer) -> None:
    peer.replies["GREETING"] = ["421 4.3.2 not now"]
    session = a_session(peer, backoff_first=timedelta(seconds=0.05))

    assert kinds(session, 1) == [K.UNAVAILABLE]
    time.sleep(0.06)
    assert kinds(session, 2) == [K.ACCEPTED]
    session.close()


def test_greeting_that_refuses_us_stops_the_account(peer: SmtpPeer) -> None:
    peer.replies["GREETING"] = "554 5.7.1 you are on a list"
    session = a_session(peer)

    assert kinds(session, 1, 2) == [K.ACCOUNT_REFUSED] * 2
    session.close()


def test_old_server_is_greeted_by_helo() -> None:
    peer = SmtpPeer(extensions=(), replies={"EHLO": "502 5.5.1 what?"})
    session = a_session(peer)

    assert kinds(session, 1) == [K.ACCEPTED]
    assert verbs(peer)[:2] == ["EHLO", "HELO"]
    session.close()
    peer.close()


@pytest.mark.parametrize(
    ("offered", "replies", "kind", "said"),
    [
        ("AUTH LOGIN PLAIN", {}, K.ACCEPTED, ["AUTH PLAIN AG1lAHMzY3LDqXQ="]),
        (
            "AUTH LOGIN",
            {"AUTH": "334 VXNlcm5hbWU6", "bWU=": "334 UGFzc3dvcmQ6", "czNjcsOpdA==": "235 ok"},
            K.ACCEPTED,
            ["AUTH LOGIN", "bWU=", "czNjcsOpdA=="],
        ),
        (
            "AUTH PLAIN",
            {"AUTH": "535 5.7.8 no"},
            K.ACCOUNT_REFUSED,
            ["AUTH PLAIN AG1lAHMzY3LDqXQ="],
        ),
        ("AUTH PLAIN", {"AUTH": "454 4.7.0 later"}, K.THROTTLED, ["AUTH PLAIN AG1lAHMzY3LDqXQ="]),
        ("AUTH CRAM-MD5", {}, K.ACCOUNT_REFUSED, []),
        ("PIPELINING", {}, K.ACCOUNT_REFUSED, []),
    ],
)
def test_authentication(
    offered: str, replies: dict[str, str | list[str]], kind: AnswerClass, said: list[str]
) -> None:
    upper = {verb.upper(): reply for verb, reply in replies.items()}
    peer = SmtpPeer(extensions=(offered,), replies=upper)
    session = a_session(peer, user="me", password="s3crét")

    answer = answer_to(session, a_request(1))

    assert answer.kind is kind
    assert "s3cr" not in answer.detail
    assert peer.commands[1 : 1 + len(said)] == said
    session.close()
    peer.close()


@pytest.mark.parametrize("tls", [Tls.STARTTLS, Tls.IMPLICIT])
def test_tls_with_a_trusted_certificate(
    tls: Tls, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context, trusted = a_certificate(tmp_path)
    peer = SmtpPeer(
        extensions=("STARTTLS", "PIPELINING"), tls=context, implicit_tls=tls is Tls.IMPLICIT
    )

    distrustful = a_session(peer, tls=tls)
    assert kinds(distrustful, 1) == [K.UNAVAILABLE]
    unverified = a_session(peer, tls=tls, verify=False)
    assert kinds(unverified, 2) == [K.ACCEPTED]
    monkeypatch.setenv("SSL_CERT_FILE", str(trusted))
    trusting = a_session(peer, tls=tls)
    assert kinds(trusting, 3, 4, 5) == [K.ACCEPTED] * 3
    assert trusting.check().kind is K.ACCEPTED

    for session in (distrustful, unverified, trusting):
        session.close()
    peer.close()


def test_required_starttls_that_is_not_offered_sends_nothing(peer: SmtpPeer) -> None:
    session = a_session(peer, tls=Tls.STARTTLS, user="me", password="secret")

    assert kinds(session, 1) == [K.ACCOUNT_REFUSED]
    assert verbs(peer) in (["EHLO"], ["EHLO", "QUIT"])
    session.close()


def test_words_slipped_in_behind_starttls_are_not_believed(tmp_path: Path) -> None:
    context, _ = a_certificate(tmp_path)
    peer = SmtpPeer(
        extensions=("STARTTLS",),
        replies={"STARTTLS": "220 go\r\n250-evil\r\n250 AUTH PLAIN"},
        tls=context,
    )
    session = a_session(peer, tls=Tls.STARTTLS, verify=False, user="me", password="secret")

    assert kinds(session, 1) == [K.UNAVAILABLE]
    assert not any(command.startswith("AUTH") for command in peer.commands)
    session.close()
    peer.close()


def test_check_greets_and_leaves(peer: SmtpPeer) -> None:
    session = a_session(peer)

    assert session.check().kind is K.ACCEPTED
    time.sleep(0.05)
    assert verbs(peer) == ["EHLO", "NOOP", "QUIT"]
    session.close()


def test_check_says_what_is_wrong(peer: SmtpPeer) -> None:
    peer.replies["NOOP"] = "421 4.3.2 going down"
    session = a_session(peer)

    assert session.check().detail == "connect: 421 4.3.2 going down"
    session.close()


@pytest.mark.parametrize("host", ["no-such-name.invalid", "a" * 70 + ".example", "ü" * 70])
def test_host_that_cannot_be_found_is_unavailable(host: str) -> None:
    session = SmtpSession.open(SmtpConfig(host=host, port=25))

    assert answer_to(session, a_request(1)).kind is K.UNAVAILABLE
    session.close()

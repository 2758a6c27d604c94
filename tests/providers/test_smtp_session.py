"""The SMTP dialogue: pipelining, refusals in a pipeline, TLS, authentication, broken connections."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from domain.answer import AnswerClass
from providers.protocol import Sender
from providers.smtp import SmtpConfig, SmtpSession
from tests.providers.provider_builders import (
    a_mail,
    a_request,
    answer_to,
    reference,
    replies_to,
)
from tests.providers.smtp_peer import SmtpPeer

K = AnswerClass
ENVELOPE = ["MAIL", "RCPT", "DATA"]


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


def references(peer: SmtpPeer) -> list[bytes]:
    return [
        line.partition(b": ")[2]
        for taken in peer.taken
        for line in taken.data.split(b"\r\n")
        if line.startswith(b"X-Carillon-Reference")
    ]


def test_envelope_and_next_envelope_travel_with_the_body() -> None:
    """A peer that answers only once it has read a whole group, so that nothing else would do."""
    received: list[bytes] = []

    def serve(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        connection.sendall(b"220 hi\r\n")
        connection.recv(65536)
        connection.sendall(b"250-me\r\n250 PIPELINING\r\n")
        ok = b"250 ok\r\n250 ok\r\n354 go\r\n"
        for ends, reply in (
            ([b"DATA\r\n"], ok),
            ([b"\r\n.\r\n", b"DATA\r\n"], b"250 ok\r\n" + ok),
            ([b"\r\n.\r\n"], b"250 ok\r\n"),
        ):
            group = b""
            while not (all(end in group for end in ends) and group.endswith(ends[-1])):
                group += connection.recv(65536)
            received.append(group)
            connection.sendall(reply)
        connection.recv(65536)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,), daemon=True)
        thread.start()
        session = SmtpSession.open(
            SmtpConfig(host="127.0.0.1", port=listener.getsockname()[1], connections=1)
        )
        assert kinds(session, 1, 2) == [K.ACCEPTED, K.ACCEPTED]
        session.close()

    assert received[0].startswith(b"MAIL FROM:<news@shop.example>")
    assert received[1].count(b"RCPT TO:<ann2@people.example>") == 1


def test_connections_are_kept_and_no_more_are_opened_than_given(peer: SmtpPeer) -> None:
    session = a_session(peer, connections=3)
    for _ in range(3):
        kinds(session, *range(20))

    assert 1 <= peer.connections <= 3
    assert len(peer.taken) == 60
    session.close()


def test_plain_server_gets_one_command_at_a_time() -> None:
    peer = SmtpPeer(extensions=())
    session = a_session(peer)
    peer.replies["RCPT"] = ["550 5.1.1 no"]

    assert kinds(session, 1, 2) == [K.RECIPIENT_REFUSED, K.ACCEPTED]
    assert verbs(peer) == ["EHLO", "MAIL", "RCPT", "RSET", *ENVELOPE]
    session.close()
    peer.close()


def test_refused_recipient_in_a_pipeline_leaves_the_next_alone(peer: SmtpPeer) -> None:
    peer.replies["RCPT"] = ["250 ok", "550 5.1.1 no", "250 ok"]
    session = a_session(peer)

    assert kinds(session, 1, 2, 3) == [K.ACCEPTED, K.RECIPIENT_REFUSED, K.ACCEPTED]
    assert verbs(peer) == ["EHLO", *ENVELOPE, *ENVELOPE, "RSET", *ENVELOPE]
    assert references(peer) == [b"ref-1", b"ref-3"]
    session.close()


def test_data_taken_without_recipients_gets_a_lone_dot(peer: SmtpPeer) -> None:
    peer.replies = {"RCPT": ["550 5.1.1 no"], "DATA": "354 go on", "FINAL": ["554 5.5.1 nobody"]}
    session = a_session(peer)

    assert kinds(session, 1, 2) == [K.RECIPIENT_REFUSED, K.ACCEPTED]
    assert peer.taken[0].data == b""
    assert references(peer) == [b"ref-2"]
    session.close()


def test_broken_connection_costs_only_the_message_whose_body_went(peer: SmtpPeer) -> None:
    peer.replies["FINAL"] = ["250 ok", "CLOSE"]
    session = a_session(peer)

    assert kinds(session, 1, 2, 3, 4) == [K.ACCEPTED, K.UNKNOWN, K.ACCEPTED, K.ACCEPTED]
    assert references(peer) == [b"ref-1", b"ref-2", b"ref-3", b"ref-4"]
    assert peer.connections == 2
    session.close()


@pytest.mark.parametrize("verb", ["MAIL", "RCPT", "DATA"])
def test_connection_lost_before_the_body_is_unavailable(peer: SmtpPeer, verb: str) -> None:
    peer.replies[verb] = "CLOSE"
    session = a_session(peer)

    assert kinds(session, 1) == [K.UNAVAILABLE]
    assert peer.taken == []
    session.close()


@pytest.mark.parametrize("verb", ["GREETING", "EHLO", "MAIL", "RCPT", "DATA"])
def test_silence_before_the_body_is_unavailable(peer: SmtpPeer, verb: str) -> None:
    peer.replies[verb] = "HANG"
    session = a_session(
        peer, request_timeout=timedelta(seconds=0.2), connect_timeout=timedelta(seconds=0.2)
    )

    assert kinds(session, 1) == [K.UNAVAILABLE]
    assert peer.taken == []
    session.close()


def test_call_by_that_passes_after_the_envelope_sends_no_body(peer: SmtpPeer) -> None:
    peer.replies["FINAL"] = ["HANG"]
    session = a_session(peer, request_timeout=timedelta(seconds=0.4))

    replies = dict(replies_to(session, a_request(1), a_request(2, call_within=0.2)))

    assert [replies[number].code for number in (1, 2)] == ["time-out", "call_by"]
    assert references(peer) == [b"ref-1"]
    session.close()


def test_late_354_sends_no_body_not_even_an_empty_one() -> None:
    taken: list[bytes] = []

    def serve(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        connection.sendall(b"220 hi\r\n")
        connection.recv(65536)
        connection.sendall(b"250-me\r\n250 PIPELINING\r\n")
        connection.recv(65536)
        time.sleep(0.3)
        connection.sendall(b"250 ok\r\n250 ok\r\n354 go\r\n")
        taken.append(connection.recv(65536))

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,), daemon=True)
        thread.start()
        session = SmtpSession.open(SmtpConfig(host="127.0.0.1", port=listener.getsockname()[1]))
        assert answer_to(session, a_request(1, call_within=0.15)).code == "call_by"
        thread.join(2)
        session.close()

    assert taken == [b""]


@pytest.mark.parametrize(
    "nonsense", ["hello", "999 what", "25", "250-first\r\n250-second", "354 go\r\n250 x\r\n250 y"]
)
@pytest.mark.parametrize("verb", ["GREETING", "EHLO", "MAIL", "FINAL"])
def test_nonsense_is_answered_once(peer: SmtpPeer, verb: str, nonsense: str) -> None:
    peer.replies[verb] = [nonsense]
    session = a_session(
        peer, request_timeout=timedelta(seconds=0.2), connect_timeout=timedelta(seconds=0.2)
    )

    replies = replies_to(session, a_request(1))
    replies += session.poll(timedelta(seconds=0.05))

    assert [reply.number for reply in replies] == [1]
    assert verb != "FINAL" or replies[0].answer.kind in (K.UNKNOWN, K.ACCEPTED)
    session.close()


def test_endless_reply_is_cut_off(peer: SmtpPeer) -> None:
    peer.replies["GREETING"] = "220-" + "x" * 200_000
    session = a_session(peer)

    assert kinds(session, 1) == [K.UNAVAILABLE]
    session.close()


def test_greylisting_waits_five_minutes(peer: SmtpPeer) -> None:
    peer.replies["RCPT"] = "450 4.7.1 try again later"
    session = a_session(peer)

    assert answer_to(session, a_request(1)).retry_after == timedelta(minutes=5)
    session.close()


def test_too_large_for_the_server_is_not_sent() -> None:
    peer = SmtpPeer(extensions=("SIZE 1000",))
    session = a_session(peer)

    big = answer_to(session, a_request(1, a_mail(1, text="x" * 1000)))

    assert big.kind is K.CONTENT_REFUSED
    assert "MAIL" not in verbs(peer)
    assert kinds(session, 2) == [K.ACCEPTED]
    assert " SIZE=" in peer.taken[0].mail
    session.close()
    peer.close()


@pytest.mark.parametrize(
    ("extensions", "kind", "rcpt"),
    [
        (("8BITMIME",), K.RECIPIENT_REFUSED, ""),
        (("8BITMIME", "SMTPUTF8"), K.ACCEPTED, "RCPT TO:<jörg@xn--bcher-kva.example>"),
    ],
)
def test_local_part_outside_ascii_needs_smtputf8(
    extensions: tuple[str, ...], kind: AnswerClass, rcpt: str
) -> None:
    peer = SmtpPeer(extensions=extensions)
    session = a_session(peer)

    answer = answer_to(session, a_request(1, a_mail(1, address="jörg@bücher.example")))

    assert answer.kind is kind
    assert [one for taken in peer.taken for one in taken.rcpts] == ([rcpt] if rcpt else [])
    assert all(taken.mail.endswith(" SMTPUTF8") for taken in peer.taken)
    session.close()
    peer.close()


def test_domain_outside_ascii_needs_nothing(peer: SmtpPeer) -> None:
    session = a_session(peer)

    assert (
        answer_to(session, a_request(1, a_mail(1, address="a@bücher.example"))).kind is K.ACCEPTED
    )
    assert peer.taken[0].rcpts == ("RCPT TO:<a@xn--bcher-kva.example>",)
    session.close()


@pytest.mark.parametrize("address", ["a b@c.example", "a@b>\r\nDATA", "<a@b.example>", "@b", "a"])
def test_address_that_would_break_the_envelope_is_refused(peer: SmtpPeer, address: str) -> None:
    session = a_session(peer)

    assert answer_to(session, a_request(1, a_mail(1, address=address))).kind is K.RECIPIENT_REFUSED
    assert "RCPT" not in verbs(peer)
    session.close()


def test_sender_that_cannot_be_written_is_the_accounts(peer: SmtpPeer) -> None:
    session = a_session(peer)

    answer = answer_to(session, a_request(1, sender=Sender(address="jörg@shop.example")))

    assert answer.kind is K.ACCOUNT_REFUSED
    session.close()


def test_message_id_is_equal_on_every_retry(peer: SmtpPeer) -> None:
    session = a_session(peer)
    for _ in range(2):
        answer_to(session, a_request(1))

    ids = {
        line
        for taken in peer.taken
        for line in taken.data.split(b"\r\n")
        if line.startswith(b"Message-ID")
    }
    assert ids == {b"Message-ID: <" + reference(1).encode() + b"@shop.example>"}
    session.close()


def test_our_own_mistake_is_raised_and_not_swallowed(peer: SmtpPeer) -> None:
    session = a_session(peer)
    session.submit(a_request(1, a_mail(1, html=5)))

    with pytest.raises(TypeError):
        for _ in range(20):
            session.poll(timedelta(seconds=0.1))
    session.close()

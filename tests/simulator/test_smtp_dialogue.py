"""The SMTP port's dialogue: RFC 5321 as far as senders meet it."""

from __future__ import annotations

import base64
import smtplib
import ssl
from collections.abc import Callable

import pytest

from tests.simulator.simulator_process import SimulatorProcess, a_message

Start = Callable[..., SimulatorProcess]
PLAIN_RIGHT = base64.b64encode(b"\0user\0secret").decode()
PLAIN_WRONG = base64.b64encode(b"\0user\0guess").decode()


def test_greets_and_offers_its_extensions(simulator: SimulatorProcess) -> None:
    with simulator.smtp() as talk:
        offered = {line[4:] for line in talk.greet().splitlines()}

        assert talk.banner.startswith("220 ")
        assert {
            "PIPELINING",
            "SIZE 1000000",
            "8BITMIME",
            "SMTPUTF8",
            "ENHANCEDSTATUSCODES",
            "AUTH PLAIN LOGIN",
            "STARTTLS",
        } < offered


def test_takes_a_message_and_journals_it(simulator: SimulatorProcess) -> None:
    with simulator.smtp() as talk:
        reply = talk.deliver(a_message("Hello", "ref-1"))

    (line,) = simulator.journal()
    assert reply == f"250 2.0.0 Ok: queued as {line['request_id']}"
    assert (line["provider"], line["account"]) == ("smtp", "")
    assert (line["message_id"], line["subject"]) == ("ref-1@mail.example.org", "Hello")
    assert (line["to"], line["size"]) == ("anna@example.com", len(a_message("Hello", "ref-1")))


def test_our_reference_header_goes_before_the_message_id(simulator: SimulatorProcess) -> None:
    with simulator.smtp() as talk:
        talk.deliver(b"X-Carillon-Reference: own\r\n" + a_message())

    assert simulator.journal()[0]["message_id"] == "own"


def test_every_recipient_has_a_line(simulator: SimulatorProcess) -> None:
    with simulator.smtp() as talk:
        talk.deliver(a_message(), "a@example.com", "b@example.com")

    assert simulator.recipients() == ["a@example.com", "b@example.com"]


@pytest.mark.parametrize(
    ("header", "subject"),
    [
        ("plain words", "plain words"),
        ("=?utf-8?q?Gr=C3=BC=C3=9Fe_an_alle?=", "Grüße an alle"),
        ("=?UTF-8?B?w4RubmE=?=", "Änna"),
        ("=?utf-8?q?one?=\r\n =?utf-8?q?_two?=", "one two"),
        ("folded\r\n\tsubject", "folded\tsubject"),
        ("=?iso-8859-1?q?caf=E9?= au lait", "café au lait"),
        ("=?no-such-charset?q?x?=", "=?no-such-charset?q?x?="),
        ("=?utf-8?b?A?=", "=?utf-8?b?A?="),
    ],
)
def test_subjects_are_decoded(simulator: SimulatorProcess, header: str, subject: str) -> None:
    with simulator.smtp() as talk:
        talk.deliver(a_message(header))

    assert simulator.journal()[0]["subject"] == subject


def test_pipelined_commands_are_answered_in_their_order(simulator: SimulatorProcess) -> None:
    envelope = b"MAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.com>\r\nDATA\r\n"
    with simulator.smtp() as talk:
        talk.greet()
        talk.write(envelope)
        first = [talk.reply() for _ in range(3)]
        talk.write(a_message(reference="1") + b".\r\n" + envelope)
        second = [talk.reply() for _ in range(4)]
        talk.write(a_message(reference="2") + b".\r\nQUIT\r\n")
        third = [talk.reply() for _ in range(2)]

    assert [reply[:3] for reply in first + second + third] == [
        *("250", "250", "354"),
        *("250", "250", "250", "354"),
        *("250", "221"),
    ]
    references = [line["message_id"] for line in simulator.journal()]
    assert references == ["1@mail.example.org", "2@mail.example.org"]


def test_after_refused_recipients_a_pipelined_data_is_refused_too(
    simulator: SimulatorProcess,
) -> None:
    with simulator.smtp() as talk:
        talk.greet()
        talk.write(b"MAIL FROM:<a@example.org>\r\nRCPT TO:<x@invalid.example>\r\nDATA\r\nRSET\r\n")
        said = [talk.reply()[:9] for _ in range(4)]

    assert said == ["250 2.1.0", "550 5.1.1", "554 5.5.1", "250 2.0.0"]


def test_dots_are_unstuffed_and_the_final_one_is_found_over_many_packets(
    simulator: SimulatorProcess,
) -> None:
    message = b"Subject: dots\r\n\r\n..one\r\n...\r\nno . dot\r\n.\r\n"
    with simulator.smtp() as talk:
        talk.begin()
        for octet in message:
            talk.write(bytes([octet]))
        assert talk.reply().startswith("250")

    assert simulator.journal()[0]["size"] == len(b"Subject: dots\r\n\r\n.one\r\n..\r\nno . dot\r\n")


def test_an_empty_message_ends_at_its_first_dot(simulator: SimulatorProcess) -> None:
    with simulator.smtp() as talk:
        assert talk.deliver(b"").startswith("250")

    assert simulator.journal()[0]["size"] == 0


@pytest.mark.parametrize(
    ("commands", "reply"),
    [
        (["FOO"], "500"),
        ([""], "500"),
        (["EHLO"], "501"),
        (["HELO test.example"], "250"),
        (["MAIL FROM:<a@example.org>"], "503"),
        (["EHLO x", "RCPT TO:<a@example.com>"], "503"),
        (["EHLO x", "DATA"], "503"),
        (["EHLO x", "MAIL FROM:<a@example.org>", "DATA"], "554"),
        (["EHLO x", "MAIL FROM:<a@example.org>", "MAIL FROM:<a@example.org>"], "503"),
        (["EHLO x", "mail from:<>"], "250"),
        (["EHLO x", "MAIL FROM: <a@example.org>"], "250"),
        (["EHLO x", "MAIL FROM:a@example.org"], "501"),
        (["EHLO x", "MAIL TO:<a@example.org>"], "501"),
        (["EHLO x", "MAIL FROM:<not an address>"], "501"),
        (["EHLO x", "MAIL FROM:<a@example.org> SIZE=100 BODY=8BITMIME SMTPUTF8"], "250"),
        (["EHLO x", "MAIL FROM:<a@example.org> SIZE=1000001"], "552"),
        (["EHLO x", "MAIL FROM:<a@example.org> SIZE=x"], "501"),
        (["EHLO x", "MAIL FROM:<a@example.org> RET=FULL"], "555"),
        (["EHLO x", "MAIL FROM:<é@example.org>"], "501"),
        (["EHLO x", "MAIL FROM:<é@example.org> SMTPUTF8"], "250"),
        (["EHLO x", "MAIL FROM:<a@example.org>", "RCPT TO:<a@example.com> NOTIFY=NEVER"], "555"),
        (["EHLO x", "MAIL FROM:<a@example.org>", "RCPT TO:<nobody>"], "501"),
        (["EHLO x", "MAIL FROM:<a@example.org>", "RSET", "RCPT TO:<a@example.com>"], "503"),
        (["NOOP"], "250"),
        (["VRFY anna"], "252"),
        (["EXPN list"], "502"),
        (["HELP"], "214"),
        (["QUIT"], "221"),
    ],
)
def test_the_last_command_is_answered_with(
    simulator: SimulatorProcess, commands: list[str], reply: str
) -> None:
    with simulator.smtp() as talk:
        assert [talk.ask(command) for command in commands][-1].startswith(reply)


def test_quit_closes(simulator: SimulatorProcess) -> None:
    with simulator.smtp() as talk:
        talk.ask("QUIT")
        assert talk.reply() == ""


def test_the_hundred_and_first_recipient_must_wait(simulator: SimulatorProcess) -> None:
    with simulator.smtp() as talk:
        talk.greet()
        talk.ask("MAIL FROM:<a@example.org>")
        said = [talk.ask(f"RCPT TO:<p{number}@example.com>")[:9] for number in range(101)]

    assert said[99:] == ["250 2.1.5", "452 4.5.3"]


def test_a_message_over_the_size_is_read_to_its_end_and_refused(
    simulator: SimulatorProcess,
) -> None:
    line = b"x" * 98 + b"\r\n"
    with simulator.smtp() as talk:
        reply = talk.deliver(a_message() + line * 30_000)
        afterwards = talk.deliver(a_message())

    assert reply.startswith("552 5.3.4")
    assert afterwards.startswith("250")
    assert len(simulator.journal()) == 1


@pytest.mark.parametrize(
    ("body", "reply"),
    [
        ("x" * 998 + "\r\n", "250"),
        ("a\r\n" * 500 + "x" * 999 + "\r\n", "550 5.6.0"),
        ("bare\nfeed\r\n", "550 5.5.2"),
        ("grüße\r\n", "250"),
    ],
)
def test_the_form_of_a_message(simulator: SimulatorProcess, body: str, reply: str) -> None:
    with simulator.smtp() as talk:
        assert talk.deliver(a_message(body=body)).startswith(reply)


def test_without_8bitmime_eight_bits_are_refused(simulator: SimulatorProcess) -> None:
    simulator.smtp_options(offers_8bitmime=False)

    with simulator.smtp() as talk:
        assert "8BITMIME" not in talk.greet()
        assert talk.ask("MAIL FROM:<a@example.org> BODY=8BITMIME").startswith("555")
        assert talk.deliver(a_message(body="grüße\r\n")).startswith("554 5.6.3")
        assert talk.deliver(a_message(body="gr=C3=BC=C3=9Fe\r\n")).startswith("250")


def test_plain_and_login_take_the_right_password_alone(simulator: SimulatorProcess) -> None:
    user, password, wrong = (
        base64.b64encode(word).decode() for word in (b"user", b"secret", b"guess")
    )
    with simulator.smtp() as talk:
        talk.greet()
        assert talk.ask(f"AUTH PLAIN {PLAIN_WRONG}").startswith("535 5.7.8")
        assert talk.ask("AUTH PLAIN !").startswith("501")
        assert talk.ask("AUTH CRAM-MD5").startswith("504")
        assert talk.ask("AUTH LOGIN") == "334 VXNlcm5hbWU6"
        assert talk.ask("*").startswith("501")
        assert talk.ask(f"AUTH LOGIN {user}") == "334 UGFzc3dvcmQ6"
        assert talk.ask(wrong).startswith("535")
        assert talk.ask("AUTH LOGIN") == "334 VXNlcm5hbWU6"
        assert talk.ask(user) == "334 UGFzc3dvcmQ6"
        assert talk.ask(password).startswith("235")
        assert talk.ask(f"AUTH PLAIN {PLAIN_RIGHT}").startswith("503")
        talk.deliver(a_message())

    assert simulator.journal()[0]["account"] == "user"


def test_where_auth_is_required_mail_waits_for_it(simulator: SimulatorProcess) -> None:
    simulator.smtp_options(is_auth_required=True)

    with simulator.smtp() as talk:
        talk.greet()
        assert talk.ask("MAIL FROM:<a@example.org>").startswith("530 5.7.0")
        assert talk.ask("AUTH PLAIN") == "334 "
        assert talk.ask(PLAIN_RIGHT).startswith("235")
        assert talk.ask("MAIL FROM:<a@example.org>").startswith("250")


def test_starttls_encrypts_and_forgets_what_was_said_in_clear(simulator: SimulatorProcess) -> None:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE

    with smtplib.SMTP("127.0.0.1", simulator.smtp_port, timeout=5) as client:
        client.ehlo()
        assert client.starttls(context=context)[0] == 220
        assert client.docmd("MAIL", "FROM:<a@example.org>")[0] == 503
        client.ehlo()
        assert not client.has_extn("starttls")
        client.login("user", "secret")
        client.sendmail("a@example.org", ["b@example.com"], a_message())

    assert simulator.recipients() == ["b@example.com"]


def test_commands_smuggled_in_behind_starttls_are_not_obeyed(simulator: SimulatorProcess) -> None:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE

    with simulator.smtp() as talk:
        talk.greet()
        talk.write(b"STARTTLS\r\nNOOP\r\n")
        assert talk.reply().startswith("220")
        with context.wrap_socket(talk.connection) as encrypted:
            encrypted.sendall(b"EHLO x\r\n")
            assert encrypted.recv(4096).startswith(b"250-")


def test_a_line_without_end_is_cut_off(simulator: SimulatorProcess) -> None:
    with simulator.smtp() as talk:
        talk.write(b"x" * 20_000)
        assert talk.reply().startswith("500 5.5.2")
        assert talk.reply() == ""

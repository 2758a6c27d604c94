"""What the byte templates build is what Python's email package reads."""

from __future__ import annotations

import re
from email import message_from_bytes, policy
from email.header import decode_header, make_header
from email.message import EmailMessage
from email.utils import parseaddr
from typing import cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.answer import AnswerClass
from providers.headers import HeaderRefused
from providers.mime import Letter, LetterBuilder
from providers.mime_headers import envelope_address, phrase, text_value
from providers.protocol import Mail, Sender
from providers.smtp_offer import Offer, read_offer
from providers.unsendable import Unsendable
from tests.providers.provider_builders import SENDER, a_mail

OFFERS = [Offer(), Offer(eight_bit=True), Offer(eight_bit=True, smtputf8=True, size=True)]
BARE = re.compile(rb"\r(?!\n)|(?<!\r)\n")

header_text = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), max_size=300)
body_line = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=60),
    st.sampled_from([".", "..", ".\r\n.", "From me", "x" * 998, "y" * 999, "ü" * 600, " ", "=20"]),
)
body_text = st.lists(body_line, min_size=1, max_size=8).map("\n".join).filter(bool)


def build(mail: Mail, offer: Offer = OFFERS[1], sender: Sender = SENDER) -> Letter:
    return LetterBuilder().build(sender, mail, offer)


def received(letter: Letter) -> bytes:
    """The message as a server keeps it: final dot and stuffing undone (RFC 5321 4.5.2)."""
    lines = letter.data.split(b"\r\n")
    assert lines[-2:] == [b".", b""]
    assert b"." not in lines[:-2], "a lone dot would end the message early"
    return b"".join(line.removeprefix(b".") + b"\r\n" for line in lines[:-2])


def parsed(letter: Letter) -> EmailMessage:
    return message_from_bytes(received(letter), policy=policy.default)


def text_of(part: EmailMessage) -> str:
    content = part.get_payload(decode=True)
    assert isinstance(content, bytes)
    return content.decode().replace("\r\n", "\n")


def as_lines(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


@settings(max_examples=60, deadline=None)
@given(text=body_text, html=body_text, offer=st.sampled_from(OFFERS))
def test_both_bodies_come_back(text: str, html: str, offer: Offer) -> None:
    letter = build(a_mail(text=text, html=html), offer)

    assert not BARE.search(letter.data)
    assert max(map(len, letter.data.split(b"\r\n"))) <= 999  # 998 and a doubled dot
    plain, rich = parsed(letter).iter_parts()
    assert text_of(cast("EmailMessage", plain)) == as_lines(text)
    assert text_of(cast("EmailMessage", rich)) == as_lines(html)


@settings(max_examples=60, deadline=None)
@given(text=body_text, offer=st.sampled_from(OFFERS))
def test_single_body_comes_back(text: str, offer: Offer) -> None:
    message = parsed(build(a_mail(text=text, html=""), offer))

    assert message.get_content_type() == "text/plain"
    lines = as_lines(text)
    assert text_of(message) == lines + ("" if lines.endswith("\n") else "\n")


@settings(max_examples=60, deadline=None)
@given(subject=header_text, name=header_text, own=header_text)
def test_headers_come_back(subject: str, name: str, own: str) -> None:
    sender = Sender(address="news@shop.example", name=own)
    letter = build(a_mail(subject=subject, name=name), OFFERS[0], sender)

    head = received(letter).partition(b"\r\n\r\n")[0]
    assert head.isascii()
    assert max(map(len, head.split(b"\r\n"))) <= 998
    message = parsed(letter)
    assert message["Subject"] == subject
    assert message["To"].addresses[0].addr_spec == "ann1@people.example"
    assert not message.defects
    assert display_name(letter, "To") == name
    assert display_name(letter, "From") == own


def display_name(letter: Letter, field: str) -> str:
    """By the older of Python's parsers: the newer puts spaces between adjacent encoded words."""
    raw = str(message_from_bytes(received(letter))[field]).replace("\r\n", "")
    if raw.startswith("=?"):
        return str(make_header(decode_header(raw.rpartition("<")[0].strip())))
    return parseaddr(raw)[0]


@settings(max_examples=60, deadline=None)
@given(subject=st.text(max_size=60), name=st.text(max_size=60), address=st.text(max_size=60))
def test_nothing_adds_a_header(subject: str, name: str, address: str) -> None:
    try:
        letter = build(a_mail(subject=subject, name=name, address=address), OFFERS[2])
    except Unsendable:
        return

    assert letter.rcpt.count(b"\r\n") == letter.mail.count(b"\r\n") == 1
    assert sorted(parsed(letter).keys()) == [
        "Content-Type", "Date", "From", "List-Unsubscribe", "List-Unsubscribe-Post", "MIME-Version",
        "Message-ID", "Reply-To", "Subject", "To", "X-Carillon-Reference",
    ]  # fmt: skip


def test_message_carries_what_the_contract_says() -> None:
    letter = build(a_mail(3))
    message = parsed(letter)

    assert letter.mail == b"MAIL FROM:<news@shop.example>\r\n"
    assert letter.rcpt == b"RCPT TO:<ann3@people.example>\r\n"
    assert message["From"] == "The Shop <news@shop.example>"
    assert message["Reply-To"] == "help@shop.example"
    assert message["To"] == "Ann 3 <ann3@people.example>"
    assert message["Message-ID"] == "<ref-3@shop.example>"
    assert message["X-Carillon-Reference"] == "ref-3"
    assert message["List-Unsubscribe"] == "<https://shop.example/u/3>"
    assert message["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert message["Date"].datetime.tzinfo
    assert [part.get_content_type() for part in message.iter_parts()] == ["text/plain", "text/html"]


def test_no_unsubscribe_url_no_headers() -> None:
    assert "List-Unsubscribe" not in parsed(build(a_mail(unsubscribe_url="")))


@pytest.mark.parametrize(
    ("text", "offer", "encoding", "option"),
    [
        ("plain", OFFERS[0], "7bit", b""),
        ("plain", OFFERS[1], "7bit", b""),
        ("grün", OFFERS[0], "quoted-printable", b""),
        ("grün", OFFERS[1], "8bit", b" BODY=8BITMIME"),
        ("x" * 999, OFFERS[1], "quoted-printable", b""),
        ("ü" * 499 + "\n" + "ü" * 499, OFFERS[1], "8bit", b" BODY=8BITMIME"),
        ("ü" * 500, OFFERS[1], "quoted-printable", b""),
    ],
)
def test_transfer_encoding_is_the_simplest_that_may_travel(
    text: str, offer: Offer, encoding: str, option: bytes
) -> None:
    letter = build(a_mail(text=text, html=""), offer)

    assert parsed(letter)["Content-Transfer-Encoding"] == encoding
    assert letter.mail == b"MAIL FROM:<news@shop.example>" + option + b"\r\n"


def test_boundary_is_stable_and_never_in_the_text() -> None:
    boundary = parsed(build(a_mail(1))).get_boundary()
    assert boundary

    clash = build(a_mail(1, text=f"--{boundary}--\nmore"))

    assert parsed(build(a_mail(1))).get_boundary() == boundary
    assert (
        text_of(cast("EmailMessage", next(parsed(clash).iter_parts()))) == f"--{boundary}--\nmore"
    )


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"subject": "a\rb"}, AnswerClass.CONTENT_REFUSED),
        ({"name": "a\x1bb"}, AnswerClass.CONTENT_REFUSED),
        ({"text": "a\x00b"}, AnswerClass.CONTENT_REFUSED),
        ({"text": "\ud83d"}, AnswerClass.CONTENT_REFUSED),
        ({"reference": "a@b>"}, AnswerClass.CONTENT_REFUSED),
        ({"unsubscribe_url": "https://x/ y"}, AnswerClass.CONTENT_REFUSED),
        ({"address": "ann"}, AnswerClass.RECIPIENT_REFUSED),
        ({"address": "jörg@b.example"}, AnswerClass.RECIPIENT_REFUSED),
        ({"address": "\ud83d@b.example"}, AnswerClass.RECIPIENT_REFUSED),
    ],
)
def test_what_cannot_be_written_is_refused(changes: dict[str, object], kind: AnswerClass) -> None:
    with pytest.raises(Unsendable) as refused:
        build(a_mail(1, **changes))

    assert refused.value.answer.kind is kind


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("Ann Lee", "Ann Lee"),
        ("Lee, Ann", '"Lee, Ann"'),
        ('Ann "A" Lee', '"Ann \\"A\\" Lee"'),
        ("Jörg", "=?utf-8?B?SsO2cmc=?="),
        ("=?utf-8?Q?evil?=", "=?utf-8?B?PT91dGYtOD9RP2V2aWw/PQ==?="),
    ],
)
def test_display_names(name: str, written: str) -> None:
    assert phrase(name) == written


def test_long_plain_subject_is_folded_not_encoded() -> None:
    subject = "word " * 40 + "end"

    folded = text_value(subject, 9)

    assert folded.replace("\r\n", "") == subject
    assert max(map(len, folded.split("\r\n"))) <= 76


def test_hostile_domain_takes_no_time() -> None:
    with pytest.raises(ValueError, match="not an address"):
        envelope_address("a@" + "a" * 300 + "!")
    with pytest.raises(HeaderRefused):
        text_value("a\nb", 9)


def test_offer_is_read_from_ehlo() -> None:
    offer = read_offer(
        ["me", "PIPELINING", "size 1000", "AUTH LOGIN", "AUTH=PLAIN", "8bitmime", "", "SMTPUTF8"]
    )

    assert offer == Offer(
        pipelining=True,
        eight_bit=True,
        smtputf8=True,
        size=True,
        max_message_bytes=1000,
        mechanisms=frozenset({"LOGIN", "PLAIN"}),
    )

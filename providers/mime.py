"""One e-mail as the bytes that follow DATA, dot-stuffed, and its envelope; by byte pieces, not by
`email.message`, because this runs once a recipient (PERFORMANCE B5).

Nothing in it can end the message early or begin another one (SMTP smuggling, CVE-2023-51764 ff.:
servers disagree about what a lone CR or LF ends): parts are brought to LF, looked through for CR,
then every LF becomes CRLF; the head's lines are counted; dots at line starts are doubled.
"""

from __future__ import annotations

import re
import time
from binascii import b2a_qp
from datetime import UTC, datetime
from email.utils import format_datetime
from hashlib import blake2b
from typing import NamedTuple

from providers.headers import HeaderRefused, refuse_control_characters
from providers.mime_headers import envelope_address, mailbox, text_value
from providers.protocol import Mail, Sender
from providers.smtp_offer import Offer
from providers.unsendable import account_refused, content_refused, recipient_refused

_LONGEST_LINE = 998
_SUBJECT_COLUMN = len("Subject: ")
_REFERENCE = re.compile(r"[A-Za-z0-9._~=+-]{1,200}")
_URL = re.compile(r"[!-;=?-~]{1,900}")


class Letter(NamedTuple):
    """What is written for one message."""

    mail: bytes
    """The MAIL command, with CRLF."""
    rcpt: bytes
    data: bytes
    """The message, dot-stuffed, with the final dot."""


class LetterBuilder:
    """Builds letters; keeps what the letters of one sender have in common."""

    def __init__(self) -> None:
        self._sender: Sender | None = None
        self._envelope = ""
        self._from = ""
        self._domain = ""
        self._second = 0
        self._date = ""

    def build(self, sender: Sender, mail: Mail, offer: Offer) -> Letter:
        """The letter for a server that offers `offer`.

        Raises Unsendable: account_refused for a sender, recipient_refused for an address,
        content_refused for a message that cannot be written for this server.
        """
        if sender is not self._sender:
            self._take(sender)
        try:
            address = envelope_address(mail.address)
        except ValueError as error:
            raise recipient_refused("address", "The address cannot be written.") from error
        try:
            head = self._head(mail, address)
        except HeaderRefused as error:
            raise content_refused("header", f"A header value {error}.") from error
        needs_utf8 = self._needs_utf8(address, offer)
        body, is_eight_bit = _body(mail, offer)
        data = _with_final_dot(head.encode(), body)
        size = len(data)
        if offer.max_message_bytes and size > offer.max_message_bytes:
            raise content_refused("size", "The message is larger than the server takes.")
        options = f" SIZE={size}" if offer.size else ""
        if is_eight_bit or (needs_utf8 and offer.eight_bit):
            options += " BODY=8BITMIME"
        if needs_utf8:
            options += " SMTPUTF8"
        return Letter(
            f"MAIL FROM:<{self._envelope}>{options}\r\n".encode(),
            f"RCPT TO:<{address}>\r\n".encode(),
            data,
        )

    def _take(self, sender: Sender) -> None:
        try:
            envelope = envelope_address(sender.address)
            lines = f"From: {mailbox(sender.name, envelope)}\r\n"
            if sender.reply_to:
                lines += f"Reply-To: {envelope_address(sender.reply_to)}\r\n"
        except ValueError as error:
            raise account_refused("sender", "The sender cannot be written in headers.") from error
        self._sender, self._envelope, self._from = sender, envelope, lines
        self._domain = envelope.rpartition("@")[2]

    def _needs_utf8(self, address: str, offer: Offer) -> bool:
        """Whether SMTPUTF8 must be asked for. Raises Unsendable if it is not offered."""
        if address.isascii() and self._from.isascii():
            return False
        if offer.smtputf8:
            return True
        if not self._from.isascii():
            raise account_refused("SMTPUTF8", "The server takes no sender outside ASCII.")
        raise recipient_refused("SMTPUTF8", "The server takes no address outside ASCII.")

    def _head(self, mail: Mail, address: str) -> str:
        reference = mail.reference
        if not _REFERENCE.fullmatch(reference):
            raise HeaderRefused("is no reference")
        unsubscribe = ""
        if mail.unsubscribe_url:
            if not _URL.fullmatch(mail.unsubscribe_url):
                refuse_control_characters(mail.unsubscribe_url)
                raise HeaderRefused("is no URL, or one of more than 900 characters")
            unsubscribe = (
                f"List-Unsubscribe: <{mail.unsubscribe_url}>\r\n"
                "List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n"
            )
        return (
            f"{self._from}To: {mailbox(mail.name, address)}\r\n"
            f"Subject: {text_value(mail.subject, _SUBJECT_COLUMN)}\r\n"
            f"Date: {self._now()}\r\n"
            f"Message-ID: <{reference}@{self._domain}>\r\n"
            f"X-Carillon-Reference: {reference}\r\n"
            f"{unsubscribe}MIME-Version: 1.0\r\n"
        )

    def _now(self) -> str:
        second = int(time.time())
        if second != self._second:
            self._second = second
            self._date = format_datetime(datetime.fromtimestamp(second, UTC))
        return self._date


def _body(mail: Mail, offer: Offer) -> tuple[bytes, bool]:
    """The Content-Type of the whole and all that follows, and whether a part is 8bit."""
    if not mail.html or not mail.text:
        kind, content = ("plain", mail.text) if not mail.html else ("html", mail.html)
        encoding, data = _encoded(content, offer)
        return _part(kind, encoding, data), encoding == b"8bit"
    text_encoding, text = _encoded(mail.text, offer)
    html_encoding, html = _encoded(mail.html, offer)
    boundary = _boundary(mail.reference, text, html)
    whole = b"".join(
        (
            b'Content-Type: multipart/alternative; boundary="' + boundary + b'"\r\n\r\n--',
            boundary,
            b"\r\n",
            _part("plain", text_encoding, text),
            b"\r\n--",
            boundary,
            b"\r\n",
            _part("html", html_encoding, html),
            b"\r\n--",
            boundary,
            b"--\r\n",
        )
    )
    return whole, b"8bit" in (text_encoding, html_encoding)


def _part(kind: str, encoding: bytes, data: bytes) -> bytes:
    return b"Content-Type: text/%s; charset=utf-8\r\nContent-Transfer-Encoding: %s\r\n\r\n%s" % (
        kind.encode(),
        encoding,
        data,
    )


def _encoded(text: str, offer: Offer) -> tuple[bytes, bytes]:
    """Transfer encoding and bytes, lines ended by CRLF: 7bit, else 8bit if offered, else QP."""
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    try:
        data = text.encode()
    except UnicodeEncodeError as error:  # half a surrogate pair
        raise content_refused("encoding", "The text is not valid Unicode.") from error
    if b"\0" in data:
        raise content_refused("NUL", "The text holds a NUL character.")
    encoding = b"quoted-printable"
    if _has_short_lines(data):
        encoding = b"7bit" if text.isascii() else b"8bit" if offer.eight_bit else encoding
    if encoding == b"quoted-printable":
        data = b2a_qp(data, istext=True)  # ends its soft line breaks as the text does, here by LF
    if b"\r" in data:
        raise content_refused("newline", "The message holds a bare CR.")
    return encoding, data.replace(b"\n", b"\r\n")


def _has_short_lines(data: bytes) -> bool:
    """Whether no line exceeds 998 octets; looks at one line in about a thousand octets."""
    position = 0
    while len(data) - position > _LONGEST_LINE:
        line_end = data.rfind(b"\n", position, position + _LONGEST_LINE + 1)
        if line_end < 0:
            return False
        position = line_end + 1
    return True


def _boundary(reference: str, text: bytes, html: bytes) -> bytes:
    """Equal on every retry of a message, and certainly in neither part."""
    boundary = b"=_" + blake2b(reference.encode(), digest_size=12).hexdigest().encode()
    while boundary in text or boundary in html:
        boundary += b"_"
    return boundary


def _with_final_dot(head: bytes, body: bytes) -> bytes:
    lines = head.count(b"\r\n")
    if head.count(b"\r") != lines or head.count(b"\n") != lines:
        raise content_refused("newline", "The head holds a bare CR or LF.")
    if b"\n." in body:
        body = body.replace(b"\n.", b"\n..")
    return head + body + (b".\r\n" if body.endswith(b"\n") else b"\r\n.\r\n")

"""What the SMTP stand-in reads of a message: a few headers now, all of it when somebody looks."""

from __future__ import annotations

import binascii
import email
import email.policy
import re
from collections.abc import Sequence
from dataclasses import dataclass
from email.message import EmailMessage

from simulator.mailbox import Rendered

MAX_LINE_OCTETS = 998
KEPT_BYTES = 1024 * 1024
_HEADER = re.compile(
    rb"^(subject|message-id|x-carillon-reference):((?:[^\r]+|\r\n[ \t])*)",
    re.IGNORECASE | re.MULTILINE,
)
_ENCODED_WORD = re.compile(rb"=\?([A-Za-z0-9_-]+)(?:\*[A-Za-z-]+)?\?([bBqQ])\?([^? ]*)\?=")
_BETWEEN_WORDS = re.compile(rb"(\?=)[ \t]+(?==\?)")


@dataclass(frozen=True, slots=True)
class Named:
    """The headers that the journal names a message by."""

    reference: str
    subject: str


def named_by(headers: bytes) -> Named:
    """Reference (ours, else the Message-ID without its brackets) and subject, decoded."""
    found = {name.lower(): value for name, value in _HEADER.findall(headers)}
    own = found.get(b"x-carillon-reference", b"").strip()
    message_id = found.get(b"message-id", b"").strip().removeprefix(b"<").removesuffix(b">")
    return Named(
        reference=(own or message_id).decode("utf-8", "replace"),
        subject=decoded(found.get(b"subject", b"").replace(b"\r\n", b"").strip()),
    )


def decoded(value: bytes) -> str:
    """An unfolded header value with its RFC 2047 words decoded; what is wrong stays as it is."""
    if b"=?" not in value:
        return value.decode("utf-8", "replace")
    value = _BETWEEN_WORDS.sub(rb"\1", value)
    pieces, end = [], 0
    for word in _ENCODED_WORD.finditer(value):
        pieces += [value[end : word.start()].decode("utf-8", "replace"), _decoded_word(word)]
        end = word.end()
    return "".join(pieces) + value[end:].decode("utf-8", "replace")


def _decoded_word(word: re.Match[bytes]) -> str:
    charset, encoding, coded = word.groups()
    try:
        is_base64 = encoding in b"bB"
        raw = binascii.a2b_base64(coded) if is_base64 else binascii.a2b_qp(coded, header=True)
        return raw.decode(charset.decode(), "replace")
    except (binascii.Error, LookupError):
        return word.group().decode("ascii", "replace")


def fault_of_form(body: bytes | bytearray, *, takes_8bit: bool) -> str:
    """The SMTP answer to a message that breaks the rules of its form; empty when it is well-formed.

    Strict as Exim and today's Postfix are: no bare line feeds, no line above 998 octets, no 8-bit
    octets where 8BITMIME was not offered. `body` ends with CRLF.
    """
    if body.count(b"\n") != body.count(b"\r\n"):
        return "550 5.5.2 bare line feed in the message"
    if not takes_8bit and not body.isascii():
        return "554 5.6.3 8-bit octets, and 8BITMIME was not offered"
    start, end = 0, len(body)
    while end - start > MAX_LINE_OCTETS + 2:
        newline = body.rfind(b"\n", start, start + MAX_LINE_OCTETS + 2)
        if newline < 0:
            return f"550 5.6.0 a line is longer than {MAX_LINE_OCTETS} octets"
        start = newline + 1
    return ""


class RawMessage:
    """A message as it came, of which the first MiB is kept."""

    def __init__(self, raw: bytes, sender: str, recipients: Sequence[str]) -> None:
        self._raw = raw[:KEPT_BYTES]
        self._envelope = [("MAIL FROM", sender), *(("RCPT TO", to) for to in recipients)]

    def rendered(self, index: int) -> Rendered:
        """The same for every recipient: `index` does not matter."""
        message = email.message_from_bytes(self._raw, policy=email.policy.default)
        return Rendered(
            headers=self._envelope + [(name, str(value)) for name, value in message.items()],
            text=_part(message, "plain"),
            html=_part(message, "html"),
            attachments=[part.get_filename() or "" for part in message.iter_attachments()],
        )


def _part(message: EmailMessage, kind: str) -> str:
    """The body of that kind; a charset nobody knows or a broken encoding gives what can be had."""
    part = message.get_body((kind,))
    if part is None:
        return ""
    try:
        return str(part.get_content())
    except (LookupError, ValueError):
        return str(part.get_payload())

"""Header fields as bytes: RFC 2047 encoded words, quoted names, folding below 998 octets.

`email.message.EmailMessage` costs 1.8 ms a message; this and `mime` cost a hundredth of it.
Every value that comes in was or is here refused if it holds a control character.
"""

from __future__ import annotations

import re
from binascii import b2a_base64
from functools import lru_cache

from providers.headers import ascii_domain, refuse_control_characters

_LINE = 76
_LONGEST_WORD = 900
# 45 octets are 60 of base64; with =?utf-8?B? and ?= the word stays below RFC 2047's 75.
_OCTETS_A_WORD = 45

_PLAIN = re.compile(r"[!-~]+(?: [!-~]+)*")
_ATOMS = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?: [A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")
_LOCAL = re.compile(r"[^\x00-\x20\x7f()<>@,;:\\\".\[\]]+(?:\.[^\x00-\x20\x7f()<>@,;:\\\".\[\]]+)*")
_DOMAIN = re.compile(r"[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*|\[[A-Za-z0-9.:]+\]")
_LONGEST_ADDRESS = 320


@lru_cache(maxsize=4096)
def text_value(value: str, first_column: int) -> str:
    """An unstructured value (Subject), folded and pure ASCII; `first_column` is where it begins.

    Raises HeaderRefused for control characters.
    """
    refuse_control_characters(value)
    if not value:
        return ""
    if "=?" in value or not _PLAIN.fullmatch(value):
        return _encoded_words(value)
    if first_column + len(value) <= _LINE:
        return value
    words = value.split(" ")
    return _folded(words, first_column) if len(max(words, key=len)) <= _LONGEST_WORD else (
        _encoded_words(value)
    )  # fmt: skip


@lru_cache(maxsize=4096)
def phrase(name: str) -> str:
    """A display name: as it is, quoted or as encoded words. Raises HeaderRefused."""
    refuse_control_characters(name)
    if "=?" in name or not name.isascii() or len(name) > _LONGEST_WORD:
        return _encoded_words(name)
    if _ATOMS.fullmatch(name):
        return name
    escaped = name.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def mailbox(name: str, address: str) -> str:
    """`Name <address>`, folded between the two if long. The address is already checked."""
    if not name:
        return address
    written = phrase(name)
    gap = " " if len(written) + len(address) < _LINE - 12 else "\r\n "
    return f"{written}{gap}<{address}>"


def envelope_address(address: str) -> str:
    """The address with its domain in ASCII; the local part may still be Unicode.

    Raises ValueError for what is no `local@domain` or cannot stand between < and >: no quoted local
    parts, no spaces, no control characters.
    """
    local, at, domain = address.rpartition("@")
    if not domain.isascii():
        domain = ascii_domain(domain)
    if not at or not _LOCAL.fullmatch(local) or not _DOMAIN.fullmatch(domain):
        raise ValueError("not an address")
    if not local.isascii():
        refuse_control_characters(local)
        if not local.isprintable():
            raise ValueError("not an address")
    if len(local) + len(domain) >= _LONGEST_ADDRESS:
        raise ValueError("not an address")
    return f"{local}@{domain}"


def _encoded_words(value: str) -> str:
    """RFC 2047: base64 words of whole characters, one a line; the gaps between them do not count."""
    if len(value.encode()) <= _OCTETS_A_WORD:
        return _encoded_word(value)
    words, begin, size = [], 0, 0
    for position, character in enumerate(value):
        width = len(character.encode())
        if size + width > _OCTETS_A_WORD:
            words.append(value[begin:position])
            begin, size = position, 0
        size += width
    words.append(value[begin:])
    return "\r\n ".join(map(_encoded_word, words))


def _encoded_word(piece: str) -> str:
    return f"=?utf-8?B?{b2a_base64(piece.encode(), newline=False).decode()}?="


def _folded(words: list[str], column: int) -> str:
    lines, line = [], ""
    for word in words:
        if line and column + len(line) + 1 + len(word) > _LINE:
            lines.append(line)
            line, column = word, 1
        else:
            line = f"{line} {word}" if line else word
    return "\r\n ".join([*lines, line])

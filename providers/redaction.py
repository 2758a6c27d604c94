"""Vendors' words for operators, without the addresses and contents they like to quote."""

from __future__ import annotations

import re

MAX_CHARACTERS = 200

_ADDRESS = re.compile(r"[^\s<>()\[\]\"',;:]+@[^\s<>()\[\]\"',;:]+")
_NOT_TEXT = re.compile(r"[\x00-\x20\x7f-\x9f\u2028\u2029]+")
_NUMBER = re.compile(r"\+?\d{6,}")
_SHORTEST_HIDDEN = 3


def without_addresses(text: str, *hidden: str) -> str:
    """`text` as one line of at most 200 characters, every address in it replaced by <address>.

    `hidden` are further strings to leave out wherever they stand (the recipient's name, the local
    part of the address); shorter ones than 3 characters would only spoil the sentence.
    """
    line = _ADDRESS.sub("<address>", _NOT_TEXT.sub(" ", text).strip())
    for secret in hidden:
        if len(secret) >= _SHORTEST_HIDDEN:
            line = re.sub(rf"(?<!\w){re.escape(secret)}(?!\w)", "…", line, flags=re.IGNORECASE)
    return line if len(line) <= MAX_CHARACTERS else line[: MAX_CHARACTERS - 1] + "…"


def without_numbers(text: str) -> str:
    """`text` with everything in it that may be a phone number replaced by <number>."""
    return _NUMBER.sub("<number>", text)

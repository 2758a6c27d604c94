"""Unsubscribe tokens: they name a message, and nobody else can make one."""

from __future__ import annotations

import base64

import pytest

from domain.identifier import Reference, encode_reference
from domain.unsubscribe_token import make_token, read_token

SECRET = b"a secret"
SEND_ID = (1 << 62) + 12345


def test_a_token_names_its_message() -> None:
    token = make_token(SECRET, SEND_ID, 999_999)

    assert read_token([SECRET], token) == Reference(SEND_ID, 999_999, 1, 0)


def test_a_token_is_the_same_on_every_retry_and_safe_in_a_path() -> None:
    tokens = {make_token(SECRET, SEND_ID, 7) for _ in range(3)}

    assert len(tokens) == 1
    assert all(letter.isalnum() or letter in "-_" for letter in tokens.pop())


def test_an_older_secret_of_the_ring_still_reads() -> None:
    token = make_token(b"old", SEND_ID, 7)

    assert read_token([b"new", b"old"], token) == Reference(SEND_ID, 7)
    assert read_token([b"new"], token) is None


@pytest.mark.parametrize("byte", range(32))
def test_a_token_with_any_byte_changed_is_refused(byte: int) -> None:
    packed = bytearray(base64.urlsafe_b64decode(make_token(SECRET, SEND_ID, 7) + "="))
    packed[byte] ^= 1

    assert read_token([SECRET], base64.urlsafe_b64encode(packed).decode()[:43]) is None


@pytest.mark.parametrize(
    "token",
    ["", "x", "ä" * 43, "*" * 43, "A" * 43, "A" * 44, encode_reference(SEND_ID, 7), "-" * 43],
)
def test_what_is_no_token_is_refused(token: str) -> None:
    assert read_token([SECRET], token) is None


def test_no_secret_reads_nothing() -> None:
    assert read_token([], make_token(SECRET, SEND_ID, 7)) is None

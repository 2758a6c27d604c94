"""SMTP AUTH, the mechanisms PLAIN and LOGIN, as a conversation that knows no connection."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Generator
from typing import NamedTuple


class Credentials(NamedTuple):
    user: str
    password: str


Conversation = Generator[bytes, bytes, Credentials | None]
"""Yields what the server says, is sent what the client answers, returns what was learnt."""


def conversation(mechanism: bytes, initial: bytes) -> Conversation:
    """Credentials, or None when an answer is malformed. Raises ValueError for another mechanism."""
    match mechanism.upper():
        case b"PLAIN":
            return _plain(initial)
        case b"LOGIN":
            return _login(initial)
        case _:
            raise ValueError("unknown mechanism")


def _plain(initial: bytes) -> Conversation:
    answer = initial or (yield b"334 ")
    fields = (_from_base64(answer) or "").split("\0")
    return Credentials(fields[1], fields[2]) if len(fields) == 3 else None


def _login(initial: bytes) -> Conversation:
    user = _from_base64(initial or (yield b"334 VXNlcm5hbWU6"))
    password = _from_base64((yield b"334 UGFzc3dvcmQ6"))
    return None if user is None or password is None else Credentials(user, password)


def _from_base64(answer: bytes) -> str | None:
    try:
        return base64.b64decode(answer, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return None

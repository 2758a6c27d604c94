"""Tokens of unsubscribe links: they name a message by its reference, in 43 letters."""

from __future__ import annotations

from collections.abc import Iterable

from domain.identifier import Reference
from domain.signed_token import SignedToken

_TOKEN = SignedToken(b"carillon/unsubscribe/1", "QIBB")


def make_token(secret: bytes, send_id: int, ordinal: int, step: int = 1, part: int = 0) -> str:
    """The token of a message's unsubscribe link, the same each time."""
    return _TOKEN.make(secret, send_id, ordinal, step, part)


def read_token(secrets: Iterable[bytes], token: str) -> Reference | None:
    """The delivery that the token names; None unless one of the secrets signed it."""
    numbers = _TOKEN.read(secrets, token)
    return None if numbers is None else Reference(*numbers)

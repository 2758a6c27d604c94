"""Tokens of links: a few numbers, signed, in URL-safe letters. They hold no address and never expire.

version ‖ key id ‖ numbers ‖ 16 bytes of HMAC-SHA256. The signing key is derived for the purpose alone,
so no other signature of the same secret is taken for a token. The key id comes from the secret too:
a secret is replaced by putting the new one first, without numbering.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import struct
from collections.abc import Iterable

_VERSION = 1
_MAC_BYTES = 16


class SignedToken:
    """The tokens of one purpose."""

    def __init__(self, purpose: bytes, numbers: str) -> None:
        """`numbers`: their sizes, in the letters of `struct`."""
        self._purpose = purpose
        self._signed = struct.Struct(f">BB{numbers}")
        self._length = -(-(self._signed.size + _MAC_BYTES) * 4 // 3)
        self._padding = "=" * (-self._length % 4)
        self._pack = self._signed.pack
        self._keys: dict[bytes, tuple[bytes, int]] = {}

    def make(self, secret: bytes, *numbers: int) -> str:
        """The token of these numbers, the same each time."""
        key, key_id = self._keys.get(secret) or self._derive(secret)
        signed = self._pack(_VERSION, key_id, *numbers)
        mac = hmac.digest(key, signed, "sha256")[:_MAC_BYTES]
        return base64.urlsafe_b64encode(signed + mac)[: self._length].decode()

    def read(self, secrets: Iterable[bytes], token: str) -> list[int] | None:
        """The numbers of the token; None unless one of the secrets signed it.

        The signature is compared in constant time.
        """
        if len(token) != self._length or not token.isascii():
            return None
        try:
            packed = base64.b64decode(token + self._padding, altchars=b"-_", validate=True)
        except binascii.Error:
            return None
        signed, mac = packed[: self._signed.size], packed[self._signed.size :]
        version, key_id, *numbers = self._signed.unpack(signed)
        if version != _VERSION:
            return None
        for secret in secrets:
            key, its_id = self._keys.get(secret) or self._derive(secret)
            expected = hmac.digest(key, signed, "sha256")[:_MAC_BYTES]
            if its_id == key_id and hmac.compare_digest(mac, expected):
                return numbers
        return None

    def _derive(self, secret: bytes) -> tuple[bytes, int]:
        """The key for this purpose, and its id of one byte. Two secrets may share an id: each is tried."""
        key = hmac.digest(secret, self._purpose, "sha256")
        return self._keys.setdefault(secret, (key, hmac.digest(key, b"key id", "sha256")[0]))

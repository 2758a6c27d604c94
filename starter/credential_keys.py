"""The keys that credentials are kept under: AES-256-GCM, from CARILLON_CREDENTIAL_KEYS."""

from __future__ import annotations

import base64
import binascii
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from settings import Settings, SettingsError

KEY_BYTES = 32
NONCE_BYTES = 12
"""Random ones: NIST SP 800-38D allows 2^32 of them under one key."""
_ID = re.compile(r"[A-Za-z0-9._-]{1,32}")
_VARIABLE = "CARILLON_CREDENTIAL_KEYS"


class CredentialUnreadable(Exception):
    """Its key is not among those given, or the row was changed by hand; the message is one sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRing:
    """The keys by id. New credentials are sealed under the current one, old ones opened by theirs."""

    keys: Mapping[str, bytes] = field(repr=False)
    current: str
    """Empty: there are no keys."""

    def seal(self, plain: bytes, bound_to: bytes) -> tuple[str, bytes]:
        """The current key's id, and nonce with ciphertext. It opens again only with the same
        `bound_to`. Raises CredentialUnreadable where no key is given."""
        if not self.current:
            raise CredentialUnreadable(
                f"Credentials are stored encrypted, and {_VARIABLE} holds no key:"
                " set it to ID:KEY with a key of `openssl rand -base64 32`."
            )
        nonce = os.urandom(NONCE_BYTES)
        return self.current, nonce + AESGCM(self.keys[self.current]).encrypt(nonce, plain, bound_to)

    def open(self, key_id: str, sealed: bytes, bound_to: bytes) -> bytes:
        """What was sealed. Raises CredentialUnreadable."""
        key = self.keys.get(key_id)
        if key is None:
            raise CredentialUnreadable(f"{_VARIABLE} holds no key '{key_id}'.")
        try:
            return AESGCM(key).decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], bound_to)
        except (InvalidTag, ValueError) as error:
            raise CredentialUnreadable(
                f"The key '{key_id}' of {_VARIABLE} does not open it: it is another key of that"
                " name, or the row was changed."
            ) from error


def key_ring(settings: Settings) -> KeyRing:
    """The keys of the settings, `id:base64` with commas or lines between them, the first the current
    one. Raises SettingsError with one sentence, which holds no key."""
    keys: dict[str, bytes] = {}
    for number, part in enumerate(_parts(settings.credential_keys.get_secret_value()), 1):
        key_id, colon, encoded = part.partition(":")
        if not colon or not _ID.fullmatch(key_id):
            raise SettingsError(f"{_VARIABLE}: key number {number} must be ID:BASE64")
        if key_id in keys:
            raise SettingsError(f"{_VARIABLE}: the id '{key_id}' is there twice")
        keys[key_id] = _decoded(key_id, encoded)
    return KeyRing(keys=keys, current=next(iter(keys), ""))


def _parts(text: str) -> list[str]:
    return [part for part in re.split(r"[,\s]+", text) if part]


def _decoded(key_id: str, encoded: str) -> bytes:
    try:
        key = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != KEY_BYTES:
        raise SettingsError(
            f"{_VARIABLE}: the key '{key_id}' must be {KEY_BYTES} bytes as base64,"
            " as `openssl rand -base64 32` makes them"
        )
    return key

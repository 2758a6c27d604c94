"""The key under which suppressed addresses of erased people are kept as hashes."""

from __future__ import annotations

import hmac

_PURPOSE = b"carillon/suppression/1"


def address_key(secret: bytes) -> str:
    """64 hexadecimal letters, derived from the link secret for this purpose alone.

    It is kept outside the database: who has only the rows cannot try addresses against the hashes.
    """
    return hmac.digest(secret, _PURPOSE, "sha256").hex()

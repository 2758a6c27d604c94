"""Standard Webhooks 1.0.0, signature `v1`: HMAC-SHA256 over id, time and the very bytes sent.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
No endpoint's secret is stored: it is derived from one master and the endpoint's URL, or of an
endpoint for events its id and generation, and whoever owns the endpoint is shown it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Sequence
from datetime import datetime, timedelta

SECRET_PREFIX = "whsec_"  # noqa: S105  # how secrets begin, not one
VERSION = "v1"
TOLERANCE = timedelta(minutes=5)
"""How old, or how far in the future, a receiver lets a message be."""


def endpoint_secret(master: str, url: str) -> str:
    """The secret of the endpoint at `url`, as its owner configures it: `whsec_` and base64."""
    return _derived(master, f"webhook:{url}")


def event_secret(master: str, endpoint: str, generation: int) -> str:
    """The secret of an endpoint for events, whk_…: of the id, as two teams may name one URL."""
    return _derived(master, f"events:{endpoint}/{generation}")


def _derived(master: str, name: str) -> str:
    key = hmac.digest(master.encode(), name.encode(), hashlib.sha256)
    return SECRET_PREFIX + base64.b64encode(key).decode()


def sign(secrets: Sequence[str], message_id: str, timestamp: int, body: bytes) -> str:
    """The value of `webhook-signature`: one signature for each secret, the newest first.

    `timestamp`: seconds since 1970, as in `webhook-timestamp`. Raises ValueError for a secret that
    is not base64.
    """
    signed = _signed(message_id, str(timestamp), body)
    return " ".join(f"{VERSION},{_signature(_key(secret), signed)}" for secret in secrets)


def verify(
    secrets: Sequence[str],
    headers: tuple[str, str, str],
    body: bytes,
    *,
    now: datetime,
    tolerance: timedelta = TOLERANCE,
) -> bool:
    """Whether one of the secrets made one of the signatures, and not too long ago.

    `headers`: the values of webhook-id, webhook-timestamp and webhook-signature. Whatever is
    malformed is not verified. Raises ValueError for a secret that is not base64.
    """
    message_id, timestamp, given = headers
    if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= 12):
        return False
    if abs(now.timestamp() - int(timestamp)) > tolerance.total_seconds():
        return False
    signed = _signed(message_id, timestamp, body)
    wanted = [_signature(_key(secret), signed).encode() for secret in secrets]
    # Compared in full, each with each: the time it takes tells nothing.
    matches = [
        hmac.compare_digest(signature.encode(), one)
        for version, _, signature in (word.partition(",") for word in given.split())
        if version == VERSION
        for one in wanted
    ]
    return any(matches)


def _signed(message_id: str, timestamp: str, body: bytes) -> bytes:
    return f"{message_id}.{timestamp}.".encode() + body


def _signature(key: bytes, signed: bytes) -> str:
    return base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()


def _key(secret: str) -> bytes:
    try:
        return base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    except binascii.Error:
        raise ValueError("A webhook secret is whsec_ and base64.") from None

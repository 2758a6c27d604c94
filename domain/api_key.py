"""API keys: `crl_live_<8 letters>_<43 letters>`. The letters in front find the row, the rest is secret."""

from __future__ import annotations

import hmac
import re
import secrets
from dataclasses import dataclass, field
from enum import StrEnum

_PURPOSE = b"carillon/api-key/1"
_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_LOCATOR_LENGTH = 8
_FORM = re.compile(r"crl_(?P<mode>live|test)_(?P<locator>[0-9a-z]{8})_(?P<secret>[\w-]{43})", re.A)


class Scope(StrEnum):
    """What a key may do. `admin` may do everything."""

    ADMIN = "admin"
    MESSAGES_READ = "messages:read"
    MESSAGES_SEND = "messages:send"
    CAMPAIGNS_READ = "campaigns:read"
    CAMPAIGNS_WRITE = "campaigns:write"
    RECIPIENTS_READ = "recipients:read"
    RECIPIENTS_WRITE = "recipients:write"
    TOPICS_READ = "topics:read"
    TOPICS_WRITE = "topics:write"
    TEMPLATES_READ = "templates:read"
    TEMPLATES_WRITE = "templates:write"
    EVENTS_READ = "events:read"
    EVENTS_WRITE = "events:write"
    SEQUENCES_READ = "sequences:read"
    SEQUENCES_WRITE = "sequences:write"
    SUPPRESSIONS_READ = "suppressions:read"
    SUPPRESSIONS_WRITE = "suppressions:write"
    ACCOUNTS_READ = "accounts:read"
    ACCOUNTS_WRITE = "accounts:write"
    HOLDS_READ = "holds:read"
    HOLDS_WRITE = "holds:write"
    WEBHOOKS_READ = "webhooks:read"
    WEBHOOKS_WRITE = "webhooks:write"
    AUDIT_READ = "audit:read"
    KEYS_READ = "keys:read"
    KEYS_WRITE = "keys:write"


OF_LIVE_KEYS = frozenset(
    {
        Scope.TEMPLATES_WRITE,
        Scope.TOPICS_WRITE,
        Scope.SEQUENCES_WRITE,
        Scope.SUPPRESSIONS_WRITE,
        Scope.ACCOUNTS_WRITE,
        Scope.HOLDS_WRITE,
        Scope.WEBHOOKS_WRITE,
        Scope.KEYS_WRITE,
    }
)
"""What these change, real sending depends on: a test key changes none of it, whatever its scopes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretKey:
    """A key in full. It is shown once and stored nowhere."""

    is_test: bool
    locator: str
    text: str = field(repr=False)


def make_key(*, is_test: bool) -> SecretKey:
    """A new key; 256 bits of it are secret."""
    locator = "".join(secrets.choice(_ALPHABET) for _ in range(_LOCATOR_LENGTH))
    mode = "test" if is_test else "live"
    return SecretKey(
        is_test=is_test,
        locator=locator,
        text=f"crl_{mode}_{locator}_{secrets.token_urlsafe(32)}",
    )


def read_key(given: str) -> SecretKey | None:
    """The key that the text has the form of; None: it has none. Whether it is good the row tells."""
    found = _FORM.fullmatch(given)
    if found is None:
        return None
    return SecretKey(is_test=found["mode"] == "test", locator=found["locator"], text=given)


def digest_of(secret: bytes, key: SecretKey) -> str:
    """What is stored of a key: who has only the rows cannot try keys against it.

    `secret` is the setting's; the hash's key is derived from it for this purpose alone.
    """
    hash_key = hmac.digest(secret, _PURPOSE, "sha256")
    return hmac.digest(hash_key, key.text.encode(), "sha256").hex()


def is_same(digest: str, other: str) -> bool:
    """Whether two digests are equal, in constant time."""
    return hmac.compare_digest(digest, other)


def shown_prefix(key_locator: str, *, is_test: bool) -> str:
    """What lists show of a key: enough to know it by."""
    return f"crl_{'test' if is_test else 'live'}_{key_locator}_…"

"""Ids as the outside sees them: a prefix and the key in base 32; and a message's reference.

Keys are 64-bit and time-ordered; JavaScript loses numbers above 2**53, so none leaves as a number.
"""

from __future__ import annotations

import base64
import struct
from typing import NamedTuple

SEND_PREFIX = "snd_"
RECIPIENT_PREFIX = "rcp_"
HOLD_PREFIX = "hld_"
GROUP_PREFIX = "grp_"
ITEM_PREFIX = "itm_"
MESSAGE_PREFIX = "msg_"
KEY_PREFIX = "key_"
SUPPRESSION_PREFIX = "sup_"
EVENT_PREFIX = "evt_"
CONTACT_PREFIX = "cpt_"
IMPORT_PREFIX = "imp_"
RULE_PREFIX = "rul_"
WEBHOOK_PREFIX = "whk_"
WEBHOOK_DELIVERY_PREFIX = "whd_"

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_DIGITS = {letter: digit for digit, letter in enumerate(_ALPHABET)}
_LENGTH = 13
_REFERENCE = struct.Struct(">QIBB")


class BadIdentifier(ValueError):
    """Not an id of ours; the message is one sentence."""


def public_id(prefix: str, key: int) -> str:
    """`prefix` and 13 letters for a key from 0 to 2**63 - 1; sorts as the keys do."""
    letters = []
    for _ in range(_LENGTH):
        key, digit = divmod(key, 32)
        letters.append(_ALPHABET[digit])
    return prefix + "".join(reversed(letters))


def key_of(prefix: str, given: str) -> int:
    """The key inside a public id. Raises BadIdentifier for anything else."""
    body = given.removeprefix(prefix)
    if not given.startswith(prefix) or len(body) != _LENGTH or set(body) - set(_DIGITS):
        raise BadIdentifier(f"'{given}' is not an id of the form {prefix}…")
    key = 0
    for letter in body:
        key = key * 32 + _DIGITS[letter]
    if key >= 1 << 63:
        raise BadIdentifier(f"'{given}' is not an id of the form {prefix}…")
    return key


def message_id(send_id: int, ordinal: int) -> str:
    """The id of a send's message outside: the letters of its send, then those of its ordinal."""
    return public_id(MESSAGE_PREFIX, send_id) + public_id("", ordinal).lstrip("0")


def message_of(given: str) -> tuple[int, int]:
    """Send and ordinal inside a message's id. Raises BadIdentifier for anything else."""
    end = len(MESSAGE_PREFIX) + _LENGTH
    ordinal = given[end:]
    if not ordinal or ordinal.startswith("0") or len(ordinal) > _LENGTH:
        raise BadIdentifier(f"'{given}' is not an id of the form {MESSAGE_PREFIX}…")
    key = key_of("", ordinal.rjust(_LENGTH, "0"))
    if key >= 1 << 31:
        raise BadIdentifier(f"'{given}' is not an id of the form {MESSAGE_PREFIX}…")
    return key_of(MESSAGE_PREFIX, given[:end]), key


class Reference(NamedTuple):
    """Which delivery a provider's event, a link or a Message-ID is about; needs no look-up."""

    send_id: int
    ordinal: int
    step: int = 1
    part: int = 0


def encode_reference(send_id: int, ordinal: int, step: int = 1, part: int = 0) -> str:
    """19 URL-safe letters, equal on every retry of the same step. About 0.6 µs."""
    packed = _REFERENCE.pack(send_id, ordinal, step, part)
    return base64.urlsafe_b64encode(packed).rstrip(b"=").decode()


def decode_reference(given: str) -> Reference:
    """The delivery that a reference names. Raises BadIdentifier."""
    try:
        packed = base64.urlsafe_b64decode(given + "=" * (-len(given) % 4))
        return Reference(*_REFERENCE.unpack(packed))
    except (ValueError, struct.error) as error:
        raise BadIdentifier("not a message reference") from error

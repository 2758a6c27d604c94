"""Which e-mail addresses the stand-ins take."""

from __future__ import annotations

import re

MAX_ADDRESS_BYTES = 254
REFUSED_DOMAIN = "invalid.example"
"""Every address there is refused by both providers, without any fault rule."""

_ATEXT = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]"
_LABEL = r"[A-Za-z0-9]+(?:-+[A-Za-z0-9]+)*"
_ADDRESS = re.compile(
    rf"({_ATEXT}+(?:\.{_ATEXT}+)*)@(?:{_LABEL}\.)+[A-Za-z](?:[A-Za-z0-9-]*[A-Za-z0-9])"
)
_is_well_formed = _ADDRESS.fullmatch


def is_valid(address: object) -> bool:
    """Whether it is one ASCII address with a dotted domain, of a length that SMTP allows.

    International domains must come as punycode, as SendGrid wants them.
    """
    return (
        isinstance(address, str)
        and len(address) <= MAX_ADDRESS_BYTES
        and _is_well_formed(address) is not None
        and address.index("@") <= 64
    )


def is_refused(address: str, refused: frozenset[str]) -> bool:
    """Whether a well-formed address is one that the provider does not take (`refused`: lower case)."""
    lower = address.lower()
    return lower.endswith("@" + REFUSED_DOMAIN) or lower in refused

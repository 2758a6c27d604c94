"""What may stand in a header or an envelope: no control characters, and a sender that is one."""

from __future__ import annotations

import re
from email.utils import parseaddr
from functools import lru_cache

import idna
from email_validator import EmailNotValidError, validate_email

from providers.protocol import Sender

# C0 (CR, LF, NUL, TAB … too), DEL, C1 with U+0085 NEXT LINE, and the two Unicode line separators.
# Python's EmailMessage lets NUL through and str.splitlines() breaks at all of the others.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_SURROGATE = re.compile("[\ud800-\udfff]")


class HeaderRefused(ValueError):
    """The value must not become a header; the message names the character, never the value."""


def refuse_control_characters(value: str) -> None:
    """Nothing; raises HeaderRefused if `value` holds a control character or half a surrogate pair.

    Called after rendering, for subject, names, addresses and URLs: a recipient's attribute that
    holds a line break would otherwise write headers of its own.
    """
    # isprintable() is a tenth of the search and true for nearly every value.
    if value.isprintable():
        return
    found = _CONTROL.search(value) or _SURROGATE.search(value)
    if found:
        raise HeaderRefused(f"holds the control character U+{ord(found.group()):04X}")


def parse_sender(text: str, reply_to: str = "") -> Sender:
    """The sender written as `Name <a@b.org>` or `a@b.org`, addresses normalised; no DNS is asked.

    Raises ValueError with one sentence when an address is missing or wrong.
    """
    for value in (text, reply_to):
        refuse_control_characters(value)
    name, address = parseaddr(text)
    if not address or not text.rstrip().endswith((address, f"{address}>")):
        raise ValueError('The sender must be written as "Name <address>" or as an address alone.')
    return Sender(
        address=_normalised(address, "sender"),
        name=name,
        reply_to=_normalised(reply_to.strip(), "reply-to") if reply_to.strip() else "",
    )


@lru_cache(maxsize=4096)
def ascii_domain(domain: str) -> str:
    """The domain as it stands in DNS and envelopes (A-labels, IDNA 2008 after UTS 46 mapping).

    Raises ValueError if it cannot be written so.
    """
    return idna.encode(domain, uts46=True).decode("ascii")


def _normalised(address: str, what: str) -> str:
    try:
        valid = validate_email(
            address, check_deliverability=False, strict=True, test_environment=True
        )
    except EmailNotValidError as error:
        raise ValueError(f"The {what} address is not valid: {error}") from error
    return valid.normalized

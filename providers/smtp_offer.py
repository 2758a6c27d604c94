"""What a server offers in its answer to EHLO."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """The extensions we use."""

    pipelining: bool = False
    eight_bit: bool = False
    smtputf8: bool = False
    starttls: bool = False
    size: bool = False
    """Whether MAIL may say SIZE=…."""
    max_message_bytes: int = 0
    """0: no limit told."""
    mechanisms: frozenset[str] = frozenset()
    """Of AUTH."""


def read_offer(lines: Sequence[str]) -> Offer:
    """The offer in the lines of an EHLO answer (without codes; the first is the server's name)."""
    told: dict[str, list[str]] = {}
    for line in lines[1:]:
        # Some old servers write AUTH=LOGIN as well as, or instead of, AUTH LOGIN.
        keyword, *values = line.upper().replace("AUTH=", "AUTH ", 1).split() or [""]
        told.setdefault(keyword, []).extend(values)
    size = told.get("SIZE", [])
    return Offer(
        pipelining="PIPELINING" in told,
        eight_bit="8BITMIME" in told,
        smtputf8="SMTPUTF8" in told,
        starttls="STARTTLS" in told,
        size="SIZE" in told,
        max_message_bytes=int(size[0]) if size and size[0].isdigit() else 0,
        mechanisms=frozenset(told.get("AUTH", ())),
    )

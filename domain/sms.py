"""How many segments a text message is billed and sent as (3GPP TS 23.038 and 23.040)."""

from __future__ import annotations

from collections.abc import Iterable

_GSM_7 = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
_GSM_7_EXTENSION = frozenset("\f^{}\\[~]|€")
"""Sent behind an escape: two septets each."""

# A message of several segments gives 6 octets of each to the header that joins them.
_GSM_7_ALONE, _GSM_7_JOINED = 160, 153
_UCS_2_ALONE, _UCS_2_JOINED = 70, 67
_LAST_OF_ONE_UNIT = 0xFFFF


def is_gsm_7(text: str) -> bool:
    """Whether every character has a place in the GSM alphabet; one that has none makes all UCS-2."""
    return all(character in _GSM_7 or character in _GSM_7_EXTENSION for character in text)


def segments(text: str) -> int:
    """Segments of a message with this text; 0 for an empty one.

    Neither an escaped character nor a surrogate pair is cut in two, so a segment may stay short.
    """
    if is_gsm_7(text):
        sizes = [2 if character in _GSM_7_EXTENSION else 1 for character in text]
        return _filled(sizes, _GSM_7_ALONE, _GSM_7_JOINED)
    sizes = [2 if ord(character) > _LAST_OF_ONE_UNIT else 1 for character in text]
    return _filled(sizes, _UCS_2_ALONE, _UCS_2_JOINED)


def _filled(sizes: Iterable[int], alone: int, joined: int) -> int:
    sizes = list(sizes)
    if sum(sizes) <= alone:
        return 1 if sizes else 0
    count, room = 1, joined
    for size in sizes:
        if size > room:
            count, room = count + 1, joined
        room -= size
    return count

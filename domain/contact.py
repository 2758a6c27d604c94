"""Contact points: the channels that have addresses, their normal forms, what is known of each."""

from __future__ import annotations

import re
from collections.abc import Callable
from enum import StrEnum
from urllib.parse import urlsplit

from domain.person import InvalidAddress, normalise_email, normalise_phone
from domain.send import Channel

MAX_ADDRESS_CHARACTERS = 2_000
"""PostgreSQL's index, which finds a recipient by an address, holds at most 2,704 bytes."""

_VISIBLE = re.compile(r"[!-~]+")
_HOST = re.compile(r"[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?|\[[0-9a-f:.]+\]")


class ContactState(StrEnum):
    """What is known of an address."""

    UNVERIFIED = "unverified"
    VERIFIED = "verified"
    BOUNCED = "bounced"
    GONE = "gone"


def normalise_https_url(raw: str) -> str:
    """An https URL with scheme and host in small letters. Raises InvalidAddress.

    Whether its host may be called at all is asked when it is called: names change their addresses.
    """
    given = _visible(raw, "An address of this kind")
    try:
        parts = urlsplit(given)
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise InvalidAddress("This is not a URL.") from error
    if parts.scheme != "https":
        raise InvalidAddress("An address of this kind begins with https://.")
    if parts.username is not None or parts.password is not None or parts.fragment:
        raise InvalidAddress("The URL must hold no user, password or #fragment.")
    host = f"[{host}]" if ":" in host else host
    if not _HOST.fullmatch(host):
        raise InvalidAddress("The URL names no host.")
    where = host if port in (None, 443) else f"{host}:{port}"
    query = f"?{parts.query}" if parts.query else ""
    return f"https://{where}{parts.path or '/'}{query}"


def normalise_push_token(raw: str) -> str:
    """A device's token, as its vendor wrote it: case matters. Raises InvalidAddress."""
    return _visible(raw, "A push token")


def _visible(raw: str, what: str) -> str:
    given = raw.strip()
    if len(given) > MAX_ADDRESS_CHARACTERS:
        raise InvalidAddress(f"{what} has at most {MAX_ADDRESS_CHARACTERS:,} characters.")
    if not _VISIBLE.fullmatch(given):
        raise InvalidAddress(f"{what} is written in visible ASCII letters, without spaces.")
    return given


def _no_address(raw: str) -> str:
    raise InvalidAddress("Everybody has the channel in_app; there is no address to give.")


_NORMAL_FORM: dict[Channel, Callable[[str], str]] = {
    Channel.EMAIL: normalise_email,
    Channel.SMS: normalise_phone,
    Channel.PUSH: normalise_push_token,
    Channel.WEB_PUSH: normalise_https_url,
    Channel.WEBHOOK: normalise_https_url,
    Channel.IN_APP: _no_address,
}


def normalise_address(channel: Channel, raw: str) -> str:
    """The form in which an address of the channel is stored and compared. Raises InvalidAddress."""
    return _NORMAL_FORM[channel](raw)

"""Which addresses a URL given by a stranger may lead us to (SSRF).

Asked twice: of the URL before anything is done, and of the very address that a connection is about
to be opened to. `ipaddress.is_global` will not do: Python 3.11 calls NAT64, 6to4, site-local and
multicast addresses global.
"""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import urlsplit

PORTS = frozenset({443, 8443})
MAX_CHARACTERS = 2000

_DENIED = tuple(
    ipaddress.ip_network(network)
    for network in (
        "0.0.0.0/8",  # this host
        "10.0.0.0/8",
        "100.64.0.0/10",  # carrier-grade NAT; Alibaba's metadata is in it
        "127.0.0.0/8",
        "169.254.0.0/16",  # link-local; the clouds' metadata is in it
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.31.196.0/24",
        "192.52.193.0/24",
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",
        "192.175.48.0/24",
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",  # and broadcast
    )
)
# Only what is handed out as unicast, and of that not what holds or may hold an IPv4 address.
_UNICAST = ipaddress.ip_network("2000::/3")
_DENIED_6 = tuple(
    ipaddress.ip_network(network)
    for network in (
        "2001::/23",  # Teredo, ORCHID, benchmarks
        "2001:db8::/32",
        "2002::/16",  # 6to4
        "2620:4f:8000::/48",
        "3fff::/20",
    )
)
_HOST = re.compile(r"[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\]")
_PLAIN = re.compile(r"[!-\[\]-~]+")


def is_public(address: str) -> bool:
    """Whether an IP address, as text, is one that anybody on the Internet may be at."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(ip, ipaddress.IPv4Address):
        return not any(ip in network for network in _DENIED)
    return ip in _UNICAST and not any(ip in network for network in _DENIED_6)


def why_refused(url: str, *, allow_private: bool = False) -> str:
    """Why no webhook may go to this URL, as one sentence without it; empty if one may.

    `allow_private`: for development; then http and every port may be, too.
    """
    if not _PLAIN.fullmatch(url) or len(url) > MAX_CHARACTERS:
        return "The URL is empty, too long, or holds characters that must be escaped."
    try:
        parts = urlsplit(url)
        port, host = parts.port, parts.hostname
    except ValueError:
        return "The URL is malformed."
    if parts.scheme not in (("https", "http") if allow_private else ("https",)):
        return "The URL must start with https://."
    if "@" in parts.netloc:
        return "The URL must not hold a user or password."
    if not host or not _HOST.fullmatch(parts.netloc.removesuffix(f":{port}")):
        return "The URL names no host."
    if not allow_private and (port or 443) not in PORTS:
        return "The port must be 443 or 8443."
    return ""


def why_never_reached(url: str) -> str:
    """Why a URL that `why_refused` takes leads nowhere but inside, by its host alone; empty: it may not.

    Only to say so when the URL is given: the address that is connected to decides.
    """
    host = (urlsplit(url).hostname or "").rstrip(".")
    last_label = host.rpartition(".")[2]
    is_literal = ":" in host or last_label[:1].isdigit()
    if host == "localhost" or last_label == "localhost" or (is_literal and not is_public(host)):
        return "The URL's host is not public."
    return ""

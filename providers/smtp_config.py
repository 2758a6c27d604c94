"""Where an SMTP relay is and how to speak to it, from one URL."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

_KNOWN_OPTIONS = ("starttls", "verify")
_YES_OR_NO = {"1": True, "0": False}


class Tls(StrEnum):
    """How a connection is made private."""

    NONE = "none"
    STARTTLS = "starttls"
    """Required: a relay that does not offer it is not used."""
    IMPLICIT = "implicit"


@dataclass(frozen=True, slots=True, kw_only=True)
class SmtpConfig:
    """One relay, as one account."""

    host: str
    port: int
    user: str = ""
    password: str = field(default="", repr=False)
    tls: Tls = Tls.NONE
    verify: bool = True
    """Whether the certificate must be good; False only for tests and the simulator."""
    connections: int = 8
    request_timeout: timedelta = timedelta(seconds=30)
    """From a request's turn to its answer, the wait for the final dot's reply included."""
    connect_timeout: timedelta = timedelta(seconds=10)
    """For all of connecting: TCP, TLS, greeting, EHLO and AUTH."""
    backoff_first: timedelta = timedelta(seconds=0.5)
    backoff_most: timedelta = timedelta(seconds=30)


def parse_smtp_url(url: str) -> SmtpConfig:
    """The relay of `smtp[s]://user:password@host:port?starttls=1&verify=1`.

    smtps is TLS from the start (port 465 if none is given). With smtp, `starttls` is required when
    it is 1, off when it is 0; if it is not given, it is required where a password would travel to
    another machine. Ports: 587 with STARTTLS, else 25. User and password are percent-encoded.
    Raises ValueError with one sentence; it never holds the password.
    """
    try:
        parts = urlsplit(url.strip())
        port = parts.port
    except ValueError as error:
        raise ValueError("The SMTP URL has a port or host that cannot be read.") from error
    if parts.scheme not in ("smtp", "smtps"):
        raise ValueError("The SMTP URL must start with smtp:// or smtps://.")
    if not parts.hostname:
        raise ValueError("The SMTP URL names no host.")
    if parts.path.strip("/") or parts.fragment:
        raise ValueError("The SMTP URL must end with the port and its options; is an @ or / in the "
                         "password not percent-encoded?")  # fmt: skip
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    if bool(user) is not bool(password):
        raise ValueError("The SMTP URL must hold both user and password or neither.")
    options = _options(parts)
    tls = _tls(parts, options, is_secret=bool(user))
    return SmtpConfig(
        host=parts.hostname,
        port=port or {Tls.NONE: 25, Tls.STARTTLS: 587, Tls.IMPLICIT: 465}[tls],
        user=user,
        password=password,
        tls=tls,
        verify=options.get("verify", True),
    )


def _options(parts: SplitResult) -> dict[str, bool]:
    found = {}
    for name, value in parse_qsl(parts.query, keep_blank_values=True):
        if name not in _KNOWN_OPTIONS:
            raise ValueError(
                f"The SMTP URL has an unknown option; known: {', '.join(_KNOWN_OPTIONS)}."
            )
        if value not in _YES_OR_NO:
            raise ValueError(f"The SMTP URL must set {name} to 0 or 1.")
        found[name] = _YES_OR_NO[value]
    return found


def _tls(parts: SplitResult, options: dict[str, bool], *, is_secret: bool) -> Tls:
    if parts.scheme == "smtps":
        if options.get("starttls"):
            raise ValueError("The SMTP URL asks for TLS twice: take smtps:// or starttls=1.")
        return Tls.IMPLICIT
    default = is_secret and not _is_this_machine(parts.hostname or "")
    return Tls.STARTTLS if options.get("starttls", default) else Tls.NONE


def _is_this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"

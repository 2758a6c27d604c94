"""Production mode: a process that would run with what is for development refuses to start."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Sequence

from sqlalchemy import make_url

from domain.webhook_address import is_public
from settings import PREFIX, Settings, SettingsError, uses_temporal_tls

SHORTEST_SECRET = 16
_ENCRYPTED = frozenset({"require", "verify-ca", "verify-full"})
_EVERYWHERE = frozenset({"", "*", "0.0.0.0", "::", "[::]"})  # noqa: S104  what is refused

Resolve = Callable[[str], Sequence[str]]


def require_production(settings: Settings) -> None:
    """Return in development, and where nothing is for development. Raises SettingsError."""
    if settings.mode == "production" and (refusals := production_refusals(settings)):
        raise SettingsError("; ".join(refusals))


def addresses_of(host: str) -> list[str]:
    """The IP addresses of a name, as this machine finds them; none where it finds none."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError:
        return []
    return sorted({str(address[4][0]) for address in found})


def production_refusals(settings: Settings, resolve: Resolve = addresses_of) -> list[str]:
    """What these settings have of development, a sentence each that names the variable."""
    looks = (
        ("LINK_SECRET", _secret(settings, "link_secret")),
        ("API_SECRET", _secret(settings, "api_secret")),
        ("PUBLIC_URL", _public_url(settings)),
        ("WEB_HOST", _web_host(settings)),
        ("DATABASE_URL", _database(settings, resolve)),
        ("TEMPORAL_ADDRESS", _temporal(settings, resolve)),
    )
    return [f"{PREFIX}{name}: {sentence}" for name, sentence in looks if sentence]


def _secret(settings: Settings, name: str) -> str:
    secret = getattr(settings, name).get_secret_value()
    if secret == Settings.model_fields[name].default.get_secret_value():
        return "production needs a secret of its own, as `openssl rand -hex 32` makes them"
    if len(secret) < SHORTEST_SECRET:
        return f"a secret for production has at least {SHORTEST_SECRET} characters"
    return ""


def _public_url(settings: Settings) -> str:
    if settings.public_url.startswith("https://"):
        return ""
    return "production needs the https:// URL by which recipients reach the public pages"


def _web_host(settings: Settings) -> str:
    if settings.web_host not in _EVERYWHERE or settings.behind_proxy:
        return ""
    return (
        "name the address to listen on; all addresses are for a network that only a proxy with TLS"
        f" reaches, and {PREFIX}BEHIND_PROXY says so"
    )


def _database(settings: Settings, resolve: Resolve) -> str:
    if not settings.database_url:
        return "production needs a PostgreSQL of its own"
    url = make_url(settings.database_url)
    host = url.host or str(url.query.get("host", ""))
    if url.query.get("sslmode") in _ENCRYPTED or not _may_be_public(host, resolve):
        return ""
    return (
        f"{host} is, or may be, a public address: set {PREFIX}DATABASE_SSLMODE to verify-full,"
        " verify-ca or require"
    )


def _temporal(settings: Settings, resolve: Resolve) -> str:
    if not settings.temporal_address:
        return "production needs a Temporal of its own"
    host = settings.temporal_address.rpartition(":")[0] or settings.temporal_address
    if uses_temporal_tls(settings) or not _may_be_public(host.strip("[]"), resolve):
        return ""
    return f"{host} is, or may be, a public address: set {PREFIX}TEMPORAL_TLS"


def _may_be_public(host: str, resolve: Resolve) -> bool:
    """Whether a connection to it may leave the networks of our own: who cannot be found may be
    anywhere. A path is a Unix socket."""
    if not host or host.startswith("/"):
        return False
    try:
        ipaddress.ip_address(host)
    except ValueError:
        found = resolve(host)
        return not found or any(is_public(address) for address in found)
    return is_public(host)

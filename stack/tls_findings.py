"""What `carillon doctor` says about TLS: how connections are made private, and files that it needs."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import make_url

from settings import PREFIX, Settings, uses_temporal_tls

_FILES = (
    "database_root_cert",
    "database_client_cert",
    "database_client_key",
    "temporal_ca",
    "temporal_client_cert",
    "temporal_client_key",
)


def database_tls(settings: Settings) -> str:
    """How the connection to PostgreSQL is made private, in a few words."""
    query = make_url(settings.database_url).query
    mode = query.get("sslmode")
    authorities = " with authorities of yours" if query.get("sslrootcert") else ""
    client = ", client certificate" if query.get("sslcert") else ""
    return f"sslmode {mode}{authorities}{client}" if mode else "TLS if the server offers it"


def temporal_tls(settings: Settings) -> str:
    """How the connection to Temporal is made private, in a few words."""
    if not uses_temporal_tls(settings):
        return "without TLS"
    parts = (
        "TLS",
        "authorities of yours" if settings.temporal_ca else "",
        "client certificate" if settings.temporal_client_cert else "",
        "API key" if settings.temporal_api_key.get_secret_value() else "",
    )
    return ", ".join(filter(None, parts))


def unreadable_files(settings: Settings) -> list[str]:
    """A sentence for each file of certificates or keys that is named and cannot be read."""
    problems = []
    for name in _FILES:
        path = getattr(settings, name)
        if not path or path == "system":  # libpq's word for the machine's own authorities
            continue
        try:
            with Path(path).open("rb"):
                pass
        except OSError as error:
            problems.append(f"{PREFIX}{name.upper()}: cannot read {path}: {error.strerror}")
    return problems

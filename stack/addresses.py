"""The settings of a running stack: where each embedded part is, said once for children, CLI and tests."""

from __future__ import annotations

import os
from collections.abc import Collection
from enum import StrEnum
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from settings import PREFIX, Settings
from stack.ports import Port, free_ports, reachable


class Part(StrEnum):
    """What a development stack consists of."""

    POSTGRES = "postgres"
    TEMPORAL = "temporal"
    SIMULATOR = "simulator"
    MIGRATIONS = "migrations"
    WORKERS = "workers"
    WEB = "web"


EVERY_PART = frozenset(Part)

# What an isolated stack must not take from the environment: everything that leads outside.
LEADING_OUTSIDE = (
    "mode",
    "database_sslmode",
    "database_root_cert",
    "database_client_cert",
    "database_client_key",
    "database_url",
    "temporal_address",
    "temporal_namespace",
    "temporal_tls",
    "temporal_ca",
    "temporal_client_cert",
    "temporal_client_key",
    "temporal_server_name",
    "temporal_api_key",
    "temporal_ui_url",
    "web_host",
    "behind_proxy",
    "public_url",
    "link_secret",
    "api_secret",
    "default_from",
    "credential_keys",
    "sendgrid_api_key",
    "sendgrid_region",
    "sendgrid_rate",
    "smtp_url",
    "smtp_rate",
    "twilio_account_sid",
    "twilio_auth_token",
    "twilio_from",
    "twilio_rate",
    "webhook_secret",
    "log_provider",
    "metrics_port",
    "metrics_host",
    "otlp_endpoint",
    "simulator_host",
    "simulator_sendgrid_url",
    "simulator_smtp_url",
    "simulator_twilio_url",
    "simulator_webhook_url",
)

PORTS: dict[str, tuple[Part, str, str]] = {
    "temporal_port": (Part.TEMPORAL, "Temporal", "127.0.0.1"),
    "temporal_ui_port": (Part.TEMPORAL, "Temporal UI", "127.0.0.1"),
    "simulator_port": (Part.SIMULATOR, "simulator inbox", "simulator_host"),
    "simulator_sendgrid_port": (Part.SIMULATOR, "simulator's SendGrid API", "simulator_host"),
    "simulator_smtp_port": (Part.SIMULATOR, "simulator's SMTP server", "simulator_host"),
    "simulator_twilio_port": (Part.SIMULATOR, "simulator's Twilio API", "simulator_host"),
    "simulator_webhook_port": (Part.SIMULATOR, "simulator's webhooks", "simulator_host"),
    "web_port": (Part.WEB, "public pages", "web_host"),
}

ADDRESS_FIELDS = (
    "data_dir",
    "database_url",
    "temporal_address",
    "temporal_namespace",
    "temporal_ui_url",
    "public_url",
    "web_port",
    "simulator_port",
    "simulator_sendgrid_port",
    "simulator_smtp_port",
    "simulator_twilio_port",
    "simulator_webhook_port",
    "simulator_sendgrid_url",
    "simulator_smtp_url",
    "simulator_twilio_url",
    "simulator_webhook_url",
)


def embedded_parts(settings: Settings, parts: Collection[str]) -> frozenset[Part]:
    """The parts to run: without PostgreSQL or Temporal where a real one is given."""
    given = {
        Part.POSTGRES: bool(settings.database_url),
        Part.TEMPORAL: bool(settings.temporal_address),
    }
    return frozenset(Part(part) for part in parts if not given.get(Part(part), False))


def without_outside(settings: Settings) -> Settings:
    """The settings with the defaults in place of everything that leads outside this machine."""
    fields = Settings.model_fields
    return settings.model_copy(update={name: fields[name].default for name in LEADING_OUTSIDE})


def with_free_ports(settings: Settings) -> Settings:
    """The settings with ports nobody listens on."""
    return settings.model_copy(update=dict(zip(PORTS, free_ports(len(PORTS)), strict=True)))


def with_addresses(settings: Settings, embedded: Collection[Part], database_url: str) -> Settings:
    """The settings with the addresses of the embedded parts filled in."""
    update: dict[str, Any] = {}
    if Part.POSTGRES in embedded:
        update["database_url"] = database_url
    if Part.TEMPORAL in embedded:
        update["temporal_address"] = f"127.0.0.1:{settings.temporal_port}"
        update["temporal_ui_url"] = f"http://127.0.0.1:{settings.temporal_ui_port}"
    if Part.SIMULATOR in embedded:
        host = reachable(settings.simulator_host)
        update["simulator_sendgrid_url"] = f"http://{host}:{settings.simulator_sendgrid_port}"
        update["simulator_smtp_url"] = f"smtp://{host}:{settings.simulator_smtp_port}"
        update["simulator_twilio_url"] = f"http://{host}:{settings.simulator_twilio_port}"
        update["simulator_webhook_url"] = f"http://{host}:{settings.simulator_webhook_port}/hook"
        # Good for the simulator alone: real recipients cannot reach it, and it is not https.
        update["public_url"] = settings.public_url or f"http://127.0.0.1:{settings.web_port}"
    return settings.model_copy(update=update)


def ports_of(settings: Settings, embedded: Collection[Part]) -> list[Port]:
    """The ports the embedded parts listen on."""
    return [
        Port(
            number=getattr(settings, field),
            what=what,
            variable=PREFIX + field.upper(),
            host=getattr(settings, host, host),
        )
        for field, (part, what, host) in PORTS.items()
        if part in embedded
    ]


def addresses_of(settings: Settings, embedded: Collection[Part]) -> dict[str, str]:
    """The variables by which another command finds the stack; none of them secret."""
    fields = set(ADDRESS_FIELDS)
    if Part.POSTGRES not in embedded:
        fields.discard("database_url")  # the URL of a real database holds its password
    return {PREFIX + name.upper(): str(getattr(settings, name)) for name in sorted(fields)}


def environment_of(settings: Settings, *, isolated: bool) -> dict[str, str]:
    """The environment of a child, in which it reads the same settings as these, whatever its .env says.

    A secret that came from a file stays there, unless the stack is isolated.
    """
    environment = {
        name: value
        for name, value in os.environ.items()
        if not (isolated and name.startswith((PREFIX, "OTEL_")))
    }
    for field in Settings.model_fields:
        variable = PREFIX + field.upper()
        value = getattr(settings, field)
        if not (isinstance(value, SecretStr) and f"{variable}_FILE" in environment):
            environment[variable] = _text(value)
    checkout = Path(__file__).parents[1]
    if (checkout / "pyproject.toml").exists():
        # Children start with -P, so that a folder `web` where the user stands is not taken for ours.
        environment["PYTHONPATH"] = os.pathsep.join(
            [str(checkout), *filter(None, [environment.get("PYTHONPATH")])]
        )
    return environment


def _text(value: object) -> str:
    return value.get_secret_value() if isinstance(value, SecretStr) else str(value)

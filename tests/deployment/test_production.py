"""Production mode refuses to start with what is for development: one sentence each."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

import settings as settings_module
from production import production_refusals, require_production
from settings import Settings, SettingsError
from starter.stored_accounts import require_credential_keys
from tests.builders import a_draft

ROOT = Path(__file__).parents[2]

GOOD = {
    "mode": "production",
    "link_secret": "a-secret-of-our-own-0123456789",
    "api_secret": "another-secret-of-our-own-0123456789",
    "public_url": "https://news.example.org",
    "database_url": "postgresql://carillon@10.0.0.5/carillon",
    "temporal_address": "10.0.0.6:7233",
}
NAMES = {
    "db.internal": ["10.0.0.5"],
    "db.public": ["10.0.0.5", "8.8.8.8"],
    "temporal.public": ["2606:4700::1111"],
}


def load(**given: object) -> Settings:
    return settings_module.load(_env_file=None, **{**GOOD, **given})


def refusals(**given: object) -> list[str]:
    return production_refusals(load(**given), lambda host: NAMES.get(host, []))


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"database_url": "postgresql://db.internal/x"},
        {"database_url": "postgresql:///x?host=/run/postgresql"},
        {"database_url": "postgresql://db.public/x?sslmode=verify-full"},
        {"database_url": "postgresql://db.public/x", "database_sslmode": "require"},
        {"temporal_address": "temporal.public:7233", "temporal_tls": True},
        {"temporal_address": "temporal.public:7233", "temporal_api_key": "a key"},
        {"temporal_address": "[::1]:7233"},
        {"web_host": "0.0.0.0", "behind_proxy": True},
        {"web_host": "192.168.1.5"},
    ],
)
def test_what_is_for_production_starts(given: dict[str, object]) -> None:
    assert refusals(**given) == []


@pytest.mark.parametrize(
    ("given", "variable", "says"),
    [
        ({"link_secret": "development-only"}, "LINK_SECRET", "a secret of its own"),
        ({"link_secret": ""}, "LINK_SECRET", "at least 16 characters"),
        ({"link_secret": "short"}, "LINK_SECRET", "at least 16 characters"),
        ({"api_secret": "development-only"}, "API_SECRET", "a secret of its own"),
        ({"api_secret": "short"}, "API_SECRET", "at least 16 characters"),
        ({"public_url": ""}, "PUBLIC_URL", "https://"),
        ({"public_url": "http://news.example.org"}, "PUBLIC_URL", "https://"),
        ({"web_host": "0.0.0.0"}, "WEB_HOST", "CARILLON_BEHIND_PROXY"),
        ({"web_host": "::"}, "WEB_HOST", "CARILLON_BEHIND_PROXY"),
        ({"web_host": "*"}, "WEB_HOST", "CARILLON_BEHIND_PROXY"),
        ({"database_url": ""}, "DATABASE_URL", "a PostgreSQL of its own"),
        ({"database_url": "postgresql://8.8.8.8/x"}, "DATABASE_URL", "CARILLON_DATABASE_SSLMODE"),
        ({"database_url": "postgresql://db.public/x"}, "DATABASE_URL", "public address"),
        ({"database_url": "postgresql://db.public/x?sslmode=prefer"}, "DATABASE_URL", "public"),
        ({"database_url": "postgresql://db.unknown/x"}, "DATABASE_URL", "may be, a public"),
        ({"temporal_address": ""}, "TEMPORAL_ADDRESS", "a Temporal of its own"),
        ({"temporal_address": "8.8.8.8:7233"}, "TEMPORAL_ADDRESS", "CARILLON_TEMPORAL_TLS"),
        ({"temporal_address": "temporal.public:7233"}, "TEMPORAL_ADDRESS", "public address"),
        ({"temporal_address": "[2606:4700::1111]:7233"}, "TEMPORAL_ADDRESS", "public address"),
    ],
)
def test_what_is_for_development_is_refused_with_one_sentence(
    given: dict[str, object], variable: str, says: str
) -> None:
    (refusal,) = refusals(**given)

    assert refusal.startswith(f"CARILLON_{variable}: ")
    assert says in refusal
    with pytest.raises(SettingsError, match=f"CARILLON_{variable}"):
        require_production(load(**given))


def test_everything_that_is_wrong_is_said_at_once() -> None:
    nothing = settings_module.load(_env_file=None, mode="production", web_host="0.0.0.0")

    assert len(production_refusals(nothing)) == 6


def test_development_starts_with_everything() -> None:
    require_production(settings_module.load(_env_file=None, web_host="0.0.0.0"))


def test_a_mode_that_there_is_not_is_refused() -> None:
    with pytest.raises(SettingsError, match="CARILLON_MODE"):
        load(mode="prod")


@pytest.mark.parametrize("module", ["worker", "web"])
def test_the_process_ends_at_once_and_says_why(module: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", module],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "CARILLON_MODE": "production", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 1
    assert "CARILLON_LINK_SECRET: production needs a secret of its own" in done.stderr
    assert "Traceback" not in done.stderr


def test_production_needs_the_keys_of_stored_accounts_and_development_does_without(
    engine: Engine,
) -> None:
    a_draft(engine)
    with engine.begin() as connection:
        connection.execute(
            text(
                "UPDATE provider_account SET credential = 'x', credential_key_id = 'one',"
                " credential_set_at = now()"
            )
        )

    with engine.connect() as connection:
        with pytest.raises(
            SettingsError, match="CREDENTIAL_KEYS: stored accounts need the key one"
        ):
            require_credential_keys(connection, load())
        require_credential_keys(connection, load(mode="development"))

"""Children, commands and tests of a stack see the same addresses; an isolated one sees only its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from providers.catalog import setting_names
from settings import load
from stack.addresses import LEADING_OUTSIDE
from stack.development import DevelopmentStack
from stack.doctor import examine
from stack.reset import reset
from stack.running import write_running_stack


def test_children_get_the_addresses_of_the_embedded_parts(data_dir: Path) -> None:
    stack = DevelopmentStack(load(data_dir=data_dir, web_port=8601))

    environment = stack.environment()

    assert environment["CARILLON_DATABASE_URL"].startswith(
        "postgresql+psycopg2://carillon@/carillon"
    )
    assert environment["CARILLON_TEMPORAL_ADDRESS"] == "127.0.0.1:7243"
    assert environment["CARILLON_SIMULATOR_SENDGRID_URL"] == "http://127.0.0.1:8611"
    assert environment["CARILLON_SIMULATOR_SMTP_URL"] == "smtp://127.0.0.1:8612"
    assert environment["CARILLON_SIMULATOR_TWILIO_URL"] == "http://127.0.0.1:8613"
    assert environment["CARILLON_SIMULATOR_WEBHOOK_URL"] == "http://127.0.0.1:8614/hook"
    assert environment["CARILLON_PUBLIC_URL"] == "http://127.0.0.1:8601"
    assert environment["CARILLON_DATA_DIR"] == str(data_dir)
    assert stack.settings().temporal_ui_url == "http://127.0.0.1:8243"


def test_a_real_database_and_temporal_replace_the_embedded_ones(data_dir: Path) -> None:
    given = load(data_dir=data_dir, database_url="postgresql://db/x", temporal_address="t:7233")

    stack = DevelopmentStack(given)

    assert stack.embedded == {"simulator", "migrations", "workers", "web"}
    assert stack.environment()["CARILLON_DATABASE_URL"] == "postgresql+psycopg2://db/x"
    assert stack.environment()["CARILLON_TEMPORAL_ADDRESS"] == "t:7233"


def test_settings_given_by_flags_reach_the_children(data_dir: Path) -> None:
    stack = DevelopmentStack(load(data_dir=data_dir, unknown_wait=5))

    assert stack.environment()["CARILLON_UNKNOWN_WAIT"] == "5.0"


def test_an_isolated_stack_takes_nothing_that_leads_outside(
    data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "smtp").write_text("smtp://production")
    monkeypatch.setenv("CARILLON_SENDGRID_API_KEY", "SG.real")
    monkeypatch.setenv("CARILLON_SMTP_URL_FILE", str(tmp_path / "smtp"))
    monkeypatch.setenv("CARILLON_DATABASE_URL", "postgresql://production/x")
    monkeypatch.setenv("CARILLON_TEMPORAL_ADDRESS", "production:7233")
    monkeypatch.setenv("CARILLON_PUBLIC_URL", "https://production")

    stack = DevelopmentStack(load(data_dir=data_dir), isolated=True)

    said = stack.environment()
    assert not [
        name for name in said if name.startswith("CARILLON_") and "production" in said[name]
    ]
    # Set and empty, so that a .env file where the person stands does not fill them.
    assert (said["CARILLON_SENDGRID_API_KEY"], said["CARILLON_SMTP_URL"]) == ("", "")
    assert "CARILLON_SMTP_URL_FILE" not in said
    assert {"postgres", "temporal"} <= stack.embedded
    assert stack.settings().web_port != 8600


def test_whatever_makes_an_account_leads_outside() -> None:
    assert set(setting_names()) <= set(LEADING_OUTSIDE)


def test_a_secret_from_a_file_is_not_put_into_the_environment(
    data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "key").write_text("SG.secret")
    monkeypatch.delenv("CARILLON_SENDGRID_API_KEY", raising=False)
    monkeypatch.setenv("CARILLON_SENDGRID_API_KEY_FILE", str(tmp_path / "key"))

    environment = DevelopmentStack(load(data_dir=data_dir)).environment()

    assert "SG.secret" not in environment.values()
    assert environment["CARILLON_SENDGRID_API_KEY_FILE"] == str(tmp_path / "key")


def test_reset_deletes_what_is_ours_and_keeps_the_rest(data_dir: Path) -> None:
    (data_dir / "logs").mkdir(parents=True)
    (data_dir / "run").mkdir()
    (data_dir / "mine.csv").write_text("a,b\n")
    write_running_stack(data_dir, {})

    deleted = reset(data_dir)

    assert deleted == [data_dir / "logs", data_dir / "run"]
    assert [file.name for file in data_dir.iterdir()] == ["mine.csv"]


def test_the_doctor_looks_at_everything_and_says_how_to_get_what_is_missing(data_dir: Path) -> None:
    findings = examine(load(data_dir=data_dir))

    assert {"Python", "PostgreSQL", "Temporal", "ports", "data folder"} <= {
        finding.name for finding in findings
    }
    assert all(finding.remedy for finding in findings if not finding.is_ok)

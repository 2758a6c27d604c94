"""What the tests of commands share."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from starter import cli, output

Run = Callable[..., tuple[int, Any]]


@pytest.fixture
def run(
    engine: Engine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Run:
    """Runs a command with --json on the test's database: its exit code and what it printed."""
    url = engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CARILLON_DATABASE_URL", url)
    monkeypatch.setenv("CARILLON_SIMULATOR_SENDGRID_URL", "http://127.0.0.1:1")
    output.configure()

    def run(*arguments: str) -> tuple[int, Any]:
        capsys.readouterr()
        code = cli.run([*arguments, "--json"])
        return code, json.loads(capsys.readouterr().out)

    return run

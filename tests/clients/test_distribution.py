"""The client as others install it: a wheel of its own, beside whatever modules they have."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.builders import scalar
from tests.clients.conftest import Served

ROOT = Path(__file__).parents[2]
CLIENT = ROOT / "clients" / "python"


def run(*command: str | Path, cwd: Path, environment: Mapping[str, str] | None = None) -> str:
    """What it prints; it must succeed."""
    done = subprocess.run(
        command,
        cwd=cwd,
        env={**(environment or {}), "PATH": os.environ["PATH"], "HOME": str(cwd)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    offline = ("--no-index", "--no-deps", "--no-build-isolation", "--disable-pip-version-check")
    run(sys.executable, "-m", "pip", "wheel", *offline, "-w", folder, CLIENT, cwd=folder)
    return next(folder.glob("carillon_client-*.whl"))


@pytest.fixture(scope="module")
def scratch(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project of somebody else, with an environment of its own; its interpreter is .venv/bin/python."""
    project = tmp_path_factory.mktemp("shop")
    venv.create(project / ".venv", with_pip=False, symlinks=True)
    python = project / ".venv" / "bin" / "python"
    offline = ("--no-index", "--no-deps", "--disable-pip-version-check")
    run(sys.executable, "-m", "pip", "--python", python, "install", *offline, wheel, cwd=project)
    # httpx cannot be fetched without a network: it is the one of the tests' own environment, whose
    # other packages are there, too, but none of this repository's.
    site = run(python, "-c", "import site; print(site.getsitepackages()[0])", cwd=project).strip()
    (Path(site) / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    (project / "models.py").write_text("MINE = 'models of the shop'\n")
    (project / "settings.py").write_text("MINE = 'settings of the shop'\n")
    return project


def six_lines() -> str:
    """The first Python block of the client's README."""
    _, _, after = (CLIENT / "README.md").read_text().partition("```python\n")
    return after.partition("```")[0]


def test_the_six_lines_run_in_a_project_with_models_and_settings_of_its_own(
    scratch: Path, served: Served
) -> None:
    service = (
        "import models\nimport settings\n" + six_lines() + "print(models.MINE, settings.MINE)\n"
    )
    (scratch / "service.py").write_text(service)
    environment = {"CARILLON_URL": served.web.url, "CARILLON_API_KEY": served.key()}

    printed = run(
        scratch / ".venv/bin/python", "service.py", cwd=scratch, environment=environment
    ).splitlines()

    assert printed[0].startswith("snd_")
    assert printed[1] == "models of the shop settings of the shop"
    asked = "SELECT count(*) FROM send WHERE idempotency_key = 'shipped-A-17'"
    assert scalar(served.engine, asked) == 1


def test_it_brings_no_module_but_its_own_and_needs_httpx_alone(scratch: Path) -> None:
    program = (
        "import json, sys, carillon_client; from importlib.metadata import requires;"
        "print(json.dumps([requires('carillon-client'), carillon_client.__file__,"
        " sorted(name for name in sys.modules if '.' not in name)]))"
    )

    needed, where, loaded = json.loads(
        run(scratch / ".venv/bin/python", "-c", program, cwd=scratch)
    )

    assert needed == ["httpx>=0.28,<1"]
    assert Path(where).is_relative_to(scratch / ".venv")
    assert {"models", "settings", "domain", "starter", "web"}.isdisjoint(loaded)


def test_its_wheel_holds_the_package_with_its_types_and_licence(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as opened:
        names = opened.namelist()

    assert "carillon_client/py.typed" in names
    assert any(name.endswith("/LICENSE") for name in names)
    assert {name.partition("/")[0].partition("-")[0] for name in names} == {"carillon_client"}

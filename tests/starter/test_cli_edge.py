"""The edge of the CLI as a shell sees it: exit codes, one sentence, JSON, no surprises."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from starter import cli, output

NOBODY_LISTENS = "postgresql://nobody:hunter2@127.0.0.1:1/nothing"


def shell(folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """`carillon …` in an empty folder, with nothing from outside but these variables."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("CARILLON_")
    }
    return subprocess.run(
        [sys.executable, "-P", "-m", "starter.cli", *arguments],
        cwd=folder,
        env={**environment, "NO_COLOR": "1", **variables},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture(autouse=True)
def _speaks_to_people_again() -> None:
    output.configure()


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder without .env and without a stack; commands run here, in this process."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_help_imports_nothing_heavy_and_names_the_commands(tmp_path: Path) -> None:
    code = (
        "import sys; from starter.cli import run; run(['--help']);"
        "sys.exit(any(m in sys.modules for m in ('sqlalchemy', 'temporalio', 'pydantic', 'httpx')))"
    )

    done = subprocess.run(
        [sys.executable, "-P", "-c", code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    for command in ("up", "doctor", "demo", "topic", "template", "recipients", "campaign"):
        assert command in done.stdout


def test_the_version_is_that_of_the_project(tmp_path: Path) -> None:
    done = shell(tmp_path, "--version")

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("carillon 0.")


def test_without_database_and_stack_one_sentence_says_what_to_do(tmp_path: Path) -> None:
    done = shell(tmp_path, "topic", "list")

    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr == (
        "carillon: Carillon has no database here: start the development stack with `carillon up`,"
        " or set CARILLON_DATABASE_URL.\n"
    )


def test_a_database_that_does_not_answer_is_one_sentence_without_its_password(
    tmp_path: Path,
) -> None:
    done = shell(tmp_path, "template", "list", CARILLON_DATABASE_URL=NOBODY_LISTENS)

    assert done.returncode == 1
    assert "PostgreSQL at" in done.stderr
    assert "does not answer" in done.stderr
    assert "hunter2" not in done.stderr
    assert done.stderr.count("\n") == 1


def test_with_json_standard_output_is_json_also_for_errors(tmp_path: Path) -> None:
    done = shell(tmp_path, "topic", "list", "--json")

    assert done.returncode == 1
    assert json.loads(done.stdout)["error"].startswith("Carillon has no database here")


def test_a_wrong_setting_names_its_variable(tmp_path: Path) -> None:
    done = shell(tmp_path, "accounts", "list", CARILLON_WEB_PORT="many")

    assert done.returncode == 1
    assert "CARILLON_WEB_PORT" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["topic", "add", "news"],
        ["topic", "add", "Not A Key", "--name", "n"],
        ["topic", "create", "Not A Key", "--name", "n"],
        ["topic", "add", "news", "--name", "n", "--opt-in", "perhaps"],
        ["worker", "--roles", "juggler"],
        ["worker", "--processes", "0"],
        ["--nonsense"],
    ],
    ids=" ".join,
)
def test_wrong_use_is_exit_2_with_a_hint(
    elsewhere: Path, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(arguments) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "Usage:" in printed.err

    assert cli.run([*arguments, "--json"]) == 2
    assert "error" in json.loads(capsys.readouterr().out)


def test_no_command_shows_the_help_and_is_wrong_use(
    elsewhere: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run([]) == 2
    printed = capsys.readouterr()
    assert "Usage:" in printed.out + printed.err


def test_what_was_not_foreseen_is_a_sentence_and_a_file(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(elsewhere))
    monkeypatch.setattr("starter.context.settings", lambda: 1 / 0)

    assert cli.run(["topic", "list"]) == 1

    said = capsys.readouterr().err
    assert "ZeroDivisionError" in said
    assert "Traceback" not in said
    (kept,) = elsewhere.glob("carillon-error-*.log")
    assert str(kept) in said
    assert "Traceback" in kept.read_text()


@pytest.mark.parametrize("asked", [["--debug"], []], ids=["option", "variable"])
def test_debug_shows_the_traceback(
    elsewhere: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    asked: list[str],
) -> None:
    monkeypatch.setattr("starter.context.settings", lambda: 1 / 0)
    if not asked:
        monkeypatch.setenv("CARILLON_DEBUG", "1")

    assert cli.run(["topic", "list", *asked]) == 1

    assert "Traceback" in capsys.readouterr().err


def test_every_known_error_is_where_the_edge_looks_for_it() -> None:
    for module, names in cli.KNOWN.items():
        for name in names:
            assert issubclass(getattr(importlib.import_module(module), name), Exception)


def test_options_that_stand_anywhere_do_so_only_before_two_dashes() -> None:
    line = ["topic", "--json", "list", "--debug", "--json", "--", "--json"]

    assert list(cli._hoisted(line)) == ["--json", "--debug", "topic", "list", "--", "--json"]


def test_doctor_tells_json_from_a_table_and_fails_when_something_is_missing(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from stack.doctor import Finding

    findings = [
        Finding(name="Python", is_ok=True, found="3.11"),
        Finding(name="disk", is_ok=False, found="1 GB", remedy="Free some."),
    ]
    monkeypatch.setattr("stack.doctor.examine", lambda settings: findings)

    assert cli.run(["doctor"]) == 1
    shown = capsys.readouterr().out
    assert "MISSING" in shown
    assert "Free some." in shown

    assert cli.run(["doctor", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["ok"] is False


def test_reset_asks_and_deletes_only_what_the_stack_made(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data = elsewhere / "data"
    (data / "logs").mkdir(parents=True)
    (data / "mine.txt").write_text("keep")
    monkeypatch.setenv("CARILLON_DATA_DIR", str(data))
    monkeypatch.setattr("sys.stdin", open(os.devnull))  # noqa: SIM115, PTH123  nobody answers

    assert cli.run(["reset"]) == 1
    assert (data / "logs").exists()

    capsys.readouterr()
    assert cli.run(["reset", "--yes", "--json"]) == 0
    assert str(data / "logs") in json.loads(capsys.readouterr().out)["deleted"]
    assert not (data / "logs").exists()
    assert (data / "mine.txt").exists()


def test_wrong_fault_rules_of_the_simulator_are_one_sentence(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for port in ("PORT", "SENDGRID_PORT", "SMTP_PORT"):
        monkeypatch.setenv(f"CARILLON_SIMULATOR_{port}", "0")
    (elsewhere / "faults.json").write_text('[{"nonsense": 1}]')

    assert cli.run(["simulator", "--faults", "faults.json"]) == 1

    said = capsys.readouterr().err
    assert "The fault rules in faults.json are wrong" in said
    assert said.count("\n") == 1

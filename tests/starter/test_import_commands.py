"""`carillon recipients import` and `carillon suppressions import`, as people and programs see them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from sqlalchemy import Engine

from starter import cli, output
from starter.import_progress import import_progress


@pytest.fixture(autouse=True)
def _on_the_database(engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
    monkeypatch.setenv("CARILLON_DATABASE_URL", url)
    monkeypatch.chdir(tmp_path)
    output.configure()
    Path("people.csv").write_text("email,subscribed\na@x.org,\nb@x.org,no\nbad,\n")


def test_people_get_a_readable_summary(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["topic", "add", "news", "--name", "News"]) == 0
    capsys.readouterr()

    assert cli.run(["recipients", "import", "people.csv", "--topic", "news"]) == 0

    out, err = capsys.readouterr()
    assert "2 added, 0 updated, 0 unchanged, 0 merged, 1 rejected" in out
    assert "Topic news: 1 subscribed, 1 left." in out
    assert "people.rejects.csv" in out
    assert err == ""


def test_programs_get_json_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["recipients", "import", "people.csv", "--json"]) == 0

    out, err = capsys.readouterr()
    found = json.loads(out)
    assert (found["rows"], found["added"], found["rejected"]) == (3, 2, 1)
    assert found["rejects_path"] == "people.rejects.csv"
    assert err == ""


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["none.csv"], "There is no none.csv."),
        (["people.csv", "--topic", "nws"], "There is no topic 'nws'"),
        (["people.csv", "--resubscribe"], "--topic KEY"),
    ],
)
def test_a_refused_import_is_one_sentence_and_exit_code_1(
    capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    assert cli.run(["recipients", "import", *arguments]) == 1

    out, err = capsys.readouterr()
    assert out == ""
    assert said in err
    assert len(err.splitlines()) == 1


def test_suppressions_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["suppressions", "import", "people.csv"]) == 0
    out = capsys.readouterr().out
    assert "2 addresses suppressed, 0 were already, 1 rejected" in out

    assert cli.run(["suppressions", "import", "people.csv", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["unchanged"] == 2


def test_at_a_terminal_progress_is_shown_on_standard_error(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    output.configure(json=True)
    with import_progress(Path("people.csv")) as tell:
        tell(10, 1)
    assert capsys.readouterr().err == ""

    output.configure()
    output.console.cache_clear()
    monkeypatch.setenv("FORCE_COLOR", "1")
    with import_progress(Path("people.csv")) as tell:
        tell(10, 1)
    output.console.cache_clear()

    out, err = capsys.readouterr()
    assert "people.csv" in err
    assert "rows/s" in err
    assert out == ""

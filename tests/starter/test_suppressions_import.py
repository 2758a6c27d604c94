"""Importing suppressions: addresses that are not sent to any more."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from starter import suppressions_import
from starter.csv_file import ImportRefused
from starter.suppressions_import import import_suppressions


def stored(engine: Engine) -> list[tuple[str, str, str, str]]:
    with engine.connect() as connection:
        found = connection.execute(
            text("SELECT channel, address, reason, source FROM suppression ORDER BY address")
        )
        return [(row.channel, row.address, row.reason, row.source) for row in found]


def test_addresses_are_stored_like_contact_points(engine: Engine, tmp_path: Path) -> None:
    path = tmp_path / "bounces.csv"
    path.write_text("status,email,reason\n5.1.1,Ada@Example.ORG,hard_bounce\n,b@x.org,\n")

    result = import_suppressions(engine, path)

    assert (result.rows, result.added, result.unchanged, result.rejected) == (2, 2, 0, 0)
    assert result.rejects_path is None
    assert stored(engine) == [
        ("email", "ada@example.org", "hard_bounce", "import"),
        ("email", "b@x.org", "manual", "import"),
    ]


def test_bad_rows_go_beside_the_file_and_stop_nothing(engine: Engine, tmp_path: Path) -> None:
    path = tmp_path / "bounces.csv"
    path.write_text(f"email;reason\nnobody;\na@x.org;{'x' * 101}\nb@x.org\nc@x.org;{'x' * 100}\n")

    result = import_suppressions(engine, path)

    assert (result.rows, result.added, result.rejected) == (4, 1, 3)
    assert result.rejects_path == tmp_path / "bounces.rejects.csv"
    lines = result.rejects_path.read_text().splitlines()
    assert lines[0] == "line,reason,email,reason"
    assert [line.split(",")[0] for line in lines[1:]] == ["2", "3", "4"]


def test_an_address_that_is_suppressed_keeps_its_reason(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(suppressions_import, "CHUNK", 2)
    path = tmp_path / "all.csv"
    path.write_text("email,reason\na@x.org,complaint\nA@x.org,other\nb@x.org,\na@X.org,third\n")

    first, second = import_suppressions(engine, path), import_suppressions(engine, path)

    assert (first.rows, first.added, first.unchanged) == (4, 2, 2)
    assert (second.added, second.unchanged) == (0, 4)
    assert [(address, reason) for _, address, reason, _ in stored(engine)] == [
        ("a@x.org", "complaint"),
        ("b@x.org", "manual"),
    ]


def test_a_file_that_is_wrong_as_a_whole_changes_nothing(engine: Engine, tmp_path: Path) -> None:
    path = tmp_path / "all.csv"
    for content in (b"", b"address\na@x.org\n", b"email\na@x.org\n\xff\n"):
        path.write_bytes(content)
        with pytest.raises(ImportRefused):
            import_suppressions(engine, path)

    assert stored(engine) == []

"""The file of rejected rows."""

from __future__ import annotations

from pathlib import Path

import pytest

from starter.rejects import Rejects, as_text_cell


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
def test_a_cell_is_never_a_formula(start: str) -> None:
    assert as_text_cell(f"{start}1+1") == f"'{start}1+1"
    assert as_text_cell(f" {start}") == f" {start}"
    assert as_text_cell("") == ""


def test_rejected_rows_are_beside_the_file_with_line_and_reason(tmp_path: Path) -> None:
    with Rejects(tmp_path / "people.csv") as rejects:
        rejects.header = ["email", "=name"]
        rejects.reject(7, "It is bad.", ["@x", "a,b"])

    assert rejects.path == tmp_path / "people.rejects.csv"
    assert rejects.path.read_text() == "line,reason,email,'=name\n7,It is bad.,'@x,\"a,b\"\n"
    assert [path.name for path in tmp_path.iterdir()] == ["people.rejects.csv"]


def test_without_rejects_an_old_file_is_removed(tmp_path: Path) -> None:
    old = tmp_path / "people.rejects.csv"
    old.write_text("old")

    with Rejects(tmp_path / "people.csv") as rejects:
        pass

    assert rejects.path is None
    assert not old.exists()


def test_an_import_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    old = tmp_path / "people.rejects.csv"
    old.write_text("old")

    with pytest.raises(RuntimeError), Rejects(tmp_path / "people.csv") as rejects:
        rejects.reject(2, "It is bad.", ["x"])
        raise RuntimeError

    assert old.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["people.rejects.csv"]

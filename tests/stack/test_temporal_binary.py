"""Where the Temporal binary comes from, in order; what is said where it cannot be got."""

from __future__ import annotations

from pathlib import Path

import pytest

from settings import Settings, load
from stack import temporal_build, temporal_download
from stack.errors import StackError
from stack.temporal_cli import cached_temporal, find_temporal, temporal_binary


@pytest.fixture
def bin_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is the whole PATH, but for the system's shell."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:/bin")
    return folder


@pytest.fixture
def empty(tmp_path: Path) -> Settings:
    return load(cache_dir=tmp_path / "cache", temporal_cli="")


def a_program(path: Path, script: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(
    ("says", "is_taken"),
    [
        ("temporal version 1.8.2 (Server 1.31.2, UI 2.50.1)", True),
        ("temporal version 1.9.1 (Server 1.32.0, UI 2.54.1)", True),
        ("temporal version 2.0.0 (Server 2.0.0, UI 3.0.0)", True),
        ("temporal version 1.7.4 (Server 1.30.1, UI 2.45.0)", False),
        ("temporal version 0.0.0-DEV (Server 1.31.2, UI 2.50.1)", False),
        ("tctl 1.18", False),
    ],
)
def test_a_binary_on_the_path_is_taken_from_1_8_on(
    bin_dir: Path, empty: Settings, says: str, is_taken: bool
) -> None:
    program = a_program(bin_dir / "temporal", f"echo '{says}'")

    found = find_temporal(empty)

    assert (found.path if found else None) == (program if is_taken else None)


def test_the_named_binary_comes_before_path_and_path_before_the_cache(
    bin_dir: Path, empty: Settings, tmp_path: Path
) -> None:
    named = a_program(tmp_path / "mine", "true")
    on_path = a_program(bin_dir / "temporal", "echo temporal version 1.8.2")
    cached = a_program(cached_temporal(empty), "true")

    def found(settings: Settings) -> Path | None:
        temporal = find_temporal(settings)
        return temporal.path if temporal else None

    assert found(empty.model_copy(update={"temporal_cli": str(named)})) == named
    assert found(empty) == on_path
    on_path.unlink()
    assert found(empty) == cached


def test_a_named_binary_that_is_no_program_is_an_error(empty: Settings, tmp_path: Path) -> None:
    with pytest.raises(StackError, match="CARILLON_TEMPORAL_CLI"):
        find_temporal(empty.model_copy(update={"temporal_cli": str(tmp_path / "none")}))


FAKE_GO = """
case "$1" in
  version) echo go version go1.99.0 linux/amd64 ;;
  list) echo go: downloading one v1 >&2; echo one; echo two ;;
  build) echo one; grep -q temporalio/cli go.mod && test -s go.sum && echo binary > temporal
         test "$CGO_ENABLED" = 0 && test "$GOFLAGS" = "-mod=readonly -buildvcs=false" ;;
esac
"""


def test_where_no_download_is_reachable_it_is_built_with_go(
    bin_dir: Path, empty: Settings, monkeypatch: pytest.MonkeyPatch, said: list[str]
) -> None:
    monkeypatch.setattr(temporal_download, "download", lambda *_: False)
    a_program(bin_dir / "go", FAKE_GO)
    before = [
        file.read_bytes() for file in sorted(temporal_build.SOURCE.iterdir()) if file.is_file()
    ]

    built = temporal_binary(empty, said.append)

    assert built.read_text() == "binary\n"
    assert any("minutes, once" in sentence for sentence in said)
    assert any("compiling 2 packages" in sentence for sentence in said)
    assert sorted(file.name for file in built.parent.iterdir()) == ["getting.lock", "temporal"]
    after = [
        file.read_bytes() for file in sorted(temporal_build.SOURCE.iterdir()) if file.is_file()
    ]
    assert before == after


def test_a_failed_build_says_why_and_what_else_would_do(
    bin_dir: Path, empty: Settings, monkeypatch: pytest.MonkeyPatch, said: list[str]
) -> None:
    monkeypatch.setattr(temporal_download, "download", lambda *_: False)
    a_program(
        bin_dir / "go",
        'test "$1" = version && echo go version go1.99.0 linux/amd64 || { echo no route; exit 1; }',
    )

    with pytest.raises(StackError, match=r"(?s)no route.*CARILLON_TEMPORAL_ADDRESS"):
        temporal_binary(empty, said.append)

    assert not cached_temporal(empty).exists()

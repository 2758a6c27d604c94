"""Finding the Temporal binary, and getting it where there is none."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from settings import Settings
from stack import temporal_build, temporal_download
from stack.errors import StackError
from stack.file_lock import locked

VERSION = "1.8.2"
OLDEST_MINOR = (1, 8)

REPAIR = (
    "Ways out: install the Temporal CLI 1.8 or newer on PATH, name a binary in CARILLON_TEMPORAL_CLI, "
    "or name a running server in CARILLON_TEMPORAL_ADDRESS."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A binary that is there already, and where it comes from."""

    path: Path
    origin: str


def find_temporal(settings: Settings) -> Found | None:
    """The binary of CARILLON_TEMPORAL_CLI, of PATH or of the cache; None where one must be got first.

    Raises StackError if CARILLON_TEMPORAL_CLI names no program.
    """
    if settings.temporal_cli:
        given = Path(settings.temporal_cli).expanduser().absolute()
        if not os.access(given, os.X_OK) or given.is_dir():
            raise StackError(f"CARILLON_TEMPORAL_CLI: {given} is not a program.")
        return Found(path=given, origin="CARILLON_TEMPORAL_CLI")
    on_path = shutil.which("temporal")
    if on_path and _is_new_enough(Path(on_path)):
        return Found(path=Path(on_path), origin="PATH")
    cached = cached_temporal(settings)
    return Found(path=cached, origin="the cache") if cached.exists() else None


def temporal_binary(settings: Settings, say: Callable[[str], None]) -> Path:
    """The Temporal binary; downloaded or built into the cache where there is none yet.

    A build takes minutes, so call it where Ctrl-C is heard. Raises StackError when nothing works.
    """
    found = find_temporal(settings)
    if found is not None:
        return found.path
    target = cached_temporal(settings)
    with locked(target.with_name("getting.lock"), _waiting(say)):
        if not target.exists():  # else another process has got it while we waited
            _get(target, settings, say)
    return target


def cached_temporal(settings: Settings) -> Path:
    """Where a binary that we got is kept."""
    return settings.cache_dir / "temporal" / VERSION / "temporal"


def _get(target: Path, settings: Settings, say: Callable[[str], None]) -> None:
    say(f"Carillon needs the Temporal server {VERSION}: downloading it (about 50 MB, once)")
    if temporal_download.download(VERSION, target, say):
        return
    say(
        "The download is not reachable from here: building Temporal from source, about 3-9 minutes, once"
    )
    try:
        temporal_build.build(VERSION, target, settings.cache_dir, say)
    except StackError as error:
        raise StackError(f"{error}\n{REPAIR}") from error


def _is_new_enough(binary: Path) -> bool:
    """Whether `temporal --version` says 1.8 or newer; a build without a version (0.0.0-DEV) is not."""
    try:
        said = subprocess.run(  # noqa: S603 - a program of the user's PATH
            [str(binary), "--version"], capture_output=True, text=True, timeout=10, check=False
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return False
    version = re.search(r"version (\d+)\.(\d+)", said)
    return version is not None and (int(version[1]), int(version[2])) >= OLDEST_MINOR


def _waiting(say: Callable[[str], None]) -> Callable[[], None]:
    return lambda: say("Another Carillon is getting the Temporal server: waiting for it")

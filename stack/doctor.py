"""What `carillon doctor` looks at: whether this machine can run the development stack, and what is missing."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from production import production_refusals
from settings import PREFIX, Settings
from stack.addresses import EVERY_PART, embedded_parts, ports_of
from stack.errors import StackError
from stack.ports import problem_with
from stack.postgres_place import MAJOR, place_of
from stack.running import read_running_stack
from stack.temporal_build import find_go, go_version
from stack.temporal_cli import VERSION, find_temporal
from stack.tls_findings import database_tls, temporal_tls, unreadable_files

OLDEST_PYTHON = (3, 11)
# A cluster and its WAL are 1.2 GB; a million recipients add about 1 GB.
ENOUGH_DISK_BYTES = 5_000_000_000
LOCK = Path(__file__).parents[1] / "requirements.lock"
_PINNED = re.compile(
    r"^(?P<name>[A-Za-z0-9._-]+)(?:\[[^]]*\])?==(?P<version>[^ ;\\]+) *(?P<marker>;)?"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing looked at. `remedy` says how to get it, where it is not there."""

    name: str
    is_ok: bool
    found: str
    remedy: str = ""


def examine(settings: Settings) -> list[Finding]:
    """Everything the development stack needs, in the order in which one would repair it."""
    looks: tuple[Callable[[Settings], Finding], ...] = (
        _python,
        _environment,
        _postgres,
        _temporal,
        _tls_files,
        _mode,
        _go,
        _data_folder,
        _disk,
        _stack,
        _ports,
        _docker,
    )
    return [look(settings) for look in looks]


def _python(_: Settings) -> Finding:
    return Finding(
        name="Python",
        is_ok=sys.version_info >= OLDEST_PYTHON,
        found=f"{'.'.join(map(str, sys.version_info[:3]))} ({sys.executable})",
        remedy="Install Python 3.11 or newer and run `make env PYTHON=python3.12`.",
    )


def _environment(_: Settings) -> Finding:
    if not LOCK.exists():
        return Finding(name="environment", is_ok=True, found="installed without a lock file")
    differing = _differing(LOCK.read_text(encoding="utf-8"))
    return Finding(
        name="environment",
        is_ok=not differing,
        found=", ".join(differing) or "as in requirements.lock",
        remedy="Run `make env` (or `make clean env`).",
    )


def _differing(lock: str) -> list[str]:
    """Packages whose installed version is not the locked one; a marker may leave one out altogether."""
    differing = []
    for line in lock.splitlines():
        if pinned := _PINNED.match(line):
            name, wanted = pinned["name"], pinned["version"]
            try:
                installed = metadata.version(name)
            except metadata.PackageNotFoundError:
                if not pinned["marker"]:
                    differing.append(f"{name} is missing")
            else:
                if installed != wanted:
                    differing.append(f"{name} is {installed}, locked {wanted}")
    return differing


def _postgres(settings: Settings) -> Finding:
    if settings.database_url:
        yours = f"yours, by CARILLON_DATABASE_URL, {database_tls(settings)}"
        return Finding(name="PostgreSQL", is_ok=True, found=yours)
    try:
        place = place_of(settings.data_dir, settings.postgres_port)
    except StackError as error:
        return Finding(name="PostgreSQL", is_ok=False, found="none", remedy=str(error))
    user = f", run as user {place.account.name}" if place.account else ""
    return Finding(
        name="PostgreSQL", is_ok=True, found=f"embedded {MAJOR}{user}, data in {place.folder}"
    )


def _temporal(settings: Settings) -> Finding:
    if settings.temporal_address:
        yours = f"yours, at {settings.temporal_address}, {temporal_tls(settings)}"
        return Finding(name="Temporal", is_ok=True, found=yours)
    try:
        found = find_temporal(settings)
    except StackError as error:
        return Finding(name="Temporal", is_ok=False, found="none", remedy=str(error))
    if found is not None:
        return Finding(name="Temporal", is_ok=True, found=f"{found.path} (from {found.origin})")
    return Finding(
        name="Temporal",
        is_ok=True,
        found=f"not here yet: `carillon up` downloads {VERSION}, or builds it with Go in 3-9 minutes",
    )


def _tls_files(settings: Settings) -> Finding:
    problems = unreadable_files(settings)
    return Finding(
        name="TLS files",
        is_ok=not problems,
        found="; ".join(problems) or "all that are named can be read",
        remedy="Correct the paths, or give this user the right to read the files.",
    )


def _mode(settings: Settings) -> Finding:
    refusals = production_refusals(settings) if settings.mode == "production" else []
    return Finding(
        name="mode",
        is_ok=not refusals,
        found=settings.mode,
        remedy=" ".join(f"{refusal}." for refusal in refusals),
    )


def _go(_: Settings) -> Finding:
    go = find_go()
    version = go_version(go) if go else None
    return Finding(
        name="Go (only to build Temporal)",
        is_ok=True,
        found=f"{'.'.join(map(str, version))} ({go})"
        if version
        else "none: fetched from PyPI if needed",
    )


def _data_folder(settings: Settings) -> Finding:
    nearest = _nearest(settings.data_dir)
    return Finding(
        name="data folder",
        is_ok=os.access(nearest, os.W_OK | os.X_OK),
        found=str(settings.data_dir),
        remedy=f"{nearest} is not writable: choose another folder with {PREFIX}DATA_DIR.",
    )


def _disk(settings: Settings) -> Finding:
    free = shutil.disk_usage(_nearest(settings.data_dir)).free
    return Finding(
        name="disk space",
        is_ok=free >= ENOUGH_DISK_BYTES,
        found=f"{free / 1e9:.0f} GB free",
        remedy=f"Free some, or move the data with {PREFIX}DATA_DIR: 5 GB are enough to begin.",
    )


def _stack(settings: Settings) -> Finding:
    running = read_running_stack(settings.data_dir)
    return Finding(name="stack", is_ok=True, found="running" if running else "not running")


def _ports(settings: Settings) -> Finding:
    if read_running_stack(settings.data_dir):
        return Finding(name="ports", is_ok=True, found="held by the running stack")
    ports = ports_of(settings, embedded_parts(settings, EVERY_PART))
    problems = [problem for port in ports if (problem := problem_with(port))]
    return Finding(
        name="ports",
        is_ok=not problems,
        found="; ".join(problems) or ", ".join(str(port.number) for port in ports) + " are free",
        remedy="End what holds them, or set the variables named to other ports.",
    )


def _docker(_: Settings) -> Finding:
    docker = shutil.which("docker")
    return Finding(
        name="Docker (only for docker-compose.yml)",
        is_ok=True,
        found=docker or "none, not needed here",
    )


def _nearest(path: Path) -> Path:
    """The folder itself, or the closest one above it that exists."""
    return next(folder for folder in (path, *path.parents) if folder.exists())

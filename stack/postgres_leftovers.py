"""What a killed PostgreSQL leaves: backends on its shared memory, and pid files that may name a stranger."""

from __future__ import annotations

import signal
from contextlib import suppress
from pathlib import Path

import psutil

from stack.errors import StackError

# Backends notice a dead postmaster when they wait for something; a computing one does not.
BACKENDS_MAY_TAKE_SECONDS = 2
# A postmaster asked to stop (SIGINT) writes a checkpoint first.
POSTMASTER_MAY_TAKE_SECONDS = 20


def clear_leftovers(folder: Path, socket_dir: Path, port: int) -> None:
    """End every PostgreSQL process of this cluster and drop its stale files. Raises StackError if one stays.

    The caller holds the data folder's lock, so nobody's server is meant by any of it.
    """
    _end(_postmasters(folder), signal.SIGINT, POSTMASTER_MAY_TAKE_SECONDS)
    _end(processes_of(folder), signal.SIGTERM, BACKENDS_MAY_TAKE_SECONDS)
    if remaining := processes_of(folder):
        pids = ", ".join(str(process.pid) for process in remaining)
        raise StackError(
            f"PostgreSQL processes of {folder} do not end (pid {pids}). End them and try again."
        )
    # PostgreSQL asks only whether the pid exists: after a restart of the machine a stranger may have it.
    (folder / "postmaster.pid").unlink(missing_ok=True)
    for name in (f".s.PGSQL.{port}", f".s.PGSQL.{port}.lock"):
        (socket_dir / name).unlink(missing_ok=True)


def processes_of(folder: Path) -> list[psutil.Process]:
    """Every living PostgreSQL process that works in the cluster: they all make it their directory."""
    real = folder.resolve()
    return [process for process in psutil.process_iter() if _works_in(process, real)]


def _postmasters(folder: Path) -> list[psutil.Process]:
    """Those of the cluster that are no child of another of them."""
    found = processes_of(folder)
    pids = {process.pid for process in found}
    return [
        process for process in found if _parent(process) not in pids and _is_postmaster(process)
    ]


def _works_in(process: psutil.Process, folder: Path) -> bool:
    try:
        return (
            process.name().startswith("postgres")
            and process.status() != psutil.STATUS_ZOMBIE
            and Path(process.cwd()) == folder
        )
    except (psutil.NoSuchProcess, psutil.AccessDenied, OSError):
        return False


def _is_postmaster(process: psutil.Process) -> bool:
    """Backends overwrite their command line with a title like `postgres: carillon carillon [local] idle`."""
    try:
        return "-D" in process.cmdline()
    except psutil.NoSuchProcess:
        return False


def _parent(process: psutil.Process) -> int | None:
    try:
        return process.ppid()
    except psutil.NoSuchProcess:
        return None


def _end(processes: list[psutil.Process], gently: signal.Signals, patience_seconds: float) -> None:
    for number in (gently, signal.SIGKILL):
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(number)
        _, processes = psutil.wait_procs(processes, patience_seconds)

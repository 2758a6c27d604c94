"""Removing the data of a development stack: what we made, and nothing else that lies there."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from stack.postgres_place import outside_of, short_socket_dir
from stack.run_folder import RunFolder
from stack.supervisor import LEFTOVERS_MAY_TAKE_SECONDS, say_to_log

# `run` holds the lock that keeps others out meanwhile, so it goes last.
OURS = ("postgres", "postgres.new", "temporal", "simulator", "logs", "run")


def reset(data_dir: Path, say: Callable[[str], None] = say_to_log) -> list[Path]:
    """Delete all data of the stack and return what was deleted. Raises StackError while a stack is alive."""
    if not data_dir.exists():
        return []
    folder = RunFolder(data_dir)
    folder.acquire()
    try:
        folder.end_leftovers(LEFTOVERS_MAY_TAKE_SECONDS, say)
        deleted = [path for path in _paths(data_dir) if _delete(path)]
    finally:
        folder.release()
    with suppress(OSError):  # files that are not ours keep the folder
        data_dir.rmdir()
    return deleted


def _paths(data_dir: Path) -> list[Path]:
    outside = outside_of(data_dir)
    clusters = (data_dir / "postgres", outside / "postgres")
    return [
        *(short_socket_dir(cluster) for cluster in clusters),
        outside,
        *(data_dir / name for name in OURS),
    ]


def _delete(path: Path) -> bool:
    if path.is_symlink():
        path.unlink()
    elif path.exists():
        shutil.rmtree(path)
    else:
        return False
    return True

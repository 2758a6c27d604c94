"""Whether a stack runs on a data folder, and at which addresses. Imports the standard library only."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Mapping
from pathlib import Path


def run_dir(data_dir: Path) -> Path:
    """Where locks, pid files and stack.json of a data folder are."""
    return data_dir / "run"


def lock_path(data_dir: Path) -> Path:
    """The file that a living supervisor holds locked (flock), with its pid inside."""
    return run_dir(data_dir) / "supervisor.lock"


def is_supervised(data_dir: Path) -> bool:
    """Whether a supervisor is alive on this data folder."""
    try:
        with lock_path(data_dir).open("rb") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
    except FileNotFoundError:
        pass
    return False


def read_running_stack(data_dir: Path) -> dict[str, str] | None:
    """CARILLON_… variables of the stack alive on this data folder; None when none is, or it still starts."""
    if not is_supervised(data_dir):
        return None
    try:
        found = json.loads(_stack_file(data_dir).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    return {str(name): str(value) for name, value in found.items()}


def write_running_stack(data_dir: Path, addresses: Mapping[str, str]) -> None:
    """Let other commands find this stack; the caller holds the lock."""
    target = _stack_file(data_dir)
    fresh = target.with_suffix(".new")
    fresh.write_text(json.dumps(dict(addresses), indent=1) + "\n", encoding="utf-8")
    fresh.replace(target)


def forget_running_stack(data_dir: Path) -> None:
    """The stack stops: its addresses are no longer true."""
    _stack_file(data_dir).unlink(missing_ok=True)


def _stack_file(data_dir: Path) -> Path:
    return run_dir(data_dir) / "stack.json"

"""Worker processes of a benchmark."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).parent.parent


@contextlib.contextmanager
def running_workers(
    roles: Mapping[str, str], environment: Mapping[str, str], folder: Path
) -> Iterator[dict[str, int]]:
    """Pids by name of workers with these roles, ready; their logs are `folder`/NAME.log."""
    running = {}
    for name, given in roles.items():
        ready = folder / f"{name}.ready"
        ready.unlink(missing_ok=True)
        with (folder / f"{name}.log").open("wb") as log:
            running[name] = subprocess.Popen(
                [sys.executable, "-m", "worker", "--roles", given],
                cwd=ROOT,
                env={**environment, "CARILLON_READY_FILE": str(ready)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
    try:
        while not all((folder / f"{name}.ready").exists() for name in roles):
            time.sleep(0.1)
        yield {name: process.pid for name, process in running.items()}
    finally:
        for process in running.values():
            process.terminate()
        for process in running.values():
            process.wait(60)

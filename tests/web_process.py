"""`python -m web` as a process of its own, on a test's database."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Self

import httpx

from stack.ports import free_ports

ROOT = Path(__file__).parents[1]


class WebProcess:
    """Started and ended as often as a test likes, always on the same port."""

    def __init__(
        self, database_url: str, folder: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        """`folder`: where it runs, and where its log is. `environment`: None means the tests' own."""
        self.log = folder / "web.log"
        self.port = free_ports(1)[0]
        self.url = f"http://127.0.0.1:{self.port}"
        self._folder = folder
        self._environment = {
            **(os.environ if environment is None else environment),
            "CARILLON_DATABASE_URL": database_url,
            "CARILLON_WEB_PORT": str(self.port),
            "PYTHONPATH": str(ROOT),
        }
        self._started: list[subprocess.Popen[bytes]] = []

    def start(self) -> subprocess.Popen[bytes]:
        """The process, ready to serve; the one that runs, where one does."""
        if self._started and self._started[-1].poll() is None:
            return self._started[-1]
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "web"],
                env=self._environment,
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._started.append(process)
        while not self._is_ready():
            assert process.poll() is None, self.log.read_text()
            time.sleep(0.05)
        return process

    def kill(self) -> None:
        """End every process that still runs, at once."""
        for process in self._started:
            if process.poll() is None:
                process.kill()
            process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def _is_ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/readyz").status_code == 200
        except httpx.HTTPError:
            return False

"""The Temporal SDK's own download of the dev server, used for the download alone.

The SDK offers no download without a start, so a child process lets it do both and stops the server.
As a module (`python -m stack.temporal_download VERSION FOLDER`) this is that child.
"""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from stack.progress import Stages, stages

# A network that swallows packets gives no error: give up when nothing arrives.
NOTHING_ARRIVES_SECONDS = 20.0
MEGABYTE = 1_000_000


def download(version: str, target: Path, say: Callable[[str], None]) -> bool:
    """Whether the binary is at `target` now. False means that the download is not reachable from here."""
    folder = target.with_name("download")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    command = [sys.executable, "-m", "stack.temporal_download", version, str(folder)]
    with stages(say) as progress:
        progress.begin("downloading (MB)")
        child = subprocess.Popen(  # noqa: S603 - ourselves
            command,
            cwd=Path(__file__).parents[1],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            _wait(child, folder, progress)
        finally:
            child.kill()
            child.wait()
    found = [file for file in folder.iterdir() if file.suffix != ".downloading"]
    if child.returncode == 0 and len(found) == 1:
        found[0].replace(target)
    shutil.rmtree(folder, ignore_errors=True)
    return child.returncode == 0 and target.exists()


def _wait(child: subprocess.Popen[bytes], folder: Path, progress: Stages) -> None:
    arrived, since = 0, time.monotonic()
    while child.poll() is None and time.monotonic() - since < NOTHING_ARRIVES_SECONDS:
        size = sum(file.stat().st_size for file in folder.glob("*"))
        if size > arrived:
            arrived, since = size, time.monotonic()
            progress.reached(arrived // MEGABYTE)
        time.sleep(0.1)


async def _download_by_starting(version: str, folder: str) -> None:
    # Here, for the parent does without it: half a second of every `carillon` command otherwise.
    from temporalio.testing import WorkflowEnvironment

    server = await WorkflowEnvironment.start_local(
        dev_server_download_version=f"v{version}", download_dest_dir=folder
    )
    await server.shutdown()


if __name__ == "__main__":
    asyncio.run(_download_by_starting(sys.argv[1], sys.argv[2]))

"""The log of everything accepted: `received.jsonl`, the evidence of the kill tests.

A line is written before its answer goes on the wire, so killing the simulator never loses what it
acknowledged. There is no fsync: the machine's own crash is not part of the promise.
"""

from __future__ import annotations

import os
from pathlib import Path

TAIL_BYTES = 1024 * 1024


class Journal:
    """One append-only file, written by this process alone and readable by anybody meanwhile."""

    def __init__(self, path: Path) -> None:
        """Open or create the file; a torn last line, which nobody acknowledged, is cut off."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        self._cut_torn_line()

    def append(self, lines: bytes) -> None:
        """Write whole lines at once. Raises OSError and leaves no half line behind when it cannot."""
        before = os.fstat(self._file).st_size
        rest = memoryview(lines)
        try:
            while rest:
                rest = rest[os.write(self._file, rest) :]
        except OSError:
            os.ftruncate(self._file, before)
            raise

    def clear(self) -> None:
        """Empty the file in place: readers keep their handle."""
        os.ftruncate(self._file, 0)

    def close(self) -> None:
        os.close(self._file)

    def _cut_torn_line(self) -> None:
        """A kill in the middle of a write may leave a part of a line at the end."""
        size = os.fstat(self._file).st_size
        end = size
        while end:
            start = max(0, end - TAIL_BYTES)
            newline = os.pread(self._file, end - start, start).rfind(b"\n")
            if newline >= 0:
                end = start + newline + 1
                break
            end = start
        if end < size:
            os.ftruncate(self._file, end)

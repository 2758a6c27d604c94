"""Starting one child process that does not outlive us and that no key of the terminal reaches."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from stack.unprivileged import Account

LOG_KEPT_BYTES = 20_000_000
_PR_SET_PDEATHSIG = 1
# Loaded before any fork: the child must not import or load libraries between fork and exec.
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


def spawn(
    argv: Sequence[str],
    *,
    env: Mapping[str, str],
    log_path: Path,
    account: Account | None = None,
    death_signal: signal.Signals = signal.SIGTERM,
) -> subprocess.Popen[bytes]:
    """The started process, in a session of its own, with its output appended to `log_path`.

    On Linux it gets `death_signal` when the *thread* that called this ends, so call it from one
    that lives as long as the child may.
    """
    log_path.parent.mkdir(parents=True, exist_ok=True)
    _turn_over(log_path)
    with log_path.open("ab") as log:
        return subprocess.Popen(  # noqa: S603 - argv is ours
            list(argv),
            env=dict(env),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            user=account.uid if account else None,
            group=account.gid if account else None,
            extra_groups=[] if account else None,
            # It must come after setuid, which clears the setting; subprocess calls it there.
            preexec_fn=_dying_with_us(death_signal),
        )


def last_lines(log_path: Path, count: int = 15) -> str:
    """The end of a log, for a message; empty when there is none."""
    try:
        with log_path.open("rb") as log:
            log.seek(max(0, log_path.stat().st_size - 8192))
            text = log.read().decode("utf-8", errors="replace")
    except OSError:
        return ""
    return "\n".join(text.splitlines()[-count:])


def _dying_with_us(death_signal: signal.Signals) -> Callable[[], None] | None:
    libc, parent = _LIBC, os.getpid()
    if libc is None:
        return None

    def arrange() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, int(death_signal), 0, 0, 0)
        if os.getppid() != parent:  # we were killed between the fork and this line
            os._exit(1)

    return arrange


def _turn_over(log_path: Path) -> None:
    if log_path.exists() and log_path.stat().st_size > LOG_KEPT_BYTES:
        log_path.replace(log_path.with_suffix(log_path.suffix + ".1"))

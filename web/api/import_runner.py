"""The thread beside the handlers that works on imports; each process of the API has one."""

from __future__ import annotations

import logging
import threading
import time
from types import TracebackType
from typing import Self

from sqlalchemy import Engine

from models.database import in_transaction
from models.import_job import forget_rejects
from starter.import_jobs import BrokenOff, remove_leftovers, run_next

log = logging.getLogger("web.api")

LOOK_EVERY_SECONDS = 1.0
AFTER_A_FAILURE_SECONDS = 5.0
FORGET_EVERY_SECONDS = 600.0
STOPS_WITHIN_SECONDS = 10.0


class ImportRunner:
    """A context: while it is open, jobs are worked on one by one, by a thread of its own."""

    def __init__(self, engine: Engine) -> None:
        """`engine`: not the handlers' own; an import takes several sessions, and takes its time."""
        self._engine = engine
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._work, name="imports", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # What it was at stays open in its row, and is gone on with by whoever starts next.
        self._is_over.set()
        self._thread.join(STOPS_WITHIN_SECONDS)

    def _work(self) -> None:
        remove_leftovers()
        forgot_at = float("-inf")
        while not self._is_over.is_set():
            try:
                if time.monotonic() - forgot_at >= FORGET_EVERY_SECONDS:
                    in_transaction(self._engine, forget_rejects)
                    forgot_at = time.monotonic()
                pause = 0.0 if run_next(self._engine, self._is_over.is_set) else LOOK_EVERY_SECONDS
            except BrokenOff:
                return
            except Exception as error:
                log.error("import.broken_off", extra={"error": type(error).__name__})
                pause = AFTER_A_FAILURE_SECONDS
            self._is_over.wait(pause)

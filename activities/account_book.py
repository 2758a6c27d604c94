"""The accounts that this process has credentials for, as it last saw them: accounts that are added,
changed or removed take effect in running workers within a second."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from providers.account import AccountConfig

log = logging.getLogger(__name__)

FRESH_SECONDS = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownAccount:
    """An account with its credentials, and since when it has those."""

    config: AccountConfig
    set_at: datetime | None
    """Null: they are the settings' and stay until the process ends."""


Read = Callable[[Connection], Mapping[int, KnownAccount]]


class AccountBook:
    """Shared by the threads of a worker."""

    def __init__(self, engine: Engine, read: Read) -> None:
        """`read`: the accounts by id; handed in by `composition.py`, as it lives in starter/."""
        self._engine = engine
        self._read = read
        self._lock = threading.Lock()
        self._known: Mapping[int, KnownAccount] = {}
        self._stale_from = 0.0

    def of(self, account_id: int) -> KnownAccount | None:
        """The account; None: this process has no credentials for it, as the rows say just now."""
        self._keep_fresh()
        found = self._known.get(account_id)
        if found is None:
            # Who asks may refuse the account for it: an account of this moment must not be missed.
            with self._lock:
                self._look()
            found = self._known.get(account_id)
        return found

    def ids(self) -> list[int]:
        """Every account that this process has credentials for."""
        self._keep_fresh()
        return list(self._known)

    def _keep_fresh(self) -> None:
        if time.monotonic() < self._stale_from:
            return
        with self._lock:
            if time.monotonic() < self._stale_from:
                return
            try:
                self._look()
            except SQLAlchemyError as error:
                # What was known goes on: without PostgreSQL nothing is claimed anyway.
                log.warning("accounts.not_read", extra={"reason": type(error).__name__})

    def _look(self) -> None:
        with self._engine.connect() as connection:
            self._known = self._read(connection)
        self._stale_from = time.monotonic() + FRESH_SECONDS

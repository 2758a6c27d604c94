"""What this process sees of the providers' health: summed, written once a second, and acted on."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from domain.answer import CALL_BY_MISSED, Answer, AnswerClass
from domain.health import HealthRules, Seen
from models.account_health import record_answers
from models.breaker import close_breaker, open_breaker_if_failing, probe_failed, take_probe
from models.database import in_transaction

T = TypeVar("T")

log = logging.getLogger(__name__)

WRITE_EVERY_SECONDS = 1.0
_ERRORS = frozenset({AnswerClass.UNAVAILABLE, AnswerClass.UNKNOWN})
"""Answers that speak of the provider's health. A throttled one is dealt with by the limits."""


@dataclass(slots=True)
class _Sums:
    answers: int = 0
    errors: int = 0
    slow: int = 0


class HealthLog:
    """Shared by the threads of a worker. A crash loses a second of it, which harms nobody."""

    def __init__(
        self, engine: Engine, rules: HealthRules, *, slow_after: timedelta, probe_for: timedelta
    ) -> None:
        """`probe_for`: within which a probe is answered, at the latest by its time-out."""
        self._engine = engine
        self._rules = rules
        self._slow_after = slow_after.total_seconds()
        self._probe_for = probe_for
        self._lock = threading.Lock()
        self._pending: dict[int, _Sums] = {}
        self._probing: set[int] = set()
        self._write_at = 0.0

    def note(self, account_id: int, answer: Answer, seconds: float) -> None:
        """An answer came after so many seconds."""
        if answer is CALL_BY_MISSED:
            return
        is_error = answer.kind in _ERRORS
        with self._lock:
            sums = self._pending.setdefault(account_id, _Sums())
            sums.answers += 1
            sums.errors += is_error
            sums.slow += seconds > self._slow_after
            is_probe = account_id in self._probing
            self._probing.discard(account_id)
        if is_probe:
            self._probed(account_id, is_error=is_error)
        self._write_if_due()

    def try_probe(self, account_id: int) -> bool:
        """Whether this process may send one message to an account whose breaker is open."""
        is_taken = in_transaction(
            self._engine, lambda c: take_probe(c, account_id, self._probe_for)
        )
        if is_taken:
            with self._lock:
                self._probing.add(account_id)
            log.info("breaker.probed", extra={"account_id": account_id})
        return is_taken

    def write(self) -> None:
        """Write what is pending, and open the breakers of those that fail."""
        with self._lock:
            sums, self._pending = self._pending, {}
            self._write_at = time.monotonic() + WRITE_EVERY_SECONDS
        if not sums:
            return
        seen = {
            account: Seen(answers=s.answers, errors=s.errors, slow=s.slow)
            for account, s in sorted(sums.items())
        }
        self._commit(lambda c: record_answers(c, seen, self._rules))
        for account_id in [account for account, s in seen.items() if s.errors]:
            self._open_if_failing(account_id)

    def write_errors(self) -> None:
        """At the end of a pass: errors are written at once, for nobody may come to write them."""
        if any(sums.errors for sums in list(self._pending.values())):
            self.write()

    def _write_if_due(self) -> None:
        if time.monotonic() >= self._write_at:
            self.write()

    def _open_if_failing(self, account_id: int) -> None:
        if self._commit(lambda c: open_breaker_if_failing(c, account_id, self._rules)):
            log.error("breaker.opened", extra={"account_id": account_id})

    def _probed(self, account_id: int, *, is_error: bool) -> None:
        if is_error:
            self._commit(lambda c: probe_failed(c, account_id, self._rules))
            return
        self._commit(lambda c: close_breaker(c, account_id))
        log.info("breaker.closed", extra={"account_id": account_id})

    def _commit(self, work: Callable[[Connection], T]) -> T | None:
        """What `work` returns; None when the database is away.

        An answer may be in the caller's hand and not settled yet: that must never fail for this.
        """
        try:
            return in_transaction(self._engine, work)
        except DBAPIError:
            log.warning("health.not_written")
            return None

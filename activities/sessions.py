"""The kept provider sessions of a worker."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from datetime import datetime

from activities.account_book import AccountBook
from activities.work import FlightPace
from providers.catalog import open_session
from providers.protocol import Session


@dataclass(slots=True)
class _Kept:
    session: Session
    set_at: datetime | None
    """Of the credentials that it was opened with."""


@dataclass(slots=True)
class _Mine:
    """What one thread keeps, by account id."""

    kept: dict[int, _Kept] = field(default_factory=dict)
    paces: dict[int, FlightPace] = field(default_factory=dict)


class Sessions:
    """One session an account and thread, since none is thread-safe."""

    def __init__(self, book: AccountBook) -> None:
        """`book`: which accounts there are, with their credentials."""
        self._book = book
        self._threads = threading.local()

    def account_ids(self) -> list[int]:
        """The accounts that this worker has credentials for."""
        return self._book.ids()

    def of(self, account_id: int) -> Session | None:
        """This thread's session of the account; None: this worker has no credentials for it.

        It stays the same until `renew`.
        """
        kept = self._mine.kept
        if account_id not in kept:
            known = self._book.of(account_id)
            if known is None:
                return None
            kept[account_id] = _Kept(open_session(known.config), known.set_at)
        return kept[account_id].session

    def renew(self) -> None:
        """Close those of this thread's sessions whose credentials were changed or taken away; to be
        called where no request is open."""
        for account_id in list(self._mine.kept):
            if not self.is_current(account_id):
                self.drop(account_id)

    def is_current(self, account_id: int) -> bool:
        """Whether this thread's session of the account has the credentials that there are now."""
        known = self._book.of(account_id)
        return known is not None and known.set_at == self._mine.kept[account_id].set_at

    def pace_of(self, account_id: int, session: Session) -> FlightPace:
        """How fast this thread's session of the account was answered lately."""
        paces = self._mine.paces
        if account_id not in paces:
            paces[account_id] = FlightPace(session.capabilities.max_open_requests)
        return paces[account_id]

    def drop(self, account_id: int) -> None:
        """Close this thread's session of the account: its driver failed with requests open."""
        kept = self._mine.kept.pop(account_id, None)
        if kept is not None:
            kept.session.close()

    def drop_all(self) -> None:
        """Close this thread's sessions: its driver failed with requests open on some of them."""
        for account_id in list(self._mine.kept):
            self.drop(account_id)

    @property
    def _mine(self) -> _Mine:
        mine: _Mine | None = getattr(self._threads, "mine", None)
        if mine is None:
            mine = self._threads.mine = _Mine()
        return mine

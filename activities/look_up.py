"""Asking vendors for messages whose answer was lost: what they have is proof, silence is none."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from sqlalchemy import Engine

from activities.sessions import Sessions
from activities.single_mailer import SingleMailer
from domain.event import EventKind, ProviderEvent
from domain.identifier import Reference
from domain.outcome import Reason
from models.database import clock
from models.event_fold import Folded
from models.events import record_events
from models.look_up import Unproven, is_anothers, unproven_messages
from providers.protocol import Finder, LookUpFailed

log = logging.getLogger(__name__)

MOST_AT_ONCE = 50


class LookUp:
    """One pass asks for some of the unknown messages of accounts that can be asked."""

    def __init__(self, engine: Engine, sessions: Sessions, mailer: SingleMailer) -> None:
        """Of the accounts that this worker has credentials for."""
        self._engine = engine
        self._sessions = sessions
        self._mailer = mailer

    def once(self) -> Folded:
        """What the proof that was found came to."""
        self._sessions.renew()
        finders = self._finders()
        if not finders:
            return Folded()
        with self._engine.connect() as connection:
            wanted = unproven_messages(connection, list(finders), MOST_AT_ONCE)
        found = [proof for one in wanted if (proof := self._ask(finders[one.account_id], one))]
        return record_events(self._engine, found).folded

    def _finders(self) -> Mapping[int, Finder]:
        found: dict[int, Finder] = {}
        for account_id in self._sessions.account_ids():
            session: object = self._sessions.of(account_id)
            if isinstance(session, Finder):
                found[account_id] = session
        return found

    def _ask(self, finder: Finder, wanted: Unproven) -> ProviderEvent | None:
        member = wanted.member
        session = self._sessions.of(wanted.account_id)
        assert session is not None  # noqa: S101  a finder is a session of ours
        made = self._mailer.make(member, session.capabilities)
        if isinstance(made, Reason):
            return None
        try:
            name = finder.find_message(made.mail.address, made.mail.text, wanted.since)
        except LookUpFailed as error:
            log.warning("look_up.failed", extra={"account": wanted.account_key, "why": str(error)})
            return None
        with self._engine.connect() as connection:
            if name is None or is_anothers(connection, wanted, name):
                return None
            now = clock(connection)
        return ProviderEvent(
            account_id=wanted.account_id,
            provider_event_id=f"found:{name}",
            reference=Reference(member.send_id, member.ordinal, member.step),
            kind=EventKind.FOUND,
            at=now,
            provider_message_id=name,
        )

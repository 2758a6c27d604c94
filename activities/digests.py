"""Writing the digests of a period that has ended."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import timedelta

from temporalio import activity

from activities.contract import DigestsRef, DigestsWritten
from activities.failures import permanent_errors
from activities.heartbeats import heartbeats

log = logging.getLogger(__name__)

WriteDigests = Callable[[int], DigestsWritten]
"""Writes a period's messages, once; handed in by `composition.py`, as the use case lives in starter/.
Raises RequestNotTaken."""


class DigestActivities:
    """What RunDigests asks of the rows."""

    def __init__(self, write: WriteDigests, heartbeat_every: timedelta) -> None:
        """Made once in `composition.py`."""
        self._write = write
        self._heartbeat_every = heartbeat_every

    @activity.defn
    def write_digests(self, digests: DigestsRef) -> DigestsWritten:
        """One message for each person who has items in the period; a repeated call writes nothing."""
        with permanent_errors(), heartbeats(self._heartbeat_every):
            written = self._write(digests.period_id)
        log.info(
            "digests.written",
            extra={"period_id": digests.period_id, "messages": written.messages},
        )
        return written

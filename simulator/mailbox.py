"""What was accepted: written to the journal, counted, and the newest kept for the inbox page."""

from __future__ import annotations

import itertools
import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import NamedTuple, Protocol, TypedDict

import orjson

from simulator.journal import Journal

KEPT_MESSAGES = 500
RATE_WINDOW_SECONDS = 5


class Line(TypedDict):
    """One message to one address, as the journal has it. Exactly these keys."""

    at: str
    """When it was accepted: RFC 3339, UTC, microseconds."""
    provider: str
    account: str
    message_id: str
    """The sender's own reference."""
    to: str
    request_id: str
    """The provider's name for the request or the queue entry."""
    subject: str
    size: int
    """Bytes of this person's content."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendered:
    """A message as its reader would see it; nothing in it is escaped."""

    headers: Sequence[tuple[str, str]]
    text: str
    html: str
    attachments: Sequence[str] = ()
    """File names alone."""


class Source(Protocol):
    """What a provider keeps of a request so that its messages can be shown later."""

    def rendered(self, index: int) -> Rendered:
        """The message of line `index`, 0-based, of the request."""


class Kept(NamedTuple):
    """One message that the inbox can show."""

    number: int
    """1-based since the start or the last reset."""
    line: Line
    source: Source
    place: int
    """0-based, in the request."""

    def rendered(self) -> Rendered:
        return self.source.rendered(self.place)


class _Batch(NamedTuple):
    first_number: int
    lines: Sequence[Line]
    source: Source


def utc_now() -> str:
    """The time as journal lines have it."""
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


@dataclass(slots=True)
class Counts:
    """Since the start or the last reset."""

    received: int = 0
    requests: int = 0
    refused: int = 0
    """Requests or transactions that arrived and were answered by an error."""
    by_provider: Counter[str] = field(default_factory=Counter)


class Mailbox:
    """Everything accepted goes through `accept`; nothing here is done per message twice."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._batches: deque[_Batch] = deque()
        self._kept = 0
        self._seconds: deque[tuple[int, int]] = deque(maxlen=RATE_WINDOW_SECONDS + 1)
        self.counts = Counts()

    @property
    def journal_name(self) -> str:
        return self._journal.path.name

    def accept(self, provider: str, lines: Sequence[Line], source: Source) -> None:
        """Journal the lines of one request in one write, then count and keep them.

        Raises OSError when they cannot be written: then nothing may be acknowledged.
        """
        dumps, newline = orjson.dumps, orjson.OPT_APPEND_NEWLINE
        self._journal.append(b"".join([dumps(line, option=newline) for line in lines]))
        self._batches.append(_Batch(self.counts.received + 1, lines, source))
        self._kept += len(lines)
        while self._kept - len(self._batches[0].lines) >= KEPT_MESSAGES:
            self._kept -= len(self._batches.popleft().lines)
        self.counts.received += len(lines)
        self.counts.by_provider[provider] += len(lines)
        self._count_second(len(lines))

    def newest(self, address: str = "") -> Iterator[Kept]:
        """The kept messages, newest first; with `address` those whose address contains it."""
        wanted = address.strip().casefold()
        return (kept for kept in self._newest() if wanted in kept.line["to"].casefold())

    def find(self, number: int) -> Kept | None:
        """The message of that number, unless it is too old to be kept."""
        return next((kept for kept in self._newest() if kept.number == number), None)

    def per_second(self) -> float:
        """Messages a second over the last whole seconds."""
        now = int(time.monotonic())
        oldest = now - RATE_WINDOW_SECONDS
        whole = [(second, count) for second, count in self._seconds if oldest <= second < now]
        if not whole:
            return 0.0
        return round(sum(count for _, count in whole) / (now - whole[0][0]), 1)

    def clear(self) -> None:
        """Forget log, kept messages and counts."""
        self._journal.clear()
        self._batches.clear()
        self._kept = 0
        self._seconds.clear()
        self.counts = Counts()

    def _newest(self) -> Iterator[Kept]:
        everything = (
            Kept(batch.first_number + place, batch.lines[place], batch.source, place)
            for batch in reversed(self._batches)
            for place in reversed(range(len(batch.lines)))
        )
        return itertools.islice(everything, KEPT_MESSAGES)

    def _count_second(self, messages: int) -> None:
        second = int(time.monotonic())
        if self._seconds and self._seconds[-1][0] == second:
            messages += self._seconds.pop()[1]
        self._seconds.append((second, messages))

"""What is counted of an attempt's calls: in plain dictionaries, told to the metrics once a settle."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from domain.answer import CALL_BY_MISSED, Answer, AnswerClass
from observability import metrics, tracing

if TYPE_CHECKING:
    from opentelemetry.trace import Span

NOT_WRITTEN = "not_written"
"""The label of requests that missed their call_by: no provider has seen them."""
_ERRORS = frozenset(AnswerClass) - {AnswerClass.ACCEPTED}


@dataclass(slots=True, kw_only=True)
class Tally:
    """Of one attempt. Not thread-safe: it belongs to one driver."""

    kind: str
    """campaign or single."""
    account: str
    span: Span | None = None
    """Of the attempt as a whole; ended when all of it is answered."""
    _messages: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))
    _requests: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))
    _said: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))
    _seconds: float = 0.0

    def note(self, answer: Answer, members: int, seconds: float) -> None:
        """An answer about so many members came after so many seconds."""
        word = NOT_WRITTEN if answer is CALL_BY_MISSED else answer.kind
        self._messages[word] += members
        self._requests[word] += 1
        self._seconds += seconds

    def tell(self, *, is_last: bool) -> None:
        """Add what was noted since the last time to the metrics."""
        for word, count in self._messages.items():
            metrics.ANSWERED_MESSAGES.labels(self.kind, self.account, word).inc(count)
            self._said[word] += count
        for word, count in self._requests.items():
            metrics.PROVIDER_REQUESTS.labels(self.kind, self.account, word).inc(count)
        metrics.PROVIDER_SECONDS.labels(self.kind, self.account).inc(self._seconds)
        self._messages.clear()
        self._requests.clear()
        self._seconds = 0.0
        if is_last:
            metrics.ATTEMPTS.labels(self.kind, self.account).inc()
            self._end_span()

    def _end_span(self) -> None:
        said = {f"carillon.answers.{word}": count for word, count in self._said.items()}
        tracing.end_call(self.span, said, is_error=bool(_ERRORS & self._said.keys()))

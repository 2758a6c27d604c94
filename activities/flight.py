"""A flight: what is on the wire under one claim, and which of it is answered but not settled."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from activities.tally import Tally
from domain.answer import Answer, AnswerClass
from domain.outcome import Reason
from models.delivery_rows import NewDelivery
from models.settle import Letter, MemberAnswer

# What each class of answer means for the members of a request of one message.
_LETTERS: dict[AnswerClass, tuple[Letter, Reason]] = {
    AnswerClass.ACCEPTED: (Letter.ACCEPTED, Reason.NONE),
    AnswerClass.RECIPIENT_REFUSED: (Letter.REJECTED, Reason.RECIPIENT_REFUSED),
    AnswerClass.CONTENT_REFUSED: (Letter.REJECTED, Reason.CONTENT_REFUSED),
    AnswerClass.ACCOUNT_REFUSED: (Letter.RELEASED, Reason.NONE),
    AnswerClass.THROTTLED: (Letter.RELEASED, Reason.NONE),
    AnswerClass.UNAVAILABLE: (Letter.RELEASED, Reason.NONE),
    AnswerClass.UNKNOWN: (Letter.UNKNOWN, Reason.NONE),
}
REFUSED = (AnswerClass.RECIPIENT_REFUSED, AnswerClass.CONTENT_REFUSED)


@dataclass(slots=True, kw_only=True)
class Flight:
    """An attempt under way. Members are ordinals."""

    attempt_id: int | None
    """None: nobody of it may go; it only carries `unattempted` rows to the settle."""
    had_row: frozenset[int]
    contact_points: Mapping[int, int | None]
    open_requests: dict[int, Sequence[int]] = field(default_factory=dict)
    """Members by request number, not answered yet."""
    answers: dict[int, MemberAnswer] = field(default_factory=dict)
    """Answered and not settled."""
    unattempted: Sequence[NewDelivery] = ()
    code: str = ""
    error: str = ""
    provider_message_id: str = ""
    tally: Tally | None = None
    """Counts what is answered; None: nothing is called."""
    last_settled: float = field(default_factory=time.monotonic)

    @property
    def is_answered(self) -> bool:
        """Whether nothing of it is on the wire any more."""
        return not self.open_requests

    def is_to_settle(self, every_seconds: float) -> bool:
        """Whether it is answered in full, or holds answers for long enough."""
        waited = time.monotonic() - self.last_settled >= every_seconds
        return self.is_answered or (bool(self.answers) and waited)

    def note(self, number: int, answer: Answer, seconds: float = 0.0) -> Sequence[int]:
        """Record the answer to a request, after so many seconds; the members it was about.

        A refusal of many means that nobody was accepted: they are released, to be claimed in halves.
        """
        members = self.open_requests.pop(number)
        letter, reason = _LETTERS[answer.kind]
        if answer.kind in REFUSED and len(members) > 1:
            letter, reason = Letter.RELEASED, Reason.NONE
        for ordinal in members:
            self.answers[ordinal] = MemberAnswer(letter, reason, self.contact_points[ordinal])
        if answer.kind is AnswerClass.ACCEPTED:
            # Only a request that carries the whole flight has an id that speaks for all of it.
            if len(members) == len(self.contact_points):
                self.provider_message_id = answer.provider_message_id
        else:
            self.code, self.error = answer.code, answer.detail
        if self.tally is not None:
            self.tally.note(answer, len(members), seconds)
        return members

    def settled(self) -> None:
        """What was answered is committed."""
        self.answers = {}
        self.unattempted = ()
        if self.tally is not None:
            self.tally.tell(is_last=self.is_answered)
        self.last_settled = time.monotonic()

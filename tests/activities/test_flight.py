"""What each class of answer means for the members of a request."""

from __future__ import annotations

import pytest

from activities.flight import Flight
from domain.answer import Answer, AnswerClass
from domain.outcome import Reason
from models.settle import Letter


def flight(*requests: list[int]) -> Flight:
    members = {ordinal: ordinal * 10 for request in requests for ordinal in request}
    return Flight(
        attempt_id=1,
        had_row=frozenset(),
        contact_points=members,
        open_requests=dict(enumerate(requests, 1)),
    )


@pytest.mark.parametrize(
    ("kind", "letter", "reason"),
    [
        (AnswerClass.ACCEPTED, Letter.ACCEPTED, Reason.NONE),
        (AnswerClass.RECIPIENT_REFUSED, Letter.REJECTED, Reason.RECIPIENT_REFUSED),
        (AnswerClass.CONTENT_REFUSED, Letter.REJECTED, Reason.CONTENT_REFUSED),
        (AnswerClass.ACCOUNT_REFUSED, Letter.RELEASED, Reason.NONE),
        (AnswerClass.THROTTLED, Letter.RELEASED, Reason.NONE),
        (AnswerClass.UNAVAILABLE, Letter.RELEASED, Reason.NONE),
        (AnswerClass.UNKNOWN, Letter.UNKNOWN, Reason.NONE),
    ],
)
def test_an_answer_about_one_message(kind: AnswerClass, letter: Letter, reason: Reason) -> None:
    made = flight([5])

    made.note(1, Answer(kind=kind))

    assert (made.answers[5].letter, made.answers[5].reason) == (letter, reason)
    assert made.answers[5].contact_point_id == 50
    assert made.is_answered


@pytest.mark.parametrize("kind", [AnswerClass.RECIPIENT_REFUSED, AnswerClass.CONTENT_REFUSED])
def test_a_refusal_of_many_means_that_nobody_was_accepted(kind: AnswerClass) -> None:
    made = flight([1, 2, 3])

    made.note(1, Answer(kind=kind))

    assert {answer.letter for answer in made.answers.values()} == {Letter.RELEASED}


def test_a_flight_is_settled_when_answered_or_when_answers_have_waited() -> None:
    made = flight([1], [2])
    nothing_yet = made.is_to_settle(0.0)
    made.note(1, Answer(kind=AnswerClass.ACCEPTED))
    in_time, later = made.is_to_settle(60.0), made.is_to_settle(0.0)
    made.note(2, Answer(kind=AnswerClass.ACCEPTED))

    assert (nothing_yet, in_time, later, made.is_to_settle(60.0)) == (False, False, True, True)

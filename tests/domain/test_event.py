"""What events say about deliveries, as pure rules."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.event import EventKind, is_early, is_proof, is_reached, missing_duplicates, moved
from domain.outcome import Outcome, Progress
from domain.plan import parse_plan

kinds = st.lists(st.sampled_from(EventKind), max_size=8)


@given(kinds, st.randoms())
def test_the_order_and_the_repeats_of_events_do_not_matter(
    said: list[EventKind], random: object
) -> None:
    shuffled = [*said, *said]
    random.shuffle(shuffled)  # type: ignore[attr-defined]  # hypothesis' Random is not typed as one

    one_by_one = Progress.NONE
    for kind in shuffled:
        one_by_one = moved(one_by_one, [kind])

    assert one_by_one is moved(Progress.NONE, said)


@given(st.sampled_from(Progress), kinds)
def test_progress_never_goes_down(progress: Progress, said: list[EventKind]) -> None:
    assert moved(progress, said) >= progress


@pytest.mark.parametrize(
    ("outcome", "tries", "was_answered", "proof"),
    [
        (Outcome.UNKNOWN, 1, True, True),
        (Outcome.UNCONFIRMED, 3, True, True),
        (Outcome.OWED, 1, False, True),
        (Outcome.OWED, 0, False, False),
        (Outcome.REJECTED, 0, True, True),
        (Outcome.REJECTED, 0, False, False),
        (Outcome.ACCEPTED, 0, True, False),
        (Outcome.SKIPPED, 0, False, False),
        (Outcome.CANCELLED, 0, False, False),
        (Outcome.EXPIRED, 0, False, False),
    ],
)
def test_an_event_proves_what_was_tried_and_waits_for_what_was_not(
    outcome: Outcome, tries: int, was_answered: bool, proof: bool
) -> None:
    assert is_proof(outcome, tries=tries, was_answered=was_answered) is proof
    is_told = proof or outcome is Outcome.ACCEPTED
    assert is_early(outcome, tries=tries, was_answered=was_answered) is not is_told


@pytest.mark.parametrize(
    ("plan", "progress", "reached"),
    [
        ("sms,email", Progress.NONE, True),
        ("in_app:read/1h,email", Progress.SEEN, False),
        ("in_app:read/1h,email", Progress.READ, True),
        ("sms:delivered/1h,email", Progress.BOUNCED, False),
    ],
)
def test_a_step_is_enough_when_what_it_waits_for_is_reached(
    plan: str, progress: Progress, reached: bool
) -> None:
    assert is_reached(parse_plan(plan), 1, progress) is reached


@pytest.mark.parametrize(
    ("told", "answered", "tries", "recorded", "missing"),
    [
        ([], "B", 1, 0, 0),
        (["B"], "B", 1, 0, 0),
        (["A"], "B", 1, 0, 1),
        (["A", "B"], "B", 1, 0, 1),
        (["A"], "B", 1, 1, 0),
        (["A", "C"], "B", 1, 0, 1),
        (["A", "C"], "B", 2, 0, 2),
        (["A"], "B", 0, 0, 0),
        (["A"], "", 1, 0, 0),
        (["A"], None, 1, 0, 0),
        (["A", "B"], None, 1, 0, 0),
        (["A", "B"], None, 2, 0, 1),
    ],
)
def test_two_ids_of_one_delivery_are_a_duplicate_where_an_answer_was_lost(
    told: list[str], answered: str | None, tries: int, recorded: int, missing: int
) -> None:
    for order in itertools.permutations(told):
        assert missing_duplicates(order, answered, tries=tries, recorded=recorded) == missing

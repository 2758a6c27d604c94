"""What a pass does next: order, halves, and when it ends."""

from __future__ import annotations

from datetime import timedelta

from activities.contract import Stop
from activities.work import MAX_UNAVAILABLE_IN_A_ROW, FlightPace, Work
from models.facts import Owed


def work(fresh: int = 10, again: tuple[int, ...] = ()) -> Work:
    first = max(again, default=0) + 1
    return Work(Owed(fresh=list(range(first, first + fresh)), again=list(again)))


def test_members_are_taken_in_order_and_repeats_last() -> None:
    owed = work(fresh=3, again=(1, 2))

    assert owed.next_members(2) == [3, 4]
    assert owed.next_members(10) == [1, 2, 5]
    assert not owed.is_left


def test_a_refused_request_is_claimed_in_halves_before_anything_else() -> None:
    owed = work(fresh=10)
    refused = owed.next_members(5)
    owed.split(refused)

    assert owed.next_members(10) == [1, 2, 3]
    assert owed.next_members(10) == [4, 5]
    assert owed.next_members(10) == [6, 7, 8, 9, 10]


def test_halving_finds_one_bad_address_in_a_thousand_in_about_twenty_requests() -> None:
    owed, requests, alone = work(fresh=1000), 0, []
    while owed.is_left:
        members = owed.next_members(1000)
        requests += 1
        if 437 in members and len(members) > 1:
            owed.split(members)
        elif 437 in members:
            alone = members

    assert alone == [437]
    assert requests <= 21


def test_what_was_not_claimed_is_next_and_what_was_too_slow_is_last() -> None:
    owed = work(fresh=6)
    owed.put_back(owed.next_members(2))
    owed.put_last(owed.next_members(1))

    assert owed.next_members(10) == [1, 2, 3, 4, 5, 6]


def test_one_unavailable_message_is_set_aside_and_several_in_a_row_end_the_pass() -> None:
    owed = work(fresh=10)
    owed.set_aside(timedelta(seconds=1))
    goes_on = owed.is_left
    owed.accepted_some()
    for _ in range(MAX_UNAVAILABLE_IN_A_ROW):
        owed.set_aside(timedelta(seconds=2))

    assert goes_on
    assert not owed.is_left
    assert owed.resume_in == timedelta(seconds=2)
    assert owed.met_unavailable


def test_the_first_stop_is_the_reason() -> None:
    owed = work()
    owed.end(stop=Stop.ACCOUNT)
    owed.end(stop=Stop.PAUSED)

    assert owed.stop is Stop.ACCOUNT


def test_single_requests_begin_with_what_fits_on_the_wire() -> None:
    pace = FlightPace(8)
    pace.answered(3)

    assert pace.size == 8

"""From which shares on a send is held."""

from __future__ import annotations

import pytest

from domain.trip_wire import Tally, Wires, reason_to_hold

WIRES, QUIET = Wires(), Tally()


@pytest.mark.parametrize(
    ("tally", "reason"),
    [
        (Tally(accepted=1000, hard_bounces=50), None),
        (Tally(accepted=1000, hard_bounces=51), "51 hard bounces of 1,000 (5.1 %, over 5.00%)"),
        (Tally(accepted=99, hard_bounces=99), None),
        (Tally(accepted=100, hard_bounces=6), "6 hard bounces of 100"),
        (Tally(accepted=1000, complaints=3), None),
        (Tally(accepted=1000, complaints=4), "4 complaints of 1,000"),
        (Tally(accepted=80, errors=20), None),
        (Tally(accepted=79, errors=21), "21 errors of 100"),
        (Tally(errors=100), "100 errors of 100"),
    ],
)
def test_a_wire_trips_above_its_share_of_at_least_a_hundred(
    tally: Tally, reason: str | None
) -> None:
    said = reason_to_hold(WIRES, first=tally, lately=QUIET)

    assert (said or "").startswith(reason or "")
    assert (said is None) is (reason is None)
    assert said is None or said.endswith("in its first 1,000 messages")


def test_the_window_is_looked_at_beside_the_first_messages_and_without_them() -> None:
    tally = Tally(accepted=100, hard_bounces=10)

    for first in (QUIET, None):
        said = reason_to_hold(WIRES, first=first, lately=tally)

        assert said is not None
        assert said.endswith("in the last 60 minutes")


def test_a_share_of_nothing_turns_a_wire_off() -> None:
    wires = Wires(hard_bounces=0)

    assert reason_to_hold(wires, first=Tally(accepted=100, hard_bounces=100), lately=QUIET) is None

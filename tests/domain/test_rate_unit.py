"""What a vendor counts."""

from __future__ import annotations

import pytest

from domain.rate_unit import RateUnit, units_of_message, units_of_requests


@pytest.mark.parametrize(
    ("unit", "text", "units"),
    [
        (RateUnit.SEGMENTS, "a" * 160, 1),
        (RateUnit.SEGMENTS, "a" * 161, 2),
        (RateUnit.SEGMENTS, "", 1),
        (RateUnit.RECIPIENTS, "a" * 1000, 1),
        (RateUnit.REQUESTS, "a" * 1000, 1),
    ],
)
def test_only_segments_depend_on_the_text(unit: RateUnit, text: str, units: int) -> None:
    assert units_of_message(unit, text) == units


def test_a_merging_request_is_one_request_or_all_of_its_people() -> None:
    assert units_of_requests(RateUnit.REQUESTS, 2001, 1000) == 3
    assert units_of_requests(RateUnit.RECIPIENTS, 2001, 1000) == 2001

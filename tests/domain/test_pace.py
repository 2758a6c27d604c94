"""How long to wait, and how much to take at once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from domain.pace import backoff, batch_size, flight_size, round_up

AT = datetime(2026, 11, 21, 12, 1, 30, tzinfo=UTC)


@pytest.mark.parametrize(("failures", "seconds"), [(1, 2), (2, 4), (5, 32), (9, 300), (1000, 300)])
def test_backoff_doubles_up_to_its_limit(failures: int, seconds: int) -> None:
    waits = {"first": timedelta(seconds=2), "most": timedelta(minutes=5)}

    assert backoff(failures, **waits, jitter=0) == timedelta(seconds=seconds)
    assert backoff(failures, **waits, jitter=0.99) >= timedelta(seconds=seconds * 0.75)


def test_a_deferral_is_rounded_up_to_the_grid_and_a_point_on_it_stays() -> None:
    grid = timedelta(minutes=5)

    assert round_up(AT, grid) == datetime(2026, 11, 21, 12, 5, tzinfo=UTC)
    assert round_up(round_up(AT, grid), grid) == round_up(AT, grid)


@pytest.mark.parametrize(
    ("rate", "size"), [(None, 5000), (1000, 5000), (100, 2000), (2, 100), (0.1, 100)]
)
def test_a_batch_is_about_twenty_seconds_of_work(rate: float | None, size: int) -> None:
    assert batch_size(most=5000, rate=rate) == size


@pytest.mark.parametrize(
    ("per_request", "rate", "size"),
    [(1000, None, 1000), (1000, 400, 400), (1, None, 200), (1, 50, 50), (1000, 0.5, 1)],
)
def test_a_flight_is_a_request_or_a_second_of_the_rate(
    per_request: int, rate: float | None, size: int
) -> None:
    assert flight_size(per_request=per_request, single_requests=200, rate=rate) == size

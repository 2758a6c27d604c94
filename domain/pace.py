"""How long to wait: backoff between rounds, and the grid that deferrals are rounded up to."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def backoff(failures: int, *, first: timedelta, most: timedelta, jitter: float) -> timedelta:
    """Wait after `failures` (≥ 1) rounds in a row that met an unavailable provider.

    Doubles from `first` up to `most`; `jitter` in [0, 1) takes up to a quarter of it away, so that
    batches which failed together do not come back together.
    """
    doublings: int = min(failures - 1, 20)
    return min(first * (1 << doublings), most) * (1 - jitter / 4)


def round_up(at: datetime, grid: timedelta) -> datetime:
    """The first instant ≥ `at` (aware) on the grid, counted from 1970-01-01 UTC."""
    past = (at - _EPOCH) % grid
    return at if not past else at + (grid - past)


def flight_size(*, per_request: int, single_requests: int, rate: float | None) -> int:
    """Most messages of one flight: min(vendor's limit, rate × 1 s, single requests), at least 1."""
    most = per_request if per_request > 1 else single_requests
    return max(1, min(most, int(rate))) if rate else most


def batch_size(*, most: int, rate: float | None) -> int:
    """Messages of one batch: about 20 s of work at the send's rate, from 100 up to `most`."""
    if not rate:
        return most
    return max(min(100, most), min(most, int(rate * 20)))

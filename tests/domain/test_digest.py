"""Periods of digests: days and weeks on the clocks of a zone."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.digest import DIGESTED, Cadence, period_of

VIENNA = ZoneInfo("Europe/Vienna")


@pytest.mark.parametrize(
    ("cadence", "at", "name", "ends_at"),
    [
        # 23:30 UTC is the next day already in Vienna.
        (Cadence.DAILY, "2026-11-28T23:30", "2026-11-29", "2026-11-29T23:00"),
        (Cadence.DAILY, "2026-11-28T22:59", "2026-11-28", "2026-11-28T23:00"),
        # The day on which clocks are put back has 25 hours.
        (Cadence.DAILY, "2026-10-25T00:30", "2026-10-25", "2026-10-25T23:00"),
        (Cadence.WEEKLY, "2026-11-29T22:59", "2026-W48", "2026-11-29T23:00"),
        (Cadence.WEEKLY, "2026-11-29T23:00", "2026-W49", "2026-12-06T23:00"),
        # The first days of 2027 belong to the last week of 2026.
        (Cadence.WEEKLY, "2027-01-02T12:00", "2026-W53", "2027-01-03T23:00"),
    ],
)
def test_a_period_is_a_day_or_iso_week_of_the_zone(
    cadence: Cadence, at: str, name: str, ends_at: str
) -> None:
    found = period_of(cadence, datetime.fromisoformat(at).replace(tzinfo=UTC), VIENNA)

    assert (found.name, found.ends_at) == (
        name,
        datetime.fromisoformat(ends_at).replace(tzinfo=UTC),
    )


@given(
    seconds=st.integers(0, 3_700_000_000),
    zone=st.sampled_from(["UTC", "Europe/Vienna", "Pacific/Apia", "America/Santiago"]),
    cadence=st.sampled_from(DIGESTED),
)
def test_periods_follow_each_other_without_a_gap(seconds: int, zone: str, cadence: Cadence) -> None:
    at = datetime.fromtimestamp(seconds, UTC)
    found = period_of(cadence, at, ZoneInfo(zone))
    following = period_of(cadence, found.ends_at, ZoneInfo(zone))

    assert found.ends_at > at
    assert following.name > found.name
    assert period_of(cadence, found.ends_at - timedelta(seconds=1), ZoneInfo(zone)) == found


def test_what_is_told_at_once_has_no_period() -> None:
    with pytest.raises(ValueError, match="no period"):
        period_of(Cadence.IMMEDIATE, datetime(2026, 1, 1, tzinfo=UTC), VIENNA)


def test_a_week_ends_on_a_monday() -> None:
    sunday = datetime(2026, 11, 29, 12, tzinfo=UTC)

    assert period_of(Cadence.WEEKLY, sunday, VIENNA).ends_on == date(2026, 11, 30)

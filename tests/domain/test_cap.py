"""When one more message is one too many, and until when."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from domain.cap import Cap, Over, parse_per, worst
from domain.eligibility import OverCap

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
TOKYO = ZoneInfo("Asia/Tokyo")
KIRITIMATI = ZoneInfo("Pacific/Kiritimati")


def a_cap(most: int = 2, hours: int | None = None, over: Over = Over.DEFER) -> Cap:
    return Cap(id=1, most=most, hours=hours, over=over)


def ago(*hours: float) -> list[datetime]:
    return [NOW - timedelta(hours=back) for back in hours]


def test_a_day_is_the_recipients_day() -> None:
    assert a_cap().key(NOW, TOKYO) == "2026-11-21"
    assert a_cap().key(NOW, KIRITIMATI) == "2026-11-22"


def test_a_cap_of_a_day_is_over_until_the_recipients_midnight() -> None:
    cap = a_cap(most=2)

    assert cap.over_with(1, [], NOW, TOKYO) is None
    assert cap.over_with(2, [], NOW, TOKYO) == OverCap(datetime(2026, 11, 21, 15, tzinfo=UTC))


def test_a_cap_of_hours_is_over_until_enough_of_its_uses_are_old() -> None:
    cap = a_cap(most=2, hours=24)

    assert cap.over_with(3, ago(30, 25, 1), NOW, TOKYO) is None
    assert cap.over_with(2, ago(1, 20), NOW, TOKYO) == OverCap(NOW + timedelta(hours=4))
    assert cap.over_with(3, ago(1, 20, 23), NOW, TOKYO) == OverCap(NOW + timedelta(hours=4))


def test_a_cap_that_skips_has_no_end() -> None:
    assert a_cap(most=1, over=Over.SKIP).over_with(1, [], NOW, TOKYO) == OverCap(None)


def test_of_several_caps_a_skip_decides_and_else_the_latest_end() -> None:
    soon, late = OverCap(NOW), OverCap(NOW + timedelta(hours=1))

    assert worst([]) is None
    assert worst([late, soon]) == late
    assert worst([soon, OverCap(None), late]) == OverCap(None)


@pytest.mark.parametrize(("words", "hours"), [("day", None), ("24h", 24), ("1h", 1)])
def test_the_window_of_a_cap_is_a_day_or_hours(words: str, hours: int | None) -> None:
    assert parse_per(words) == hours


@pytest.mark.parametrize("words", ["", "0h", "week", "24", "99999h"])
def test_what_is_no_window_of_a_cap_is_refused(words: str) -> None:
    with pytest.raises(ValueError, match="write day, or hours"):
        parse_per(words)

"""Times of day where people are: quiet hours and windows over changed clocks and midnight."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.local_time import (
    Window,
    first_moment,
    last_moment,
    local_moment,
    moment_of,
    next_open,
    parse_local,
    quiet_until,
    zone_of,
)

NIGHT = Window(time(22), time(8))
DAY = Window(time(9), time(21))
BERLIN = ZoneInfo("Europe/Berlin")

# Whole hours, half and quarter hours, both ends of the world, clocks changed at midnight and by half
# an hour, a zone that left out a day.
ZONES = [
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Asia/Kathmandu",
    "Australia/Lord_Howe",
    "Pacific/Kiritimati",
    "Etc/GMT-14",
    "Etc/GMT+12",
    "Pacific/Apia",
    "America/Sao_Paulo",
    "Africa/Casablanca",
    "Asia/Beirut",
]


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[misc,arg-type]  # year, month, day, …


zones = st.sampled_from(ZONES).map(ZoneInfo)
moments = st.integers(0, 20 * 365 * 86_400).map(lambda s: utc(2011, 1, 1) + timedelta(seconds=s))
times = st.times().map(lambda at: at.replace(microsecond=0, fold=0))
windows = (
    st.tuples(times, times)
    .filter(lambda ends: ends[0] != ends[1])
    .map(lambda ends: Window(ends[0], ends[1]))
)


def test_a_time_that_occurs_twice_means_the_first() -> None:
    assert local_moment(date(2026, 10, 25), time(2, 30), BERLIN) == utc(2026, 10, 25, 0, 30)


def test_a_time_that_does_not_exist_moves_to_the_end_of_the_gap() -> None:
    assert local_moment(date(2026, 3, 29), time(2, 10), BERLIN) == utc(2026, 3, 29, 1)
    assert local_moment(date(2026, 3, 29), time(2, 59, 59), BERLIN) == utc(2026, 3, 29, 1)


def test_a_day_that_does_not_exist_moves_to_the_day_after_it() -> None:
    apia = ZoneInfo("Pacific/Apia")  # went from 29 to 31 December 2011

    assert local_moment(date(2011, 12, 30), time(12), apia) == utc(2011, 12, 30, 10)
    assert next_open(utc(2011, 12, 30, 7), DAY, apia) == utc(2011, 12, 30, 19)


@pytest.mark.parametrize(
    ("at", "until"),
    [
        (utc(2026, 11, 21, 20, 59), None),
        (utc(2026, 11, 21, 21), utc(2026, 11, 22, 7)),
        (utc(2026, 11, 22, 6, 59, 59), utc(2026, 11, 22, 7)),
        (utc(2026, 11, 22, 7), None),
        (utc(2026, 3, 28, 23), utc(2026, 3, 29, 6)),
        (utc(2026, 10, 24, 23), utc(2026, 10, 25, 7)),
    ],
)
def test_a_night_in_berlin_is_quiet_until_eight_whatever_the_clocks_do(
    at: datetime, until: datetime | None
) -> None:
    assert quiet_until(at, NIGHT, BERLIN) == until


def test_nights_between_which_the_clocks_left_no_time_are_one() -> None:
    nearly_always = Window(time(2, 30), time(2, 10))

    assert quiet_until(utc(2026, 3, 28, 12), nearly_always, BERLIN) == utc(2026, 3, 30, 0, 10)


def test_who_is_outside_the_window_waits_for_the_next_and_who_is_inside_does_not() -> None:
    inside, evening = utc(2026, 11, 21, 12), utc(2026, 11, 21, 21)

    assert next_open(inside, DAY, BERLIN) == inside
    assert next_open(evening, DAY, BERLIN) == utc(2026, 11, 22, 8)


@given(day=st.dates(date(2011, 1, 1), date(2030, 1, 1)), at=times, zone=zones)
def test_each_local_time_has_one_moment_and_clocks_show_it_or_the_end_of_the_gap(
    day: date, at: time, zone: ZoneInfo
) -> None:
    moment = local_moment(day, at, zone)
    shown = moment.astimezone(zone).replace(tzinfo=None)
    just_before = (moment - timedelta(seconds=1)).astimezone(zone).replace(tzinfo=None)

    wanted = datetime.combine(day, at)
    assert shown == wanted or just_before < wanted < shown
    assert moment.astimezone(zone).fold == 0


@given(at=moments, window=windows, zone=zones)
def test_quiet_hours_end_later_and_are_over_then(
    at: datetime, window: Window, zone: ZoneInfo
) -> None:
    end = quiet_until(at, window, zone)

    if end is not None:
        assert at < end <= at + timedelta(hours=50)
        assert quiet_until(end, window, zone) is None


@given(at=moments, window=windows, zone=zones)
def test_a_window_opens_when_it_is_open_and_never_earlier(
    at: datetime, window: Window, zone: ZoneInfo
) -> None:
    opens = next_open(at, window, zone)

    assert at <= opens <= at + timedelta(hours=50)
    assert quiet_until(opens, window, zone) is not None
    assert (opens == at) == (quiet_until(at, window, zone) is not None)


@pytest.mark.parametrize("name", [None, "", "Nowhere/Atall", "../etc/passwd", "America", "a\0b"])
def test_an_unknown_zone_is_the_teams_and_never_an_error(name: str | None) -> None:
    assert zone_of(name, "Europe/Berlin") == BERLIN
    assert zone_of(name, "Nowhere/Either") is UTC


@pytest.mark.parametrize("words", ["", "22-8", "22:00", "25:00-08:00", "22:00-22:00", "8:00-9:00"])
def test_what_is_no_window_is_refused(words: str) -> None:
    with pytest.raises(ValueError, match=r"window|part of a day"):
        Window.parse(words)


def test_a_window_is_read_as_it_is_written() -> None:
    assert Window.parse("22:00-08:00") == NIGHT
    assert str(NIGHT) == "22:00-08:00"


@pytest.mark.parametrize(
    ("shown", "zone", "moment"),
    [
        ("2026-12-24T18:00", "Europe/Berlin", "2026-12-24T17:00+00:00"),
        ("2026-03-29T02:30", "Europe/Berlin", "2026-03-29T01:00+00:00"),
        ("2026-10-25T02:30", "Europe/Berlin", "2026-10-25T00:30+00:00"),
        ("2026-12-24T18:00", "Pacific/Kiritimati", "2026-12-24T04:00+00:00"),
        ("2026-12-24T18:00", "Etc/GMT+12", "2026-12-25T06:00+00:00"),
    ],
)
def test_a_local_time_is_another_moment_in_each_zone(shown: str, zone: str, moment: str) -> None:
    assert moment_of(parse_local(shown), zone_of(zone)) == datetime.fromisoformat(moment)


@given(
    shown=st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1)),  # noqa: DTZ001  everybody's clock
    zone=st.sampled_from(sorted(available_timezones())),
)
def test_no_zone_is_before_the_first_moment_or_after_the_last(shown: datetime, zone: str) -> None:
    assert first_moment(shown) <= moment_of(shown, zone_of(zone)) <= last_moment(shown)


@pytest.mark.parametrize("words", ["soon", "2026-12-24T18:00+01:00", "9999-12-31T23:59"])
def test_what_is_no_local_time_is_refused_with_an_example(words: str) -> None:
    with pytest.raises(ValueError, match="2026-12-24T18:00, without a zone"):
        parse_local(words)

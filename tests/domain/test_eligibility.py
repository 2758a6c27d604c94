"""Who may get a message, and when: the ordered table of rules."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest

from domain.eligibility import (
    Defer,
    Facts,
    OverCap,
    Send,
    Skip,
    decide,
    is_complaint,
    quiet_window,
)
from domain.local_time import Window
from domain.outcome import Reason
from domain.send import MessageClass, OptIn, Priority, SubscriptionState

NIGHT = Window(time(22), time(8))
DAY = Window(time(9), time(21))
NOW = datetime(2026, 11, 21, 22, 30, tzinfo=UTC)
"""23:30 in Berlin."""
EIGHT_NEXT_MORNING = datetime(2026, 11, 22, 7, tzinfo=UTC)
NINE_NEXT_MORNING = datetime(2026, 11, 22, 8, tzinfo=UTC)
LATER = datetime(2026, 11, 23, tzinfo=UTC)
A_DAY = timedelta(days=1)
MIDNIGHT = datetime(2026, 11, 22)  # noqa: DTZ001  on everybody's own clock
MIDNIGHT_IN_BERLIN = datetime(2026, 11, 21, 23, tzinfo=UTC)
MIDNIGHT_IN_NEW_YORK = datetime(2026, 11, 22, 5, tzinfo=UTC)
NEW_YORK = ZoneInfo("America/New_York")
AUCKLAND = ZoneInfo("Pacific/Auckland")
"""Midnight was there at 11:00, eleven and a half hours ago."""


def facts(**changes: object) -> Facts:
    """Of somebody who joined and may be told; `changes` say what is different."""
    usual = Facts(
        message_class=MessageClass.MARKETING,
        is_erased=False,
        has_contact_point=True,
        is_suppressed=False,
        subscription=SubscriptionState.SUBSCRIBED,
        now=NOW,
        zone=ZoneInfo("Europe/Berlin"),
    )
    return replace(usual, **changes)  # type: ignore[arg-type]  # names of fields


TRANSACTIONAL = {"message_class": MessageClass.TRANSACTIONAL}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"is_erased": True}, Reason.ERASED),
        ({"has_contact_point": False}, Reason.NO_CONTACT_POINT),
        ({"is_suppressed": True}, Reason.SUPPRESSED),
        ({"is_suppressed": True, "is_complaint": True}, Reason.SUPPRESSED),
        ({"subscription": SubscriptionState.LEFT}, Reason.LEFT),
        ({"subscription": SubscriptionState.PENDING}, Reason.PENDING),
        ({"subscription": None}, Reason.NOT_SUBSCRIBED),
        ({"subscription": None, "opt_in": OptIn.DOUBLE}, Reason.NOT_SUBSCRIBED),
        ({"subscription": SubscriptionState.LEFT, "opt_in": OptIn.IMPLIED}, Reason.LEFT),
        ({"is_expired": True}, Reason.EXPIRED),
        (
            {"not_before_local": MIDNIGHT, "zone": AUCKLAND, "local_grace": timedelta(hours=11)},
            Reason.EXPIRED,
        ),
        ({"over_cap": OverCap(until=None)}, Reason.CAPPED),
        ({**TRANSACTIONAL, "is_suppressed": True}, Reason.SUPPRESSED),
        ({**TRANSACTIONAL, "is_erased": True}, Reason.ERASED),
    ],
)
def test_who_must_not_get_it_is_skipped_for_the_reason(
    changes: dict[str, object], reason: Reason
) -> None:
    assert decide(facts(**changes)) == Skip(reason)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"subscription": None, "opt_in": OptIn.IMPLIED},
        {**TRANSACTIONAL, "subscription": None},
        {**TRANSACTIONAL, "subscription": SubscriptionState.LEFT},
        {**TRANSACTIONAL, "subscription": SubscriptionState.PENDING},
        {**TRANSACTIONAL, "is_suppressed": True, "is_complaint": True},
        {"quiet": NIGHT, "priority": Priority.CRITICAL},
        {"over_cap": OverCap(until=None), "priority": Priority.CRITICAL},
        {"over_cap": OverCap(until=LATER), "priority": Priority.CRITICAL},
        {"quiet": DAY},
        {"quiet": NIGHT, "zone": ZoneInfo("America/New_York")},
        {"window": NIGHT},
        {"not_before": NOW},
        {"not_before_local": MIDNIGHT, "zone": AUCKLAND, "local_grace": A_DAY},
        {"not_before_local": MIDNIGHT, "zone": AUCKLAND, "local_grace": timedelta(hours=11.5)},
        {
            "not_before_local": MIDNIGHT,
            "zone": AUCKLAND,
            "local_grace": timedelta(hours=1),
            "has_begun": True,
        },
    ],
)
def test_who_may_get_it_gets_it(changes: dict[str, object]) -> None:
    assert decide(facts(**changes)) == Send()


@pytest.mark.parametrize(
    ("changes", "until", "reason"),
    [
        ({"quiet": NIGHT}, EIGHT_NEXT_MORNING, Reason.QUIET_HOURS),
        ({"quiet": NIGHT, **TRANSACTIONAL}, EIGHT_NEXT_MORNING, Reason.QUIET_HOURS),
        ({"window": DAY}, NINE_NEXT_MORNING, Reason.OUTSIDE_WINDOW),
        (
            {"window": DAY, "priority": Priority.CRITICAL},
            NINE_NEXT_MORNING,
            Reason.OUTSIDE_WINDOW,
        ),
        ({"over_cap": OverCap(until=LATER)}, LATER, Reason.CAPPED),
        ({"not_before": LATER}, LATER, Reason.SCHEDULED),
        ({"not_before": LATER, "priority": Priority.CRITICAL}, LATER, Reason.SCHEDULED),
        ({"not_before_local": MIDNIGHT}, MIDNIGHT_IN_BERLIN, Reason.LOCAL_TIME),
        (
            {"not_before_local": MIDNIGHT, "zone": NEW_YORK, **TRANSACTIONAL},
            MIDNIGHT_IN_NEW_YORK,
            Reason.LOCAL_TIME,
        ),
        (
            {"not_before_local": MIDNIGHT, "priority": Priority.CRITICAL},
            MIDNIGHT_IN_BERLIN,
            Reason.LOCAL_TIME,
        ),
    ],
)
def test_who_may_not_get_it_yet_waits_until_then(
    changes: dict[str, object], until: datetime, reason: Reason
) -> None:
    assert decide(facts(**changes)) == Defer(until, reason)


def test_the_first_rule_that_applies_decides() -> None:
    everything = facts(
        is_erased=True,
        has_contact_point=False,
        is_suppressed=True,
        subscription=None,
        is_expired=True,
        not_before=LATER,
        not_before_local=MIDNIGHT,
        quiet=NIGHT,
        window=DAY,
        over_cap=OverCap(until=None),
    )
    in_order = [decide(everything)]
    for cured in (
        {"is_erased": False},
        {"has_contact_point": True},
        {"is_suppressed": False},
        {"subscription": SubscriptionState.SUBSCRIBED},
        {"is_expired": False},
        {"not_before": None},
        {"not_before_local": None},
        {"quiet": None},
        {"window": None},
        {"over_cap": None},
    ):
        everything = replace(everything, **cured)
        in_order.append(decide(everything))

    assert in_order == [
        Skip(Reason.ERASED),
        Skip(Reason.NO_CONTACT_POINT),
        Skip(Reason.SUPPRESSED),
        Skip(Reason.NOT_SUBSCRIBED),
        Skip(Reason.EXPIRED),
        Defer(LATER, Reason.SCHEDULED),
        Defer(MIDNIGHT_IN_BERLIN, Reason.LOCAL_TIME),
        Defer(EIGHT_NEXT_MORNING, Reason.QUIET_HOURS),
        Defer(NINE_NEXT_MORNING, Reason.OUTSIDE_WINDOW),
        Skip(Reason.CAPPED),
        Send(),
    ]


def test_a_rule_of_time_is_not_asked_without_the_time() -> None:
    with pytest.raises(ValueError, match="need the time"):
        facts(now=None, quiet=NIGHT)
    with pytest.raises(ValueError, match="need the time"):
        facts(now=None, not_before_local=MIDNIGHT)


def test_who_moves_before_the_moment_gets_it_by_their_new_clock() -> None:
    at_midnight = facts(not_before_local=MIDNIGHT, local_grace=A_DAY)

    assert decide(at_midnight) == Defer(MIDNIGHT_IN_BERLIN, Reason.LOCAL_TIME)
    moved_west = replace(at_midnight, now=MIDNIGHT_IN_BERLIN, zone=NEW_YORK)
    assert decide(moved_west) == Defer(MIDNIGHT_IN_NEW_YORK, Reason.LOCAL_TIME)
    assert decide(replace(at_midnight, zone=AUCKLAND)) == Send()


def test_a_persons_own_quiet_hours_hold_always_and_the_teams_for_marketing_only() -> None:
    marketing, transactional = MessageClass.MARKETING, MessageClass.TRANSACTIONAL

    assert quiet_window(NIGHT, DAY, marketing) == NIGHT
    assert quiet_window(NIGHT, DAY, transactional) == NIGHT
    assert quiet_window(None, DAY, marketing) == DAY
    assert quiet_window(None, DAY, transactional) is None


@pytest.mark.parametrize("reason", ["complaint", "complaint_abuse"])
def test_reasons_that_begin_with_complaint_are_complaints(reason: str) -> None:
    assert is_complaint(reason)
    assert not is_complaint(f"no {reason}")


@pytest.mark.parametrize(("word", "priority"), [("critical", 0), ("medium", 2), ("normal", 2)])
def test_priorities_are_read_by_their_words(word: str, priority: int) -> None:
    assert Priority.parse(word) == priority


def test_an_unknown_priority_is_refused_with_those_there_are() -> None:
    with pytest.raises(ValueError, match="critical, high, normal, low, medium"):
        Priority.parse("urgent")

"""The eligibility table and its SQL agree on generated people, consents, zones and clocks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, time, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, Engine, text

from domain.cap import Cap, Over
from domain.eligibility import (
    Defer,
    Facts,
    OverCap,
    Send,
    Skip,
    Verdict,
    decide,
    quiet_window,
)
from domain.local_time import Window, zone_of
from domain.outcome import Reason
from domain.send import MessageClass, OptIn, Priority, SubscriptionState
from models.facts import Person, SendFacts, read_people, send_facts
from models.time_rules import TimeRules
from tests.builders import Draft, a_running_campaign

PEOPLE = 12
USED_AT = datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
ZONES = [
    None,
    "Nowhere/Atall",
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Asia/Kathmandu",
    "Australia/Lord_Howe",
    "Etc/GMT-14",
    "Etc/GMT+12",
    "Pacific/Kiritimati",
    "Pacific/Niue",
]

times = st.builds(time, st.integers(0, 23), st.sampled_from([0, 30, 59]))
windows = st.none() | st.tuples(times, times).filter(lambda ends: ends[0] != ends[1]).map(
    lambda ends: Window(ends[0], ends[1])
)
# Around the days on which Berlin's and New York's clocks change, and anywhere in a year.
moments = st.sampled_from(
    [datetime(2026, 3, 29, 1, tzinfo=UTC), datetime(2026, 10, 25, 1, tzinfo=UTC)]
).flatmap(lambda change: st.integers(-90_000, 90_000).map(lambda s: change + timedelta(seconds=s)))


# In the gaps and repeats of those days, too, and while it is that time somewhere on earth.
local_times = moments.map(lambda moment: moment.replace(tzinfo=None))


@dataclass(frozen=True, kw_only=True)
class Someone:
    """What is generated of a recipient."""

    zone: str | None
    quiet: Window | None
    is_erased: bool
    has_contact_point: bool
    suppression: str | None
    subscription: SubscriptionState | None
    used: int
    has_begun: bool


@dataclass(frozen=True, kw_only=True)
class Circumstances:
    """What is generated of a send, its team and the time."""

    now: datetime
    message_class: MessageClass
    priority: Priority
    opt_in: OptIn
    is_expired: bool
    team_zone: str
    team_quiet: Window | None
    window: Window | None
    caps: tuple[Cap, ...]
    topic_over: Over | None
    local_at: datetime | None
    local_grace: timedelta


someone = st.builds(
    Someone,
    zone=st.sampled_from(ZONES),
    quiet=windows,
    is_erased=st.sampled_from([False, False, False, True]),
    has_contact_point=st.sampled_from([True, True, True, False]),
    suppression=st.sampled_from([None, None, None, "hard_bounce", "complaint", "complaint_fbl"]),
    subscription=st.sampled_from([SubscriptionState.SUBSCRIBED, *SubscriptionState, None]),
    used=st.integers(0, 2),
    has_begun=st.sampled_from([False, False, True]),
)
a_cap = st.builds(
    Cap,
    id=st.just(1),
    most=st.integers(1, 2),
    hours=st.sampled_from([None, 1, 24]),
    over=st.sampled_from(Over),
)
caps = st.lists(a_cap, max_size=1).map(tuple)
circumstances = st.builds(
    Circumstances,
    now=moments,
    message_class=st.sampled_from(MessageClass),
    priority=st.sampled_from(Priority),
    opt_in=st.sampled_from(OptIn),
    is_expired=st.sampled_from([False, False, False, True]),
    team_zone=st.sampled_from(["UTC", "Asia/Tokyo", "Nowhere/Either"]),
    team_quiet=windows,
    window=windows,
    caps=caps,
    topic_over=st.none() | st.sampled_from(Over),
    local_at=st.none() | local_times,
    local_grace=st.sampled_from([timedelta(minutes=5), timedelta(hours=3), timedelta(days=1)]),
)


@pytest.fixture(scope="module")
def campaign(module_engine: Engine) -> tuple[Engine, int]:
    return module_engine, a_running_campaign(module_engine, Draft(people=PEOPLE))


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(given_people=st.lists(someone, min_size=PEOPLE, max_size=PEOPLE), given_send=circumstances)
def test_the_table_and_its_sql_give_the_same_verdict(
    campaign: tuple[Engine, int], given_people: list[Someone], given_send: Circumstances
) -> None:
    compare(campaign, given_people, given_send)


# Nothing else stops these, so that the rule of caps, the last one, is asked about most of them.
only_counted = someone.map(
    lambda person: replace(
        person,
        quiet=None,
        is_erased=False,
        has_contact_point=True,
        suppression=None,
        subscription=SubscriptionState.SUBSCRIBED,
    )
)
only_capped = st.builds(
    replace,
    circumstances,
    now=st.integers(-3600, 26 * 3600).map(lambda seconds: USED_AT + timedelta(seconds=seconds)),
    is_expired=st.just(False),
    team_quiet=st.none(),
    window=st.none(),
    caps=st.tuples(a_cap),
    local_at=st.none(),
)


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    given_people=st.lists(only_counted, min_size=PEOPLE, max_size=PEOPLE), given_send=only_capped
)
def test_over_a_cap_both_say_what_the_topic_says(
    campaign: tuple[Engine, int], given_people: list[Someone], given_send: Circumstances
) -> None:
    compare(campaign, given_people, given_send)


def compare(
    campaign: tuple[Engine, int], given_people: list[Someone], given_send: Circumstances
) -> None:
    """Both verdicts on each of these people."""
    engine, send_id = campaign
    with rolled_back(engine) as connection:
        arrange(connection, given_people, given_send)
        send = as_read(send_facts(connection, send_id), given_send)
        found = read_people(connection, send, range(1, PEOPLE + 1), now=given_send.now)

    for person, expected in zip(found, given_people, strict=True):
        assert as_verdict(person) == decide(facts(expected, given_send)), expected


class rolled_back:  # noqa: N801  a context manager
    """A transaction of which nothing stays."""

    def __init__(self, engine: Engine) -> None:
        self._connection = engine.connect()

    def __enter__(self) -> Connection:
        self._connection.begin()
        return self._connection

    def __exit__(self, *_: object) -> None:
        self._connection.rollback()
        self._connection.close()


def as_read(send: SendFacts, given_send: Circumstances) -> SendFacts:
    """The send's facts as its rows would say them."""
    quiet = quiet_window(None, given_send.team_quiet, given_send.message_class)
    return replace(
        send,
        message_class=given_send.message_class,
        priority=given_send.priority,
        opt_in=given_send.opt_in,
        is_expired=given_send.is_expired,
        time_rules=TimeRules(
            time_zone=given_send.team_zone,
            quiet=quiet,
            has_own_quiet=True,
            window=given_send.window,
            caps=send.time_rules.caps,  # as the rows of topic and cap were read
            local_at=given_send.local_at,
            local_grace=given_send.local_grace,
        ),
    )


def as_verdict(person: Person) -> Verdict:
    """What was read of somebody, as the table says it."""
    if not person.verdict:
        return Send()
    reason = Reason(person.verdict)
    return Skip(reason) if person.until is None else Defer(person.until, reason)


def facts(person: Someone, given_send: Circumstances) -> Facts:
    zone = zone_of(person.zone, given_send.team_zone)
    return Facts(
        message_class=given_send.message_class,
        is_erased=person.is_erased,
        has_contact_point=person.has_contact_point,
        is_suppressed=person.suppression is not None and person.has_contact_point,
        is_complaint=(person.suppression or "").startswith("complaint"),
        subscription=person.subscription,
        priority=given_send.priority,
        opt_in=given_send.opt_in,
        is_expired=given_send.is_expired,
        now=given_send.now,
        zone=zone,
        quiet=quiet_window(person.quiet, given_send.team_quiet, given_send.message_class),
        window=given_send.window,
        over_cap=over_cap(person, given_send),
        not_before_local=given_send.local_at,
        local_grace=given_send.local_grace,
        has_begun=person.has_begun,
    )


def over_cap(person: Someone, given_send: Circumstances) -> OverCap | None:
    zone = zone_of(person.zone, given_send.team_zone)
    for cap in given_send.caps:
        if person.used:
            asked = replace(cap, over=given_send.topic_over or cap.over)
            return asked.over_with(person.used, [USED_AT] * person.used, given_send.now, zone)
    return None


def arrange(connection: Connection, people: list[Someone], given_send: Circumstances) -> None:
    connection.execute(text("UPDATE topic SET over_cap = :over"), {"over": given_send.topic_over})
    for cap in given_send.caps:
        connection.execute(
            text(
                "INSERT INTO cap (id, team_id, topic_id, message_class, channel, most, hours, over)"
                " SELECT :id, team_id, NULL, NULL, 'email', :most, :hours, :over FROM topic"
            ),
            {"id": cap.id, "most": cap.most, "hours": cap.hours, "over": cap.over},
        )
    for number, person in enumerate(people, 1):
        who = {"id": f"person-{number}", "address": f"person-{number}@example.com"}
        for statement, values in changes(person, given_send):
            connection.execute(text(statement), {**who, **values})


def changes(person: Someone, given_send: Circumstances) -> Iterator[tuple[str, dict[str, object]]]:
    mine = "recipient_id = (SELECT id FROM recipient WHERE external_id = :id)"
    yield (
        "UPDATE recipient SET time_zone = :zone, quiet_from = :start, quiet_until = :until,"
        " erased_at = CASE WHEN :erased THEN now() END WHERE external_id = :id",
        {
            "zone": person.zone,
            "start": person.quiet and person.quiet.start,
            "until": person.quiet and person.quiet.until,
            "erased": person.is_erased,
        },
    )
    if person.has_begun:
        yield (
            "INSERT INTO delivery (send_id, ordinal, step, part, outcome)"
            " SELECT send_id, ordinal, 1, 0, 0 FROM message"
            f" WHERE {mine}",
            {},
        )
    if not person.has_contact_point:
        yield f"DELETE FROM contact_point WHERE {mine}", {}
    if person.suppression:
        yield (
            "INSERT INTO suppression (team_id, channel, address, reason, source)"
            " SELECT id, 'email', :address, :reason, 'test' FROM team",
            {"reason": person.suppression},
        )
    change = (
        "UPDATE subscription SET state = :state"
        if person.subscription
        else "DELETE FROM subscription"
    )
    yield f"{change} WHERE {mine}", {"state": person.subscription}
    for cap in given_send.caps:
        if person.used:
            yield (
                "INSERT INTO cap_count (recipient_id, cap_id, window_key, used, used_at)"
                " SELECT id, :cap, :key, :used, CAST(:times AS timestamptz[]) FROM recipient"
                " WHERE external_id = :id",
                {
                    "cap": cap.id,
                    "key": cap.key(given_send.now, zone_of(person.zone, given_send.team_zone)),
                    "used": person.used,
                    "times": [USED_AT] * person.used,
                },
            )

"""Frequency caps are counted atomically, all or none, once a message, and handed back."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import Connection, Engine

from domain.cap import Cap, Over
from domain.eligibility import OverCap
from domain.outcome import Reason
from domain.send import SendState
from models.campaign import change_state
from models.cap import NewCap, UnknownCap, add_cap, caps_on, list_caps, remove_cap
from models.caps import CapMember, forget_past, over_caps, return_caps, take_caps
from models.claim import AttemptIds, Claim, Claimed, Refusal, commit_claim
from models.database import clock, in_transaction
from models.lease import Lease, take
from models.settle import Letter, MemberAnswer, Settlement, settle
from models.team import default_team_id
from tests.builders import Draft, a_running_campaign, scalar, scalars

IDS = AttemptIds(9)
NO_WAIT = timedelta(0)


def a_cap(id: int = 1, most: int = 1, hours: int | None = None, over: Over = Over.SKIP) -> Cap:
    return Cap(id=id, most=most, hours=hours, over=over)


@pytest.fixture
def now(engine: Engine) -> datetime:
    with engine.connect() as connection:
        return clock(connection)


@pytest.fixture
def send_key(engine: Engine) -> Callable[[int], int]:
    """Keys of sends of this month; caps ask for nothing else of a send."""
    first = scalar(engine, "SELECT key_at(now())")
    return lambda number: first + number


def members(*recipients: int, zone: tzinfo = UTC) -> list[CapMember]:
    """Ordinal 10 × recipient."""
    return [CapMember(recipient * 10, recipient, zone) for recipient in recipients]


def test_of_sixteen_workers_that_send_to_the_same_people_at_once_one_may(
    engine: Engine, now: datetime, send_key: Callable[[int], int]
) -> None:
    workers, people = 16, range(1, 41)
    together = threading.Barrier(workers)

    def work(number: int) -> list[int]:
        granted = []
        together.wait(30)
        for first in range(1, 41, 10):
            some = members(*range(first, first + 10))
            asked = some[::-1] if number % 2 else some

            def claim(connection: Connection, asked: list[CapMember] = asked) -> set[int]:
                return set(take_caps(connection, send_key(number), asked, [a_cap()], now))

            refused = in_transaction(engine, claim)
            granted += [member.recipient_id for member in some if member.ordinal not in refused]
        return granted

    with ThreadPoolExecutor(workers) as pool:
        granted = [person for found in pool.map(work, range(workers)) for person in found]

    assert sorted(granted) == list(people)
    assert set(scalars(engine, "SELECT used FROM cap_count")) == {1}
    assert scalar(engine, "SELECT count(*) FROM cap_use") == len(people)


def test_a_message_is_counted_once_however_often_it_is_tried(
    engine: Engine, now: datetime, send_key: Callable[[int], int]
) -> None:
    with engine.begin() as connection:
        first = take_caps(connection, send_key(1), members(1), [a_cap()], now)
        again = take_caps(connection, send_key(1), members(1), [a_cap()], now)
        other = take_caps(connection, send_key(2), members(1), [a_cap()], now)

    assert (first, again, other) == ({}, {}, {10: OverCap(None)})


@pytest.mark.parametrize("hours", [None, 24])
def test_what_is_handed_back_may_be_taken_by_the_next(
    engine: Engine, now: datetime, send_key: Callable[[int], int], hours: int | None
) -> None:
    cap = a_cap(most=2, hours=hours)
    with engine.begin() as connection:
        for number in (1, 2):
            take_caps(connection, send_key(number), members(1, 2), [cap], now)
        return_caps(connection, send_key(1), [10])
        return_caps(connection, send_key(1), [10])
        third = take_caps(connection, send_key(3), members(1, 2), [cap], now)
        fourth = take_caps(connection, send_key(4), members(1), [cap], now)

    assert set(third) == {20}
    assert set(fourth) == {10}


def test_a_message_takes_all_of_its_caps_or_none(
    engine: Engine, now: datetime, send_key: Callable[[int], int]
) -> None:
    wide, narrow = a_cap(id=1, most=5), a_cap(id=2, most=1)
    with engine.begin() as connection:
        take_caps(connection, send_key(1), members(1), [narrow], now)
        refused = take_caps(connection, send_key(2), members(1, 2), [wide, narrow], now)

    assert set(refused) == {10}
    assert scalar(engine, "SELECT used FROM cap_count WHERE cap_id = 1 AND recipient_id = 1") == 0
    assert scalar(engine, "SELECT used FROM cap_count WHERE cap_id = 1 AND recipient_id = 2") == 1
    assert scalar(engine, "SELECT count(*) FROM cap_use WHERE ordinal = 10") == 1


def test_a_day_is_over_at_the_recipients_midnight(
    engine: Engine, send_key: Callable[[int], int]
) -> None:
    tokyo = ZoneInfo("Asia/Tokyo")
    cap, at = a_cap(over=Over.DEFER), datetime(2026, 11, 21, 14, 59, tzinfo=UTC)
    with engine.begin() as connection:
        take_caps(connection, send_key(1), members(1, zone=tokyo), [cap], at)
        refused = take_caps(connection, send_key(2), members(1, zone=tokyo), [cap], at)
        until = refused[10].until
        assert until is not None
        later = take_caps(connection, send_key(2), members(1, zone=tokyo), [cap], until)

    assert until == datetime(2026, 11, 21, 15, tzinfo=UTC)
    assert later == {}


def test_rolling_hours_count_back_from_now(
    engine: Engine, now: datetime, send_key: Callable[[int], int]
) -> None:
    cap = a_cap(most=2, hours=24, over=Over.DEFER)
    with engine.begin() as connection:
        for hours in (0, 10):
            at = now + timedelta(hours=hours)
            take_caps(connection, send_key(hours), members(1), [cap], at)
        at = now + timedelta(hours=23)
        refused = take_caps(connection, send_key(23), members(1), [cap], at)
        at = now + timedelta(hours=24)
        later = take_caps(connection, send_key(24), members(1), [cap], at)
        and_then = take_caps(connection, send_key(25), members(1), [cap], at)

    assert refused == {10: OverCap(now + timedelta(hours=24))}
    assert later == {}
    assert and_then == {10: OverCap(now + timedelta(hours=34))}


def test_counts_that_nobody_asks_for_any_more_are_dropped(
    engine: Engine, now: datetime, send_key: Callable[[int], int]
) -> None:
    with engine.begin() as connection:
        team = default_team_id(connection)
        usual = {"team_id": team, "topic_id": None, "message_class": None, "channel": None}
        new = NewCap(**usual, most=9, hours=24, over=Over.SKIP)  # type: ignore[arg-type]  # by name
        daily, rolling = a_cap(id=99, most=9), a_cap(id=add_cap(connection, new), most=9, hours=24)
        for person, hours in ((1, 0), (2, 23), (3, 96)):
            at = now - timedelta(hours=hours)
            take_caps(connection, send_key(person), members(person), [daily, rolling], at)

        dropped = forget_past(connection)

    assert dropped == 2
    assert scalars(engine, "SELECT DISTINCT recipient_id FROM cap_count ORDER BY 1") == [1, 2]


def test_asking_counts_nothing_and_leaves_out_what_the_message_has_taken(
    engine: Engine, now: datetime, send_key: Callable[[int], int]
) -> None:
    with engine.begin() as connection:
        before = over_caps(connection, send_key(1), members(1), [a_cap()], now)
        take_caps(connection, send_key(1), members(1), [a_cap()], now)
        own = over_caps(connection, send_key(1), members(1), [a_cap()], now)
        other = over_caps(connection, send_key(2), members(1), [a_cap()], now)

    assert (before, own, other) == ({}, {}, {10: OverCap(None)})


def test_a_cap_holds_for_what_its_scopes_name(engine: Engine) -> None:
    a_running_campaign(engine, Draft(people=1))
    topic = scalar(engine, "SELECT id FROM topic")
    with engine.begin() as connection:
        team = default_team_id(connection)

        def add(**scopes: object) -> int:
            usual = {"topic_id": None, "message_class": None, "channel": None}
            return add_cap(
                connection,
                NewCap(team_id=team, most=1, hours=None, over=Over.SKIP, **(usual | scopes)),  # type: ignore[arg-type]  # scopes by name
            )

        every, on_topic, marketing = add(), add(topic_id=topic), add(message_class="marketing")
        add(channel="sms")

        def holding(topic_id: int | None, message_class: str) -> list[int]:
            found = caps_on(
                connection,
                team_id=team,
                topic_id=topic_id,
                message_class=message_class,
                channel="email",
            )
            return [cap.id for cap in found]

        assert holding(topic, "marketing") == [every, on_topic, marketing]
        assert holding(None, "transactional") == [every]
        remove_cap(connection, team, every)
        assert [cap.id for cap in list_caps(connection, team)] == [
            on_topic,
            marketing,
            marketing + 1,
        ]
        with pytest.raises(UnknownCap, match="There is no cap"):
            remove_cap(connection, team, every)


class CappedBatch:
    """A driver's view of a campaign whose messages are counted under a cap."""

    def __init__(self, engine: Engine, cap: Cap) -> None:
        self._engine, self._cap = engine, cap
        self.send_id = a_running_campaign(engine, Draft(people=4))
        with engine.begin() as connection:
            taken = take(
                connection,
                self.send_id,
                1,
                owner="test",
                duration=timedelta(seconds=30),
                unknown_wait=NO_WAIT,
            )
        assert isinstance(taken, Lease)
        self._lease = taken

    def claim(self, *ordinals: int) -> tuple[int, Claimed | Refusal]:
        attempt_id = IDS.next()
        claim = Claim(
            attempt_id=attempt_id,
            send_id=self.send_id,
            batch_lo=1,
            epoch=self._lease.epoch,
            account_id=scalar(self._engine, "SELECT min(id) FROM provider_account"),
            worker="test",
            fresh=ordinals,
            again=[],
            call_within=timedelta(seconds=2),
            answer_within=NO_WAIT,
            caps=[self._cap],
            cap_members=[CapMember(ordinal, ordinal, UTC) for ordinal in ordinals],
        )
        return attempt_id, commit_claim(self._engine, claim)

    def settle(self, attempt_id: int, letters: dict[int, Letter]) -> None:
        settle(
            self._engine,
            Settlement(
                send_id=self.send_id,
                batch_lo=1,
                epoch=self._lease.epoch,
                unknown_wait=NO_WAIT,
                attempt_id=attempt_id,
                answers={
                    o: MemberAnswer(letter, Reason.NONE, None) for o, letter in letters.items()
                },
                has_caps=True,
            ),
            may_go_on=lambda: False,
        )


def test_who_is_over_a_cap_is_left_out_of_the_claim(
    engine: Engine, now: datetime, send_key: Callable[[int], int]
) -> None:
    batch = CappedBatch(engine, a_cap())
    with engine.begin() as connection:
        take_caps(connection, send_key(99), members(2), [a_cap()], now)

    _, said = batch.claim(1, 2, 3)

    assert said == Claimed(fresh=[1, 3], again=[], over_cap={2: OverCap(None)})
    assert scalar(engine, "SELECT members FROM attempt") == "?-?"


def test_a_claim_that_is_refused_has_taken_nothing(engine: Engine) -> None:
    batch = CappedBatch(engine, a_cap())
    with engine.begin() as connection:
        change_state(connection, batch.send_id, SendState.PAUSED)

    _, said = batch.claim(1, 2)

    assert said is Refusal.PAUSED
    assert scalar(engine, "SELECT count(*) FROM cap_count") == 0


def test_the_settle_hands_back_what_was_certainly_not_accepted_and_keeps_the_unknown(
    engine: Engine,
) -> None:
    batch = CappedBatch(engine, a_cap())
    attempt_id, _ = batch.claim(1, 2, 3, 4)

    batch.settle(
        attempt_id,
        {1: Letter.ACCEPTED, 2: Letter.REJECTED, 3: Letter.UNKNOWN, 4: Letter.RELEASED},
    )

    used = "SELECT recipient_id FROM cap_count WHERE used > 0 ORDER BY recipient_id"
    assert scalars(engine, used) == [1, 3]
    assert scalars(engine, "SELECT ordinal FROM cap_use ORDER BY ordinal") == [1, 3]

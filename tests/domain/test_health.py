"""Weights leave an erring or slow account step by step, come back slowly, and never flap."""

from __future__ import annotations

import itertools
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from domain.health import (
    Change,
    HealthRules,
    Seen,
    Standing,
    Trouble,
    breaker_opens,
    breaker_wait,
    next_change,
)

RULES = HealthRules()
NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
WELL = Seen(answers=1000)
ERRING = Seen(answers=1000, errors=500)
SLOW = Seen(answers=1000, slow=200)


def standing(
    number: int,
    *,
    weight: int = 50,
    configured: int = 50,
    minute: Seen = WELL,
    quarter: Seen = WELL,
    changed: timedelta | None = None,
    is_up: bool = True,
) -> Standing:
    """`changed`: so long ago."""
    return Standing(
        id=number,
        weight=weight,
        configured=configured,
        changed_at=NOW - changed if changed is not None else None,
        is_up=is_up,
        minute=minute,
        quarter=quarter,
    )


def test_ten_points_leave_an_erring_account_at_once() -> None:
    pool = [standing(1, minute=ERRING), standing(2)]

    assert next_change(pool, NOW, RULES) == Change(giver=1, taker=2, points=10, why=Trouble.ERRORS)


def test_fifty_errors_in_a_minute_are_too_many_whatever_their_share() -> None:
    def moves(errors: int) -> bool:
        seen = Seen(answers=100_000, errors=errors)
        return next_change([standing(1, minute=seen), standing(2)], NOW, RULES) is not None

    assert (moves(49), moves(50)) == (False, True)


def test_a_fifth_of_few_answers_is_too_much_from_ten_errors_on() -> None:
    def moves(errors: int, answers: int) -> bool:
        seen = Seen(answers=answers, errors=errors)
        return next_change([standing(1, minute=seen), standing(2)], NOW, RULES) is not None

    assert (moves(9, 9), moves(10, 50), moves(10, 51)) == (False, True, False)


def test_a_second_step_for_errors_waits_a_minute_and_one_for_slowness_five() -> None:
    def moves(minute: Seen, quarter: Seen, changed: timedelta) -> bool:
        pool = [standing(1, minute=minute, quarter=quarter, changed=changed), standing(2)]
        return next_change(pool, NOW, RULES) is not None

    assert not moves(ERRING, WELL, MINUTE * 0.9)
    assert moves(ERRING, WELL, MINUTE)
    assert not moves(WELL, SLOW, MINUTE * 4.9)
    assert moves(WELL, SLOW, MINUTE * 5)


def test_nothing_moves_when_all_are_slow_or_all_err() -> None:
    all_slow = [standing(1, quarter=SLOW), standing(2, quarter=SLOW)]
    all_err = [standing(1, minute=ERRING), standing(2, minute=ERRING)]

    assert next_change(all_slow, NOW, RULES) is None
    assert next_change(all_err, NOW, RULES) is None


def test_nothing_moves_to_an_account_that_is_down_or_only_a_spare() -> None:
    down = [standing(1, minute=ERRING), standing(2, is_up=False)]
    spare = [standing(1, minute=ERRING), standing(2, weight=0, configured=0)]

    assert next_change(down, NOW, RULES) is None
    assert next_change(spare, NOW, RULES) is None


def test_weights_return_a_step_only_after_fifteen_quiet_minutes() -> None:
    def change(ago: timedelta, quarter: Seen = WELL) -> Change | None:
        pool = [
            standing(1, weight=25, quarter=quarter, changed=ago),
            standing(2, weight=75, changed=ago),
        ]
        return next_change(pool, NOW, RULES)

    assert change(MINUTE * 14) is None
    assert change(MINUTE * 15) == Change(giver=2, taker=1, points=10, why=Trouble.NONE)
    assert change(MINUTE * 15, Seen(answers=100_000, errors=50)) is None


def test_weights_stop_at_what_is_configured() -> None:
    near = [standing(1, weight=47, changed=MINUTE * 20), standing(2, weight=53)]
    there = [standing(1), standing(2)]

    assert next_change(near, NOW, RULES) == Change(giver=2, taker=1, points=3, why=Trouble.NONE)
    assert next_change(there, NOW, RULES) is None


def applied(pool: list[Standing], change: Change, now: datetime) -> list[Standing]:
    moved = {change.giver: -change.points, change.taker: change.points}
    return [
        replace(account, weight=account.weight + moved[account.id], changed_at=now)
        if account.id in moved
        else account
        for account in pool
    ]


TICK = timedelta(seconds=10)
seen = st.sampled_from([WELL, ERRING, Seen(answers=30, errors=9), Seen()])
moments = st.lists(
    st.tuples(
        st.lists(
            st.tuples(seen, st.sampled_from([WELL, SLOW]), st.booleans()), min_size=3, max_size=3
        )
    ),
    min_size=1,
    max_size=300,
)


@given(moments)
def test_whatever_happens_weights_move_at_most_once_a_minute_and_their_total_stays(
    happening: list[tuple[list[tuple[Seen, Seen, bool]]]],
) -> None:
    pool = [
        standing(1),
        standing(2, weight=30, configured=30),
        standing(3, weight=20, configured=20),
    ]
    changes: list[tuple[datetime, Change]] = []
    now = NOW
    for (states,) in happening:
        now += TICK
        pool = [
            replace(account, minute=minute, quarter=quarter, is_up=is_up)
            for account, (minute, quarter, is_up) in zip(pool, states, strict=True)
        ]
        change = next_change(pool, now, RULES)
        if change is not None:
            pool = applied(pool, change, now)
            changes.append((now, change))
        assert sum(account.weight for account in pool) == 100
        assert all(account.weight >= 0 for account in pool)
    for (before, _), (at, change) in itertools.pairwise(changes):
        waits = {Trouble.ERRORS: 1, Trouble.SLOW: 5, Trouble.NONE: 15}
        assert at - before >= MINUTE * waits[change.why]


def test_an_erring_account_is_left_in_five_steps_and_returns_in_five_quiet_quarters() -> None:
    pool, now, weights = [standing(1, minute=ERRING), standing(2)], NOW, []
    for _ in range(60 * 2 * 6):
        now += TICK
        if now - NOW > MINUTE * 10:
            pool[0] = replace(pool[0], minute=WELL)
        change = next_change(pool, now, RULES)
        if change is not None:
            pool = applied(pool, change, now)
            weights.append(pool[0].weight)

    assert weights == [40, 30, 20, 10, 0, 10, 20, 30, 40, 50]


def test_a_breaker_opens_when_half_of_the_answers_are_errors_but_not_for_a_few() -> None:
    assert breaker_opens(Seen(answers=20, errors=10), RULES)
    assert not breaker_opens(Seen(answers=21, errors=10), RULES)
    assert not breaker_opens(Seen(answers=9, errors=9), RULES)


def test_each_failed_probe_doubles_the_wait_up_to_five_minutes() -> None:
    waits = [timedelta(0)]
    for _ in range(6):
        waits.append(breaker_wait(waits[-1], RULES))

    assert [wait / MINUTE for wait in waits[1:]] == [0.5, 1, 2, 4, 5, 5]

"""GCRA: permits are conditional, all or none, and never more than the rate."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from sqlalchemy import Engine

from models.rate_limit import (
    NotYet,
    account_key,
    all_limits,
    grant_recipients,
    know_recipients,
    limits,
    push_back,
    push_back_account,
    recipient_key,
    reserve,
    set_limit,
    shares,
    transactional_key,
)
from tests.builders import Draft, a_running_campaign, scalar

SECOND = timedelta(seconds=1)


def limit(engine: Engine, key: str, rate: float | None) -> None:
    with engine.begin() as connection:
        set_limit(connection, key, rate)


def take(engine: Engine, keys: list[str], messages: int, max_wait: timedelta = SECOND) -> timedelta:
    with engine.begin() as connection:
        return reserve(connection, dict.fromkeys(keys, float(messages)), max_wait)


def test_the_first_permit_is_free_and_the_next_waits_for_it(engine: Engine) -> None:
    limit(engine, "a", 100)

    first = take(engine, ["a"], 50)
    second = take(engine, ["a"], 10)

    assert first <= timedelta(0)
    assert timedelta(milliseconds=300) < second <= timedelta(milliseconds=500)


def test_beyond_the_wait_nothing_is_reserved(engine: Engine) -> None:
    limit(engine, "a", 10)
    take(engine, ["a"], 50)
    before = scalar(engine, "SELECT tat FROM rate_limit")

    with pytest.raises(NotYet) as refused:
        take(engine, ["a"], 1)

    assert refused.value.wait > timedelta(seconds=3)
    assert scalar(engine, "SELECT tat FROM rate_limit") == before


def test_of_several_keys_all_are_reserved_or_none(engine: Engine) -> None:
    limit(engine, "a", 1000)
    limit(engine, "b", 1)
    take(engine, ["b"], 100)
    before = scalar(engine, "SELECT tat FROM rate_limit WHERE key = 'a'")

    with pytest.raises(NotYet):
        take(engine, ["a", "b"], 1)

    assert scalar(engine, "SELECT tat FROM rate_limit WHERE key = 'a'") == before


def test_a_key_without_a_limit_grants_at_once(engine: Engine) -> None:
    assert take(engine, ["unlimited"], 10**6) <= timedelta(0)


def test_a_new_rate_replaces_the_old_and_its_reservations(engine: Engine) -> None:
    limit(engine, "a", 1)
    take(engine, ["a"], 100)
    limit(engine, "a", 1000)
    wait = take(engine, ["a"], 1)
    limit(engine, "a", None)

    with engine.connect() as connection:
        assert limits(connection, ["a"]) == {}
    assert wait <= timedelta(0)


def test_a_provider_that_asks_for_time_gets_it(engine: Engine) -> None:
    limit(engine, "a", 1000)
    with engine.begin() as connection:
        push_back(connection, ["a"], timedelta(seconds=5))

    with pytest.raises(NotYet):
        take(engine, ["a"], 1)


def test_sixteen_drivers_together_get_no_more_than_the_rate(engine: Engine) -> None:
    limit(engine, "a", 200)

    def driver(_: int) -> int:
        granted = 0
        for _ in range(10):
            try:
                take(engine, ["a"], 10)
            except NotYet:
                continue
            granted += 10
        return granted

    with ThreadPoolExecutor(16) as drivers:
        granted = sum(drivers.map(driver, range(16)))

    ahead = scalar(engine, "SELECT extract(epoch FROM tat - clock_timestamp()) FROM rate_limit")
    assert granted <= 200 * 3
    assert float(ahead) <= 1.1


def an_account(engine: Engine, rate: float) -> tuple[str, str]:
    """Keys of a limited account: for campaigns, for single messages."""
    for key, share in shares(1, rate).items():
        limit(engine, key, share)
    return account_key(1), transactional_key(1)


def test_single_messages_borrow_what_campaigns_leave_unused(engine: Engine) -> None:
    _, transactional = an_account(engine, 10)
    take(engine, [transactional], 2, timedelta(0))

    borrowed = take(engine, [transactional], 8, timedelta(0))

    assert borrowed <= timedelta(0)
    with pytest.raises(NotYet):
        take(engine, [transactional], 1, timedelta(0))


def test_campaigns_never_borrow(engine: Engine) -> None:
    campaign, transactional = an_account(engine, 10)
    take(engine, [campaign], 8, timedelta(0))

    with pytest.raises(NotYet):
        take(engine, [campaign], 1, timedelta(0))

    assert take(engine, [transactional], 2, timedelta(0)) <= timedelta(0)


def test_a_campaign_that_runs_flat_out_leaves_single_messages_their_share(engine: Engine) -> None:
    campaign, transactional = an_account(engine, 1000)

    def flat_out(_: int) -> None:
        for _ in range(20):
            try:
                take(engine, [campaign], 200)
            except NotYet:
                continue

    with ThreadPoolExecutor(8) as campaigns:
        running = [campaigns.submit(flat_out, number) for number in range(8)]
        waits = [take(engine, [transactional], 10) for _ in range(10)]
    for future in running:
        future.result()

    assert max(waits) <= timedelta(milliseconds=500)


def test_units_are_reserved_as_the_vendor_counts_them(engine: Engine) -> None:
    an_account(engine, 100)
    with engine.begin() as connection:
        reserve(connection, {account_key(1): 160.0, "team:1": 80.0}, SECOND)

    ahead = scalar(
        engine,
        "SELECT extract(epoch FROM tat - clock_timestamp()) FROM rate_limit"
        " WHERE key = 'account:1/campaign'",
    )
    assert 1.8 < float(ahead) <= 2.0


def test_a_429_closes_an_account_without_a_limit_for_campaigns_and_single_messages(
    engine: Engine,
) -> None:
    with engine.begin() as connection:
        push_back_account(connection, 1, timedelta(seconds=5))

    for key in (account_key(1), transactional_key(1)):
        with pytest.raises(NotYet) as closed:
            take(engine, [key], 1)
        assert closed.value.wait > timedelta(seconds=3)


def test_a_closed_account_that_never_had_a_limit_is_open_afterwards_and_costs_nothing(
    engine: Engine,
) -> None:
    with engine.begin() as connection:
        push_back_account(connection, 1, timedelta(0))

    assert take(engine, [account_key(1)], 10**6) == timedelta(0)
    with engine.connect() as connection:
        assert all_limits(connection) == {}


def test_renewing_an_unlimited_account_does_not_forget_that_its_provider_asked_for_time(
    engine: Engine,
) -> None:
    with engine.begin() as connection:
        push_back_account(connection, 1, timedelta(seconds=5))
        set_limit(connection, account_key(1), None)

    with pytest.raises(NotYet):
        take(engine, [account_key(1)], 1)


def test_the_rate_of_recipients_changes_the_rows_of_all_of_them(engine: Engine) -> None:
    limit(engine, "recipient", 1)
    with engine.begin() as connection:
        know_recipients(connection, [1, 2])
    take(engine, [recipient_key(1)], 1, timedelta(0))

    limit(engine, "recipient", 0.1)
    rates = limits_of(engine, [recipient_key(1), recipient_key(2)])
    limit(engine, "recipient", None)

    assert set(rates.values()) == {0.1}
    assert scalar(engine, "SELECT count(*) FROM rate_limit") == 0


def limits_of(engine: Engine, keys: list[str]) -> dict[str, float]:
    with engine.connect() as connection:
        return limits(connection, keys)


def test_a_recipient_gets_one_message_until_its_time_has_passed(engine: Engine) -> None:
    send_id = a_running_campaign(engine, Draft(people=3))
    limit(engine, "recipient", 0.1)

    def ask(ordinals: list[int]) -> set[int]:
        with engine.begin() as connection:
            return grant_recipients(connection, send_id, ordinals)[0]

    assert ask([1, 2]) == {1, 2}
    assert ask([1, 2, 3]) == {3}

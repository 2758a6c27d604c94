"""Which account takes a message."""

from __future__ import annotations

from collections import Counter

from domain.routing import Routable, fitting, ranked
from domain.send import Channel


def an_account(
    key: str, *, weight: int = 50, is_real: bool = True, channel: Channel = Channel.SMS
) -> Routable:
    return Routable(id=0, key=key, channel=channel, is_real=is_real, weight=weight)


def keys(accounts: list[Routable]) -> list[str]:
    return [account.key for account in accounts]


def test_traffic_follows_the_weights() -> None:
    accounts = [an_account("a", weight=80), an_account("b", weight=20)]

    drawn = Counter(ranked(accounts, chance / 100)[0].key for chance in range(100))

    assert drawn == {"a": 80, "b": 20}


def test_after_the_one_drawn_comes_the_heaviest() -> None:
    accounts = [an_account("a", weight=10), an_account("b", weight=60), an_account("c", weight=30)]

    assert keys(ranked(accounts, 0.95)) == ["a", "b", "c"]


def test_an_account_of_weight_0_is_used_only_when_no_other_is_up() -> None:
    spare = an_account("spare", weight=0)
    drawn = {ranked([spare, an_account("a")], chance / 10)[0].key for chance in range(10)}

    assert drawn == {"a"}
    assert keys(ranked([spare], 0.5)) == ["spare"]


def test_the_order_of_a_plan_stands_whatever_the_weights() -> None:
    accounts = [an_account("a", weight=90), an_account("b", weight=10)]

    fit = fitting(accounts, Channel.SMS, ("b", "a"))

    assert keys(ranked(fit, 0.0, is_ordered=True)) == ["b", "a"]


def test_the_simulator_takes_nothing_that_a_real_account_is_there_for() -> None:
    accounts = [an_account("real"), an_account("simulator", is_real=False)]

    assert keys(fitting(accounts, Channel.SMS, ())) == ["real"]
    assert keys(fitting(accounts[1:], Channel.SMS, ())) == ["simulator"]


def test_accounts_of_other_channels_are_left_out() -> None:
    mail = an_account("mail", channel=Channel.EMAIL)

    assert fitting([mail], Channel.SMS, ()) == []
    assert fitting([mail], Channel.SMS, ("mail",)) == []
    assert ranked([], 0.3) == []


def test_what_a_test_key_sends_goes_to_accounts_that_only_log_and_nothing_else_does() -> None:
    logging = Routable(
        id=1, key="test-sms", channel=Channel.SMS, is_real=False, weight=0, is_test=True
    )
    accounts = [an_account("real"), logging]

    assert keys(fitting(accounts, Channel.SMS, ("real",), is_test=True)) == ["test-sms"]
    assert keys(fitting(accounts, Channel.SMS, ())) == ["real"]
    assert fitting(accounts, Channel.SMS, ("test-sms",)) == []
    assert keys(fitting([logging], Channel.SMS, ())) == []
    assert keys(ranked([logging], 0.5)) == ["test-sms"]

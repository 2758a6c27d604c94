"""What a misbehaving provider does to a campaign, and what it must not do."""

from __future__ import annotations

from collections.abc import Callable

from domain.outcome import Outcome
from models.account import find_account, raise_account
from models.team import default_team_id
from tests.builders import Draft
from tests.scenario import Scenario, wait_until

MakeScenario = Callable[..., Scenario]


def test_a_revoked_key_stops_the_account_burns_nobody_and_all_go_after_it_is_mended(
    make_scenario: MakeScenario,
) -> None:
    made = make_scenario()
    made.simulator.faults({"provider": "sendgrid", "kind": "revoke_key", "at_message": 500})
    made.start_workers()
    made.begin(Draft(people=10_000))
    wait_until(
        lambda: (
            made.value("SELECT state FROM provider_account WHERE key = 'simulator'") == "refused"
        ),
        30,
    )
    wait_until(lambda: not made.values("SELECT 1 FROM attempt WHERE state = 'claimed'"), 10)
    stopped = made.report()

    made.simulator.no_faults()
    with made.engine.begin() as connection:
        account = find_account(connection, default_team_id(connection), "simulator")
        raise_account(connection, account.id)
    report = made.wait_closed(60)

    assert (stopped["rejected"], stopped["unknown"]) == (0, 0)
    assert stopped["accepted"] < 10_000
    assert report["accepted"] == 10_000
    assert set(made.copies().values()) == {1}
    assert report["balanced"], report["problems"]


def test_429_with_retry_after_is_waited_for_and_nobody_is_sent_to_twice(
    make_scenario: MakeScenario,
) -> None:
    made = make_scenario()
    made.simulator.faults(
        {
            "provider": "sendgrid",
            "kind": "status",
            "status": 429,
            "retry_after": 1,
            "at_request": [2],
        }
    )
    made.start_workers()
    made.begin(Draft(people=500))

    report = made.wait_closed()

    assert report["accepted"] == 500
    assert set(made.copies().values()) == {1}
    assert made.value("SELECT count(*) FROM attempt WHERE answer_code = '429'") == 1


def test_accept_then_close_is_unknown_and_left_unconfirmed(make_scenario: MakeScenario) -> None:
    made = make_scenario()
    made.simulator.faults({"provider": "sendgrid", "kind": "accept_then_close", "at_request": [3]})
    made.start_workers()
    made.begin(Draft(people=500))

    report = made.wait_closed()

    assert (report["accepted"], report["unconfirmed"]) == (400, 100)
    assert any("resolve" in sentence for sentence in report["advice"])
    assert set(made.copies().values()) == {1}
    assert report["balanced"], report["problems"]


def test_accept_then_hang_is_unknown_after_the_request_time_out(
    make_scenario: MakeScenario,
) -> None:
    made = make_scenario(request_timeout=1.5)
    made.simulator.faults({"provider": "sendgrid", "kind": "accept_then_hang", "at_request": [1]})
    made.start_workers()
    made.begin(Draft(people=200))

    report = made.wait_closed()

    assert (report["accepted"], report["unconfirmed"]) == (100, 100)


def test_one_invalid_address_in_a_thousand_rejects_one_and_the_others_go(
    make_scenario: MakeScenario,
) -> None:
    made = make_scenario(messages_per_request=1000)
    made.simulator.faults(
        {"provider": "sendgrid", "kind": "refuse_address", "match": ["person-437@example.com"]}
    )
    made.start_workers()
    made.begin(Draft(people=1000))

    report = made.wait_closed()

    assert (report["accepted"], report["rejected"]) == (999, 1)
    assert report["rejected_reasons"] == {"recipient_refused": 1}
    assert made.copies() == {n: 1 for n in range(1, 1001) if n != 437}
    assert made.ordinals(Outcome.REJECTED) == {437}
    assert report["balanced"], report["problems"]


def test_a_provider_that_answers_503_for_a_while_delays_and_loses_nobody(
    make_scenario: MakeScenario,
) -> None:
    made = make_scenario()
    made.simulator.faults(
        {"provider": "sendgrid", "kind": "status", "status": 503, "at_request": list(range(1, 8))}
    )
    made.start_workers()
    made.begin(Draft(people=500))

    report = made.wait_closed()

    assert report["accepted"] == 500
    assert set(made.copies().values()) == {1}


def test_smtp_sends_a_whole_campaign_one_message_a_transaction(make_scenario: MakeScenario) -> None:
    made = make_scenario()
    made.start_workers()
    made.begin(Draft(people=300, account="simulator-smtp"))

    report = made.wait_closed()

    assert report["accepted"] == 300
    assert made.copies() == dict.fromkeys(range(1, 301), 1)
    assert report["balanced"], report["problems"]

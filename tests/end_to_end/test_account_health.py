"""Accounts in trouble: refused ones park and burn nobody, breakers park work, weights move traffic."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from datetime import datetime

from sqlalchemy import text

from models.account_health import set_weight
from starter.accounts import resume_account
from starter.limits import set_rate
from tests.builders import Draft
from tests.requests import a_client, a_shop, a_template
from tests.scenario import Scenario, wait_until

MakeScenario = Callable[..., Scenario]

REQUESTS = 20


def a_service(made: Scenario, requests: int = REQUESTS) -> list[int]:
    """Sends of so many committed requests, each to somebody else."""
    a_shop(made.engine, customers=requests)
    client = a_client(made.engine, made.settings)
    return [
        client.send_blocking("order-shipped", to=f"person-{n}", variables={"order": n}).send_id
        for n in range(1, requests + 1)
    ]


def all_closed(made: Scenario) -> bool:
    return bool(made.value("SELECT count(*) FROM send WHERE closed_at IS NULL") == 0)


def copies(made: Scenario, sends: list[int]) -> Counter[int]:
    return Counter({send: len(made.simulator.received(send)) for send in sends})


def test_a_refused_account_parks_single_messages_burns_nobody_and_resume_sends_all(
    make_scenario: MakeScenario,
) -> None:
    made = make_scenario()
    sends = a_service(made)
    made.simulator.faults({"provider": "sendgrid", "kind": "revoke_key"})
    made.workers.start("single", "transactional,upkeep")
    # Its fallback must not take them: this is about nobody being up.
    with made.engine.begin() as connection:
        connection.execute(
            text("UPDATE provider_account SET state = 'refused' WHERE key = 'simulator-smtp'")
        )
    parked = "SELECT count(*) FROM outbox WHERE group_id IS NULL AND due_at IS NOT NULL"
    wait_until(lambda: made.value(parked) == REQUESTS, 30)
    state = made.value("SELECT state FROM provider_account WHERE key = 'simulator'")
    burnt = made.value("SELECT count(*) FROM delivery")

    made.simulator.no_faults()
    resume_account(made.engine, "simulator")
    wait_until(lambda: all_closed(made), 30)

    assert (state, burnt) == ("refused", 0)
    assert copies(made, sends) == Counter(dict.fromkeys(sends, 1))
    assert made.value("SELECT count(*) FROM delivery WHERE tries > 0") == 0


def test_a_refused_account_is_passed_over_for_its_fallback(make_scenario: MakeScenario) -> None:
    made = make_scenario()
    sends = a_service(made)
    made.simulator.faults({"provider": "sendgrid", "kind": "revoke_key"})

    made.workers.start("single", "transactional,upkeep")
    wait_until(lambda: all_closed(made), 30)

    assert copies(made, sends) == Counter(dict.fromkeys(sends, 1))
    used = "SELECT DISTINCT a.key FROM attempt t JOIN provider_account a ON a.id = t.account_id"
    assert "simulator-smtp" in made.values(used)


def test_a_breaker_parks_a_campaign_without_burning_attempts_and_a_probe_lets_it_go_on(
    make_scenario: MakeScenario,
) -> None:
    # Six batches err three times each before they wait: enough at once, however slow the machine.
    made = make_scenario(messages_per_request=5, max_tries=1, batch_size=50)
    made.simulator.faults({"provider": "sendgrid", "kind": "status", "status": 503})
    made.start_workers()
    made.begin(Draft(people=300))
    wait_until(lambda: made.value("SELECT max(breaker_until) FROM provider_account"), 30)
    attempts = made.value("SELECT count(*) FROM attempt")
    time.sleep(1)
    while_open = made.value("SELECT count(*) FROM attempt") - attempts

    made.simulator.no_faults()
    report = made.wait_closed()

    assert while_open <= 8
    assert report["accepted"] == 300
    assert set(made.copies().values()) == {1}
    assert report["balanced"], report["problems"]
    assert made.value("SELECT count(*) FROM provider_account WHERE breaker_until IS NOT NULL") == 0


def test_single_messages_leave_an_account_whose_breaker_is_open(
    make_scenario: MakeScenario,
) -> None:
    made = make_scenario()
    sends = a_service(made, 40)
    made.simulator.faults({"provider": "sendgrid", "kind": "status", "status": 503})

    made.workers.start("single", "transactional,upkeep")
    wait_until(lambda: all_closed(made), 40)

    assert copies(made, sends) == Counter(dict.fromkeys(sends, 1))
    assert made.value("SELECT breaker_wait > 0 FROM provider_account WHERE key = 'simulator'")


def test_weights_share_single_messages_among_accounts(make_scenario: MakeScenario) -> None:
    made = make_scenario()
    made.workers.start("upkeep", "upkeep")
    with made.engine.begin() as connection:
        ids = connection.execute(
            text("SELECT id FROM provider_account WHERE channel = 'email' AND key <> 'log'")
        ).scalars()
        for account_id in list(ids):
            set_weight(connection, account_id, 50)
    sends = a_service(made, 100)

    made.workers.start("single", "transactional")
    wait_until(lambda: all_closed(made), 40)

    used = made.values("SELECT DISTINCT account_id FROM attempt")
    assert copies(made, sends) == Counter(dict.fromkeys(sends, 1))
    assert len(used) == 2


def arrivals(made: Scenario, domain: str = "") -> list[float]:
    entries = [e for e in made.simulator.received(made.send_id) if e["to"].endswith(domain)]
    return [datetime.fromisoformat(entry["at"]).timestamp() for entry in entries]


def test_an_accounts_new_rate_is_obeyed_within_five_seconds_while_a_campaign_runs(
    make_scenario: MakeScenario,
) -> None:
    made = make_scenario(messages_per_request=20)
    made.start_workers()
    made.begin(Draft(people=6000))
    set_rate(made.engine, "account:simulator", 125.0)
    time.sleep(5)
    since = time.time()
    time.sleep(10)
    seen = sum(since <= at < since + 10 for at in arrivals(made)) / 10
    made.change("cancelled")
    report = made.wait_closed()

    # A fifth is kept for single messages.
    assert 60 < seen <= 110, "a busy machine may be slower, nothing is faster"
    assert report["balanced"], report["problems"]


def test_a_limited_domain_waits_and_nobody_else_does(make_scenario: MakeScenario) -> None:
    made = make_scenario(messages_per_request=50)
    made.draft(Draft(people=400))
    with made.engine.begin() as connection:
        connection.execute(
            text(
                "UPDATE contact_point SET address = replace(address, 'example.com', 'slow.example')"
                " WHERE id % 10 = 0"
            )
        )
    set_rate(made.engine, "domain:slow.example", 8.0)
    made.start_workers()
    made.begin()
    report = made.wait_closed()

    slow, others = arrivals(made, "slow.example"), arrivals(made, "@example.com")
    assert report["accepted"] == 400
    assert (len(slow), len(others)) == (40, 360)
    assert max(slow) - min(slow) >= 3
    assert max(others) < max(slow)


def test_a_recipient_who_got_a_message_lately_waits_for_the_next(
    make_scenario: MakeScenario,
) -> None:
    made = make_scenario()
    a_shop(made.engine, customers=2)
    client = a_client(made.engine, made.settings)
    set_rate(made.engine, "recipient", 0.25)
    made.workers.start("single", "transactional,upkeep")

    first = asyncio.run(client.send("order-shipped", to="person-1", variables={"order": 1}))
    wait_until(lambda: made.simulator.received(first.send_id), 20)
    again = asyncio.run(client.send("order-shipped", to="person-1", variables={"order": 2}))
    other = asyncio.run(client.send("order-shipped", to="person-2", variables={"order": 3}))
    wait_until(lambda: all_closed(made), 30)

    at = {
        send: datetime.fromisoformat(made.simulator.received(send)[0]["at"]).timestamp()
        for send in (first.send_id, again.send_id, other.send_id)
    }
    assert at[again.send_id] - at[first.send_id] >= 2.9
    assert at[other.send_id] < at[again.send_id]


def test_a_long_text_message_takes_as_many_permits_as_it_has_segments(
    make_scenario: MakeScenario,
) -> None:
    made = make_scenario()
    a_shop(made.engine, customers=1)
    with made.engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO contact_point (team_id, recipient_id, channel, address)"
                " SELECT team_id, id, 'sms', '+15005550006' FROM recipient"
            )
        )
        texts = {"": {"subject": "-", "html": "", "text": "{{ order }} is on its way."}}
        a_template(connection, "text", content={"sms": texts})
    made.workers.start("single", "transactional,upkeep")
    set_rate(made.engine, "account:simulator-sms", 1.0)
    client = a_client(made.engine, made.settings)
    time.sleep(1.5)  # the worker has seen the limit

    client.send_blocking("text", to="person-1", variables={"order": "x" * 400}, plan="sms")
    wait_until(lambda: all_closed(made), 20)

    # Three segments at the fifth of a second that single messages have.
    ahead = made.value(
        "SELECT extract(epoch FROM tat - clock_timestamp()) FROM rate_limit"
        " WHERE key LIKE '%/transactional'"
    )
    assert 10 < float(ahead) <= 15

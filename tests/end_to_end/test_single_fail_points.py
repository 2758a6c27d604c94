"""kill -9 at every named moment of a group's protocol, with the exact outcome each must have.

Twenty requests, committed before there is a worker, are one group and one flight, so that what is
open at the kill is known exactly.
"""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import make_url

from activities.fail_points import FailPoint
from domain.outcome import Outcome
from domain.send import OnUnknown
from models.request_audit import request_imbalances
from models.team import default_team_id
from starter.messages import Carillon
from tests.pg_proxy import CommitEater
from tests.requests import a_client, a_shop
from tests.scenario import Scenario, wait_until

REQUESTS = 20
# A busy machine may write late; nobody is to be released for it here.
# One lane: two that begin at once may share the twenty.
ONE_FLIGHT = {"connections": 32, "call_within": 15, "lanes": 1}

MakeScenario = Callable[..., Scenario]


def a_service(made: Scenario, policy: OnUnknown = OnUnknown.RESEND) -> list[int]:
    """Sends of twenty committed requests."""
    a_shop(made.engine, customers=REQUESTS)
    client = a_client(made.engine, made.settings)
    return [ask(client, number, policy) for number in range(1, REQUESTS + 1)]


def ask(client: Carillon, number: int, policy: OnUnknown) -> int:
    return client.send_blocking(
        "order-shipped",
        to=f"person-{number}",
        variables={"order": number},
        on_unknown=policy,
    ).send_id


def all_closed(made: Scenario) -> bool:
    return bool(made.value("SELECT count(*) FROM send WHERE closed_at IS NULL") == 0)


def problems(made: Scenario) -> dict[int, list[str]]:
    with made.engine.connect() as connection:
        return request_imbalances(connection, default_team_id(connection))


def copies(made: Scenario, sends: Sequence[int]) -> Counter[int]:
    """How often each send's message arrived."""
    return Counter({send: len(made.simulator.received(send)) for send in sends})


def outcomes(made: Scenario) -> set[int]:
    return set(made.values("SELECT outcome FROM delivery"))


@pytest.mark.parametrize(
    ("point", "policy", "arrived", "outcome", "attempts"),
    [
        (FailPoint.GATHERED, OnUnknown.LEAVE, 1, Outcome.ACCEPTED, "settled"),
        (FailPoint.BEFORE_CLAIM, OnUnknown.LEAVE, 1, Outcome.ACCEPTED, "settled"),
        (FailPoint.CLAIMED, OnUnknown.LEAVE, 0, Outcome.UNCONFIRMED, "abandoned"),
        (FailPoint.CLAIMED, OnUnknown.RESEND, 1, Outcome.ACCEPTED, "abandoned,settled"),
        (FailPoint.SETTLED, OnUnknown.RESEND, 1, Outcome.ACCEPTED, "settled"),
        (FailPoint.FINISHING, OnUnknown.RESEND, 1, Outcome.ACCEPTED, "settled"),
        (FailPoint.RETURNING, OnUnknown.RESEND, 1, Outcome.ACCEPTED, "settled"),
    ],
)
def test_a_worker_killed_at_a_fail_point_leaves_exactly_this(
    make_scenario: MakeScenario,
    point: FailPoint,
    policy: OnUnknown,
    arrived: int,
    outcome: Outcome,
    attempts: str,
) -> None:
    made = make_scenario(**ONE_FLIGHT)
    sends = a_service(made, policy)
    made.workers.start("upkeep", "upkeep")

    made.workers.start("failing", "transactional", fail_at=(point, 1))
    made.workers.wait_dead("failing")
    made.workers.start("next", "transactional")
    wait_until(lambda: all_closed(made), 40)

    assert copies(made, sends) == Counter(dict.fromkeys(sends, arrived))
    assert outcomes(made) == {outcome}
    assert made.value("SELECT string_agg(state, ',' ORDER BY id) FROM attempt") == attempts
    assert problems(made) == {}


def test_a_worker_killed_after_a_partial_settle_repeats_only_who_was_open(
    make_scenario: MakeScenario,
) -> None:
    made = make_scenario(**ONE_FLIGHT)
    sends = a_service(made)
    made.simulator.faults(
        {"provider": "sendgrid", "kind": "latency", "seconds": 3, "at_request": [1, 2, 3]}
    )
    made.workers.start("upkeep", "upkeep")
    made.workers.start("first", "transactional")
    wait_until(lambda: made.value("SELECT count(*) FROM delivery") == REQUESTS - 3, 20)

    made.workers.kill("first")
    made.workers.start("next", "transactional")
    wait_until(lambda: all_closed(made), 40)

    assert sorted(copies(made, sends).values()) == [1] * (REQUESTS - 3) + [2] * 3
    assert made.value("SELECT count(*) FROM delivery WHERE tries = 1") == 3
    assert problems(made) == {}


@pytest.mark.parametrize("marker", ["EXECUTE group_claim_insert", "EXECUTE group_settle_mark"])
def test_a_commit_whose_reply_was_lost_is_looked_up_and_nobody_is_in_doubt(
    make_scenario: MakeScenario, run_dir: Path, marker: str
) -> None:
    made = make_scenario(**ONE_FLIGHT)
    sends = a_service(made)
    server = Path(str(made.engine.url.query["host"])) / f".s.PGSQL.{made.engine.url.query['port']}"
    folder = run_dir / f"proxy-{made.engine.url.database}"
    folder.mkdir()
    eater = CommitEater(folder, server)
    through = make_url(made.settings.database_url).update_query_dict({"host": str(folder)})
    eater.arm(marker)

    made.workers.start(
        "single",
        "transactional,upkeep",
        settings={"database_url": through.render_as_string(hide_password=False)},
    )
    wait_until(lambda: all_closed(made), 30)

    eater.close()
    assert eater.eaten == 1
    assert copies(made, sends) == Counter(dict.fromkeys(sends, 1))
    assert outcomes(made) == {Outcome.ACCEPTED}
    assert made.values("SELECT state FROM attempt") == ["settled"]
    assert problems(made) == {}


def test_a_zombie_that_wakes_after_its_lease_sends_nothing_and_its_answers_still_count(
    make_scenario: MakeScenario,
) -> None:
    made = make_scenario(request_timeout=100.0, **ONE_FLIGHT)
    sends = a_service(made)
    made.simulator.faults(
        {
            "provider": "sendgrid",
            "kind": "latency",
            "seconds": 1,
            "at_request": list(range(1, REQUESTS + 1)),
        }
    )
    made.workers.start("upkeep", "upkeep")
    made.workers.start("first", "transactional")
    wait_until(lambda: sum(copies(made, sends).values()) == REQUESTS, 20)
    made.workers.signal("first", signal.SIGSTOP)
    assert outcomes(made) == set()
    made.workers.start("second", "transactional")
    # Temporal may hand the task to the stopped worker's open polls first, and backs off between.
    wait_until(lambda: outcomes(made) == {Outcome.UNKNOWN}, 240)

    made.workers.signal("first", signal.SIGCONT)
    wait_until(lambda: outcomes(made) == {Outcome.ACCEPTED}, 20)

    assert copies(made, sends) == Counter(dict.fromkeys(sends, 1))
    assert made.values("SELECT state FROM attempt") == ["abandoned"]
    assert problems(made) == {}


def test_a_message_that_waits_long_is_parked_and_gathered_again(
    make_scenario: MakeScenario,
) -> None:
    made = make_scenario()
    a_shop(made.engine)
    client = a_client(made.engine, made.settings)
    made.simulator.faults(
        {
            "provider": "sendgrid",
            "kind": "status",
            "status": 429,
            "retry_after": 600,
            "at_request": [1],
        }
    )
    made.workers.start("single", "transactional,upkeep")
    sent = client.send_blocking("order-shipped", to="person-1", variables={"order": 1})
    wait_until(lambda: made.value("SELECT due_at FROM outbox WHERE group_id IS NULL"), 20)
    parked = made.value("SELECT due_at > now() + interval '9 minutes' FROM outbox")

    made.simulator.no_faults()
    with made.engine.begin() as connection:
        from sqlalchemy import text

        from models.outbox import make_due

        connection.execute(text("UPDATE rate_limit SET tat = now()"))
        make_due(connection, sent.send_id)
    wait_until(lambda: all_closed(made), 20)

    assert parked
    assert copies(made, [sent.send_id]) == Counter({sent.send_id: 1})
    assert made.value("SELECT count(*) FROM message_group") == 2
    assert problems(made) == {}


def test_a_cancelled_request_that_waits_ends_as_cancelled(make_scenario: MakeScenario) -> None:
    made = make_scenario()
    a_shop(made.engine)
    client = a_client(made.engine, made.settings)
    made.workers.start("single", "transactional,upkeep")
    later = datetime.now(UTC) + timedelta(hours=1)
    sent = client.send_blocking("order-shipped", to="person-1", variables={"order": 1}, at=later)

    client.cancel_blocking(sent.send_id)
    wait_until(lambda: all_closed(made), 20)

    assert outcomes(made) == {Outcome.CANCELLED}
    assert made.value("SELECT state FROM send") == "cancelled"
    assert problems(made) == {}


def test_the_last_two_groups_of_one_send_end_at_once_and_it_closes(
    make_scenario: MakeScenario,
) -> None:
    made = make_scenario()
    a_shop(made.engine, customers=400)
    client = a_client(made.engine, made.settings)
    sent = client.send_blocking(
        "order-shipped",
        to=[f"person-{number}" for number in range(1, 401)],
        variables={"order": 1},
    )

    made.workers.start("single", "transactional,upkeep")
    wait_until(lambda: all_closed(made), 40)

    assert made.value("SELECT count(*) FROM message_group") == 2
    assert len(made.simulator.received(sent.send_id)) == 400
    assert problems(made) == {}


def test_temporal_wiped_between_gathering_and_start_is_healed_by_the_reconciler(
    make_scenario: MakeScenario,
) -> None:
    made = make_scenario()
    sends = a_service(made)
    made.workers.start("upkeep", "upkeep")
    made.workers.start("failing", "transactional", fail_at=(FailPoint.GATHERED, 1))
    made.workers.wait_dead("failing")

    made.workers.start("next", "transactional")
    wait_until(lambda: all_closed(made), 30)

    assert copies(made, sends) == Counter(dict.fromkeys(sends, 1))

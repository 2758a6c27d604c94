"""Two drivers on one batch: the second is told until when the first has it, and sends nothing."""

from __future__ import annotations

import threading
from collections.abc import Callable

from temporalio.testing import ActivityEnvironment

from activities.account_book import AccountBook
from activities.contract import BatchInput
from activities.crew import Crew
from activities.fail_points import FailPoint
from activities.health_log import HealthLog
from activities.limit_book import LimitBook
from activities.mailer import Links
from activities.send_batch import SendActivities
from activities.sessions import Sessions
from composition import pace_of
from domain.health import HealthRules
from domain.outcome import Outcome
from models.claim import AttemptIds
from starter.stored_accounts import KnownAccounts
from tests.builders import Draft, a_running_campaign
from tests.scenario import Scenario


def drivers(made: Scenario, lane: int, at_claim: Callable[[], None]) -> SendActivities:
    """The real activity; `at_claim` is called once its first claim is committed."""

    def reached(point: FailPoint) -> None:
        if point is FailPoint.CLAIMED:
            at_claim()

    crew = Crew(
        engine=made.engine,
        pace=pace_of(made.settings),
        attempt_ids=AttemptIds(lane),
        worker=f"driver-{lane}",
        reached=reached,
        limits=LimitBook(made.engine),
        health=HealthLog(
            made.engine,
            HealthRules(),
            slow_after=made.settings.seconds("slow_after"),
            probe_for=made.settings.seconds("request_timeout"),
        ),
    )
    sessions = Sessions(AccountBook(made.engine, KnownAccounts(made.settings).read))
    return SendActivities(crew, sessions, Links(public_url="http://127.0.0.1", secret=b"x"))


def test_the_second_driver_of_a_batch_is_sent_away(make_scenario: Callable[..., Scenario]) -> None:
    made = make_scenario()
    made.send_id = a_running_campaign(made.engine, Draft(people=50))
    is_claimed, may_go_on = threading.Event(), threading.Event()

    def hold() -> None:
        is_claimed.set()
        may_go_on.wait(20)

    batch = BatchInput(send_id=made.send_id, lo=1)
    first = drivers(made, 1, hold)
    thread = threading.Thread(target=lambda: ActivityEnvironment().run(first.send_batch, batch))
    thread.start()
    is_claimed.wait(20)
    second = ActivityEnvironment().run(drivers(made, 2, lambda: None).send_batch, batch)
    may_go_on.set()
    thread.join(20)

    assert not second.is_done
    assert second.resume_at is not None
    assert made.values("SELECT DISTINCT worker FROM attempt") == ["driver-1"]
    assert set(made.copies().values()) == {1}
    assert len(made.ordinals(Outcome.ACCEPTED)) == 50

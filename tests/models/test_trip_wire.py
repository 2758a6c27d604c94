"""Trip wires on real rows: one hold, whoever looks, and none again for what an operator let pass."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import Engine

from domain.event import EventKind
from domain.trip_wire import Wires
from models.hold import open_holds
from models.trip_wire import AUTHOR, running_campaigns, watch_sends
from tests.builders import scalar
from tests.events import an_event, tell
from tests.models.test_events import Sender

WIRES = Wires(least=10)


@pytest.fixture
def sender(engine: Engine) -> Sender:
    made = Sender(engine, people=30)
    made.attempt("a" * 20)
    return made


def bounce(sender: Sender, *ordinals: int) -> None:
    tell(
        sender.engine,
        *(an_event(sender.send_id, EventKind.HARD_BOUNCED, ordinal=n) for n in ordinals),
    )


def held(sender: Sender) -> list[str]:
    with sender.engine.connect() as connection:
        return open_holds(connection, sender.send_id)


def test_bounces_hold_the_send_once_and_say_why(sender: Sender) -> None:
    bounce(sender, 1)
    assert watch_sends(sender.engine, WIRES, [sender.send_id]) == []
    bounce(sender, 2, 3)

    with ThreadPoolExecutor(8) as pool:
        found = list(
            pool.map(lambda _: watch_sends(sender.engine, WIRES, [sender.send_id]), range(8))
        )

    assert sum(map(len, found)) == 1
    assert held(sender) == [
        f"send: 3 hard bounces of 20 (15 %, over 5.00%) in its first 1,000 messages ({AUTHOR})"
    ]


def test_what_an_operator_released_does_not_trip_again_but_new_trouble_does(
    sender: Sender,
) -> None:
    bounce(sender, 1, 2, 3)
    watch_sends(sender.engine, WIRES, [sender.send_id])
    sender.execute("UPDATE hold SET released_at = clock_timestamp()")

    again = watch_sends(sender.engine, WIRES, [sender.send_id])
    sender.execute(
        "UPDATE attempt SET claimed_at = clock_timestamp(), id = key_at(clock_timestamp()) + 1048576"
    )
    bounce(sender, 4, 5)
    anew = watch_sends(sender.engine, WIRES, [sender.send_id])

    assert (again, anew) == ([], [sender.send_id])
    assert held(sender)[0].endswith(f"in the last 60 minutes ({AUTHOR})")


def test_a_send_that_is_over_is_not_held(sender: Sender) -> None:
    bounce(sender, 1, 2, 3)
    sender.execute("UPDATE send SET state = 'finished', closed_at = now()")

    assert watch_sends(sender.engine, WIRES, [sender.send_id]) == []
    with sender.engine.connect() as connection:
        assert running_campaigns(connection) == []


def test_errors_are_rejected_messages_and_lost_answers_are_not(engine: Engine) -> None:
    sender = Sender(engine, people=30)
    sender.attempt("a" * 8 + "u" * 6 + "r" * 4)

    assert watch_sends(engine, WIRES, [sender.send_id]) == [sender.send_id]
    assert "4 errors of 12" in scalar(engine, "SELECT reason FROM hold")

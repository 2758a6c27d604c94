"""What happens to single messages after their answer: events, readers, look-ups, redrives, traces."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from domain.event import EventKind
from domain.outcome import Progress
from domain.send import OnUnknown
from models.database import in_transaction
from models.events import Recorded
from models.in_app import list_items, mark_read, mark_seen
from models.redrive import NotRedrivable, redrive
from starter.redrive import list_dead_letters
from starter.trace import listed, parse_message, trace
from tests.activities.desk import Desk, a_phone
from tests.builders import scalar, scalars
from tests.events import an_event, history, tell

Faults = Callable[[dict[str, Any]], None]
LOST = {"provider": "sendgrid", "kind": "accept_then_close", "at_request": [1]}


def told(desk: Desk, send_id: int, kind: EventKind, **given: Any) -> Recorded:
    return tell(desk.engine, an_event(send_id, kind, **given))


def person(desk: Desk) -> int:
    found: int = scalar(desk.engine, "SELECT id FROM recipient WHERE external_id = 'person-1'")
    return found


def closed(desk: Desk) -> bool:
    return bool(scalar(desk.engine, "SELECT bool_and(closed_at IS NOT NULL) FROM send"))


# -- the channel plan, moved by events


def test_who_is_told_to_have_it_gets_no_next_step(desk: Desk) -> None:
    a_phone(desk)
    sent = desk.send(plan="sms:delivered/1h,email")
    desk.drive()

    told(desk, sent, EventKind.DELIVERED)
    desk.drive()

    assert desk.outcomes(sent) == {(1, 1): "accepted"}
    assert closed(desk)


def test_a_bounce_ends_the_wait_and_the_next_step_goes_at_once(desk: Desk) -> None:
    a_phone(desk)
    sent = desk.send(plan="sms:delivered/1h,email")
    desk.drive()

    told(desk, sent, EventKind.SOFT_BOUNCED)
    desk.drive()

    assert desk.outcomes(sent) == {(1, 1): "accepted", (1, 2): "accepted"}
    assert closed(desk)


def test_a_group_that_waits_is_named_so_that_it_can_be_poked(desk: Desk) -> None:
    a_phone(desk)
    sent = desk.send(plan="sms:delivered/4m,email")
    desk.drive()
    group = scalar(desk.engine, "SELECT group_id FROM outbox")

    recorded = told(desk, sent, EventKind.DELIVERED)
    result = desk.again(group)

    assert recorded.folded.groups == {group}
    assert (result.is_done, desk.outcomes(sent)) == (True, {(1, 1): "accepted"})


def test_a_late_delivery_cancels_the_next_step_that_nobody_has_sent_yet(desk: Desk) -> None:
    a_phone(desk)
    sent = desk.send(plan="sms:delivered/1h,email")
    desk.drive()
    hold = (
        "INSERT INTO hold (team_id, scope, reason, author) VALUES (:team, 'everything', 'r', 'a')"
    )
    desk.execute(hold, team=desk.team)
    desk.execute("UPDATE delivery SET decide_at = now(); UPDATE outbox SET due_at = now()")
    desk.drive()
    group = scalar(desk.engine, "SELECT group_id FROM outbox")

    told(desk, sent, EventKind.DELIVERED)
    desk.execute("UPDATE hold SET released_at = now()")
    desk.again(group)

    assert desk.outcomes(sent) == {(1, 1): "accepted", (1, 2): "cancelled"}
    assert closed(desk)


def test_reading_an_item_ends_the_wait_for_its_reader(desk: Desk) -> None:
    sent = desk.send(plan="in_app:read/1h,email")
    desk.drive()
    with desk.engine.connect() as connection:
        (item,) = list_items(connection, person(desk))

    seen = in_transaction(desk.engine, lambda c: mark_seen(c, person(desk), [item.id]))
    progress = [scalar(desk.engine, "SELECT progress FROM delivery")]
    read = [
        in_transaction(desk.engine, lambda c: mark_read(c, person(desk), [item.id])).events
        for _ in range(2)
    ]
    progress.append(scalar(desk.engine, "SELECT progress FROM delivery"))
    desk.drive()

    assert (seen.events, read) == (1, [1, 0])
    assert progress == [Progress.SEEN, Progress.READ]
    assert scalar(
        desk.engine, "SELECT seen_at IS NOT NULL AND read_at IS NOT NULL FROM in_app_item"
    )
    assert desk.outcomes(sent) == {(1, 1): "accepted"}
    assert closed(desk)


def test_nobody_reads_somebody_elses_item(desk: Desk) -> None:
    desk.send(plan="in_app")
    desk.drive()
    item = scalar(desk.engine, "SELECT id FROM in_app_item")

    folded = in_transaction(desk.engine, lambda c: mark_read(c, person(desk) + 1, [item]))

    assert folded.events == 0
    assert scalar(desk.engine, "SELECT read_at IS NULL FROM in_app_item")


# -- unknown outcomes


def test_an_event_settles_what_nobody_knew_and_it_is_not_sent_again(
    desk: Desk, faults: Faults
) -> None:
    faults(LOST)
    sent = desk.send()
    desk.drive()
    before = desk.outcomes(sent)

    told(desk, sent, EventKind.DELIVERED)
    desk.again(scalar(desk.engine, "SELECT group_id FROM outbox"))

    assert (before, desk.outcomes(sent)) == ({(1, 1): "unknown"}, {(1, 1): "accepted"})
    assert scalar(desk.engine, "SELECT count(*) FROM attempt") == 1
    assert closed(desk)


def test_a_proof_after_a_retry_is_a_confirmed_duplicate(desk: Desk, faults: Faults) -> None:
    a_phone(desk)
    faults({**LOST, "provider": "twilio"})
    sent = desk.send(plan="sms")
    desk.drive()
    desk.execute("UPDATE delivery SET decide_at = now()")
    desk.again(scalar(desk.engine, "SELECT group_id FROM outbox"))
    mine = scalar(
        desk.engine, "SELECT answers -> '0' ->> 'id' FROM attempt ORDER BY id DESC LIMIT 1"
    )

    told(desk, sent, EventKind.DELIVERED, provider_message_id=mine)
    none_yet = history(desk.engine, sent)
    told(desk, sent, EventKind.DELIVERED, provider_message_id="SM" + "0" * 32)

    assert mine.startswith("SM")
    assert "confirmed_duplicate" not in none_yet
    assert history(desk.engine, sent).count("confirmed_duplicate") == 1


def test_the_vendors_list_settles_a_lost_text_message(desk: Desk, faults: Faults) -> None:
    a_phone(desk, "+436607654321")
    faults({**LOST, "provider": "twilio"})
    sent = desk.send(plan="sms", variables={"order": "L-1"}, on_unknown=OnUnknown.LEAVE)
    desk.drive()
    desk.execute("UPDATE delivery SET decide_at = now() + interval '1 hour'")

    folded = desk.look_up.once()
    desk.again(scalar(desk.engine, "SELECT group_id FROM outbox"))

    assert folded.events == 1
    assert desk.outcomes(sent) == {(1, 1): "accepted"}
    assert "found" in history(desk.engine, sent)
    assert closed(desk)


def test_the_same_text_sent_before_is_no_proof(desk: Desk, faults: Faults) -> None:
    a_phone(desk, "+436607654322")
    desk.send(plan="sms", variables={"order": "L-2"})
    desk.drive()
    faults({"provider": "twilio", "kind": "status", "status": 500, "at_request": [1]})
    lost = desk.send(plan="sms", variables={"order": "L-2"})
    desk.drive()
    desk.execute("UPDATE delivery SET decide_at = now() + interval '1 hour' WHERE outcome = 1")

    folded = desk.look_up.once()

    assert folded.events == 0
    assert desk.outcomes(lost) == {(1, 1): "unknown"}


# -- what failed


def test_a_redrive_sends_what_failed_and_nothing_else(desk: Desk, faults: Faults) -> None:
    faults({"provider": "sendgrid", "kind": "status", "status": 400, "at_request": [2]})
    sent = desk.send(["person-1", "person-2", "person-3"])
    desk.drive()
    failed = sorted(desk.outcomes(sent).values())

    done = in_transaction(desk.engine, lambda c: redrive(c, desk.team, sent, "fixed"))
    desk.drive()

    assert failed[:2] == ["accepted", "accepted"]
    assert failed[2].startswith("rejected")
    assert (done.messages, set(desk.outcomes(sent).values())) == (1, {"accepted"})
    assert scalar(desk.engine, "SELECT round FROM send") == 1
    assert scalars(desk.engine, "SELECT raw ->> 'why' FROM delivery_event") == ["fixed"]
    assert closed(desk)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ("UPDATE send SET state = 'cancelled'", "was cancelled"),
        ("UPDATE send SET expires_at = now()", "has expired"),
        ("UPDATE send SET state = 'running'", "only what has finished"),
    ],
)
def test_what_may_not_be_sent_is_not_redriven(
    desk: Desk, faults: Faults, change: str, why: str
) -> None:
    faults({"provider": "sendgrid", "kind": "status", "status": 400, "at_request": [1]})
    sent = desk.send()
    desk.drive()
    before = desk.outcomes(sent)
    desk.execute(change)

    with pytest.raises(NotRedrivable, match=why):
        in_transaction(desk.engine, lambda c: redrive(c, desk.team, sent, "again"))

    assert desk.outcomes(sent) == before
    assert scalar(desk.engine, "SELECT count(*) FROM outbox") == 0


def test_dead_letters_are_listed_with_the_command_that_redrives_them(
    desk: Desk, faults: Faults
) -> None:
    faults({"provider": "sendgrid", "kind": "status", "status": 400, "at_request": [1]})
    desk.send("person-1")
    desk.drive()
    desk.send("person-2")
    desk.drive()

    (found,) = list_dead_letters(desk.engine, timedelta(days=1))

    assert (found["messages"], found["why"].partition(":")[0]) == (1, "rejected")
    assert found["command"].startswith(f"carillon redrive --send {found['send']} --reason")


# -- the trace


def test_a_trace_tells_all_of_it_in_order_of_time(desk: Desk, faults: Faults) -> None:
    a_phone(desk, "+15005550009")  # Twilio's own: "not a valid mobile number"
    sent = desk.send(plan="sms,email", idempotency_key="order-A-17")
    desk.drive()
    told(desk, sent, EventKind.DELIVERED, step=2)
    told(desk, sent, EventKind.OPENED, step=2)

    found = trace(desk.engine, desk.settings, sent, 1)

    assert [entry.what for entry in found.entries] == [
        "requested",
        "claimed",
        "answered",
        "claimed",
        "answered",
        "delivered",
        "opened",
    ]
    requested, _, refused, _, accepted, *_ = (entry.text for entry in found.entries)
    assert "key order-A-17" in requested
    assert "order-shipped@1" in requested
    assert "sms,email" in requested
    assert "21211" in refused or "21614" in refused
    assert accepted.startswith("step 2: simulator accepted as ")
    assert (found.now["state"], found.now["progress"]) == ("accepted", "opened")
    assert (found.now["waits"], found.now["workflow"]) == ("", None)


def test_a_trace_tells_where_a_message_waits_and_until_when(desk: Desk) -> None:
    sent = desk.send(plan="in_app:read/4m,email")
    desk.drive()

    found = trace(desk.engine, desk.settings, sent, 1)

    assert found.now["waits"] == "for its reader"
    assert found.now["until"] == scalar(desk.engine, "SELECT decide_at FROM delivery")
    assert found.now["workflow"].startswith("messages:grp_")


def test_a_trace_tells_which_rules_matter_with_their_facts(desk: Desk) -> None:
    desk.execute("DELETE FROM contact_point")
    sent = desk.send()
    desk.drive()

    found = trace(desk.engine, desk.settings, sent, 1)

    assert found.verdict["now"] == "skip: no_contact_point"
    assert [rule["rule"] for rule in found.verdict["rules"]] == ["no_contact_point"]
    assert found.verdict["facts"]["contact_point"] is False


def test_messages_are_listed_by_recipient_and_by_send(desk: Desk) -> None:
    first, second = desk.send("person-1"), desk.send(["person-1", "person-2"])
    desk.drive()

    by_name = listed(desk.engine, "person-1")
    by_address = listed(desk.engine, "person-1@example.com")

    assert [line.send_id for line in by_name] == [second, first]
    assert by_name == by_address
    assert parse_message("snd_0000000000001/2") == (1, 2)

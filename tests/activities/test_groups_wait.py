"""Single messages that wait: for a time, for their recipient's clock, for somebody who ends a stop."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from domain.waiting import Why
from models.database import in_transaction
from models.merge import merge
from models.recipient_edit import ProfileChange, edit_recipient
from models.request import UnknownSend
from models.team import TeamClock, set_team_clock
from starter.held import HeldMessage, Which, held, recheck
from tests.activities.desk import Desk
from tests.builders import scalar

# Zones without changes of their clocks, by what their clocks are ahead of UTC.
ZONE_AT = {hours: f"Etc/GMT{-hours:+d}" for hours in (-12, -2, -1, 1, 2, 14)}


def shown_in(zone: str, moment: datetime) -> datetime:
    """What the clocks of the zone show at the moment."""
    return moment.astimezone(ZoneInfo(zone)).replace(tzinfo=None)


def live_in(desk: Desk, zones: dict[str, str | None]) -> None:
    for who, zone in zones.items():
        desk.execute(
            "UPDATE recipient SET time_zone = :zone WHERE external_id = :who", zone=zone, who=who
        )


def waits(desk: Desk, **which: object) -> list[HeldMessage]:
    return held(desk.engine, desk.settings, Which(**which), limit=100)  # type: ignore[arg-type]  # its fields


def move(desk: Desk, who: str, zone: str) -> None:
    """As an edit of the recipient does it."""
    recipient = scalar(desk.engine, "SELECT id FROM recipient WHERE external_id = :w", {"w": who})
    in_transaction(
        desk.engine,
        lambda c: edit_recipient(c, desk.team, recipient, ProfileChange(time_zone=zone)),
    )


NOW = datetime.now(UTC)
SHOWN_BEFORE_US = shown_in(ZONE_AT[1], NOW)
"""What clocks an hour ahead of UTC show: there it is time, at UTC it is in an hour."""


def test_each_gets_it_when_it_is_that_time_where_they_are(desk: Desk) -> None:
    live_in(
        desk, {"person-1": ZONE_AT[1], "person-2": "UTC", "person-3": ZONE_AT[-2], "person-4": None}
    )
    sent = desk.send([f"person-{n}" for n in range(1, 5)], local_at=SHOWN_BEFORE_US)

    desk.drive()

    assert desk.outcomes(sent) == {(1, 1): "accepted"}
    until = {one.recipient: (one.why, one.until) for one in waits(desk)}
    in_an_hour = SHOWN_BEFORE_US.replace(tzinfo=UTC)
    assert until == {
        "person-2": (Why.LOCAL_TIME, in_an_hour),
        "person-3": (Why.LOCAL_TIME, in_an_hour + timedelta(hours=2)),
        "person-4": (Why.LOCAL_TIME, in_an_hour),  # the team's clock
    }
    parked = scalar(desk.engine, "SELECT min(due_at) FROM outbox WHERE group_id IS NULL")
    assert parked == in_an_hour


def test_nobody_is_gathered_before_the_first_of_them_is_due(desk: Desk) -> None:
    live_in(desk, {"person-1": ZONE_AT[-1], "person-2": ZONE_AT[1]})
    shown = shown_in("UTC", NOW + timedelta(days=3))
    desk.send(["person-1", "person-2"], local_at=shown)

    assert desk.drive() == []
    assert scalar(desk.engine, "SELECT due_at FROM outbox LIMIT 1") == NOW + timedelta(
        days=3, hours=-1
    )
    assert scalar(desk.engine, "SELECT expires_at FROM send") == shown.replace(
        tzinfo=UTC
    ) + timedelta(hours=12, days=1)


def test_who_moves_to_where_it_is_time_gets_it_at_once(desk: Desk) -> None:
    live_in(desk, {"person-1": ZONE_AT[-2], "person-2": ZONE_AT[-2]})
    sent = desk.send(["person-1", "person-2"], local_at=SHOWN_BEFORE_US)
    desk.drive()

    move(desk, "person-1", ZONE_AT[2])
    desk.drive()

    assert desk.outcomes(sent) == {(1, 1): "accepted"}


def test_who_is_merged_into_somebody_for_whom_it_is_time_gets_it_at_once(desk: Desk) -> None:
    live_in(desk, {"person-1": ZONE_AT[-2], "person-2": ZONE_AT[1]})
    sent = desk.send(local_at=SHOWN_BEFORE_US)
    desk.drive()
    assert desk.outcomes(sent) == {}, "it is not time yet where they were"

    gone, kept = (
        scalar(desk.engine, "SELECT id FROM recipient WHERE external_id = :who", {"who": who})
        for who in ("person-1", "person-2")
    )
    merged = in_transaction(desk.engine, lambda c: merge(c, desk.team, gone, kept))
    desk.drive()

    assert merged.rechecked.parked == 1
    assert desk.outcomes(sent) == {(1, 1): "accepted"}


def test_who_moves_away_before_the_moment_gets_it_by_the_new_clock(desk: Desk) -> None:
    live_in(desk, {"person-1": ZONE_AT[1]})
    sent = desk.send(local_at=SHOWN_BEFORE_US)

    live_in(desk, {"person-1": ZONE_AT[-2]})
    desk.drive()

    assert desk.outcomes(sent) == {}
    (one,) = waits(desk)
    assert one.until == SHOWN_BEFORE_US.replace(tzinfo=UTC) + timedelta(hours=2)


def test_a_new_clock_of_the_team_counts_for_whose_zone_is_not_known(desk: Desk) -> None:
    live_in(desk, {"person-1": None})
    sent = desk.send(local_at=SHOWN_BEFORE_US)
    desk.drive()

    with desk.engine.begin() as connection:
        set_team_clock(connection, desk.team, TeamClock(time_zone=ZONE_AT[2], quiet=None))
    desk.drive()

    assert desk.outcomes(sent) == {(1, 1): "accepted"}


def test_whose_moment_is_long_ago_gets_nothing_any_more(desk: Desk) -> None:
    live_in(desk, {"person-1": ZONE_AT[14], "person-2": ZONE_AT[1], "person-3": ZONE_AT[-1]})
    sent = desk.send(["person-1", "person-2", "person-3"], local_at=SHOWN_BEFORE_US)
    desk.execute("UPDATE send SET local_grace = '3 hours'")

    desk.drive()

    assert desk.outcomes(sent) == {(1, 1): "expired", (2, 1): "accepted"}


def test_a_later_step_of_the_plan_is_not_too_late_by_the_local_moment(desk: Desk) -> None:
    live_in(desk, {"person-1": ZONE_AT[1]})
    sent = desk.send(plan="sms,email", local_at=SHOWN_BEFORE_US)
    desk.execute("UPDATE send SET local_grace = '3 hours'")
    desk.drive()
    assert desk.outcomes(sent)[1, 2] == "accepted"

    desk.execute("UPDATE send SET local_grace = '1 microsecond'")
    late = desk.send(plan="in_app:read/1h,email", local_at=SHOWN_BEFORE_US)
    desk.drive()
    desk.execute("UPDATE send SET local_grace = '1 microsecond'")
    desk.execute("UPDATE delivery SET decide_at = now() WHERE send_id = :send", send=late)
    desk.execute("UPDATE outbox SET due_at = now()")
    desk.drive()

    assert desk.outcomes(late) == {(1, 1): "accepted", (1, 2): "accepted"}


def test_what_was_cancelled_while_parked_ends_as_cancelled(desk: Desk) -> None:
    live_in(desk, {"person-1": ZONE_AT[-2]})
    sent = desk.send(local_at=SHOWN_BEFORE_US, idempotency_key="greeting")
    desk.drive()

    desk.client.cancel_blocking(desk.client.send_id_of_blocking("greeting"))
    desk.drive()

    assert desk.outcomes(sent) == {(1, 1): "cancelled"}
    with pytest.raises(UnknownSend, match="no-such-key"):
        desk.client.send_id_of_blocking("no-such-key")


@pytest.mark.parametrize("when", ["at", "local_at"])
def test_what_expires_while_it_waits_is_not_sent(desk: Desk, when: str) -> None:
    live_in(desk, {"person-1": ZONE_AT[-12]})
    later = NOW + timedelta(hours=1)
    wishes: dict[str, Any] = {when: later if when == "at" else SHOWN_BEFORE_US}
    sent = desk.send(**wishes)
    desk.drive()

    desk.execute("UPDATE send SET expires_at = now(); UPDATE outbox SET due_at = now()")
    desk.drive()

    assert desk.outcomes(sent) == {(1, 1): "expired"}
    assert scalar(desk.engine, "SELECT closed_at IS NOT NULL FROM send")


def test_a_recheck_sends_nothing_early(desk: Desk) -> None:
    live_in(desk, {"person-1": ZONE_AT[-2]})
    scheduled = desk.send(at=NOW + timedelta(hours=1), idempotency_key="k")
    local = desk.send(local_at=SHOWN_BEFORE_US)
    desk.drive()

    found = [
        recheck(desk.engine, which)
        for which in (Which(key="k"), Which(send_id=local), Which(recipient="person-1"))
    ]
    results = desk.drive()

    assert [one.parked for one in found] == [1, 1, 2]
    assert len(results) == 1
    assert desk.outcomes(scheduled) == desk.outcomes(local) == {}
    assert {one.why for one in waits(desk)} == {Why.SCHEDULED, Why.LOCAL_TIME}


def test_the_list_says_what_holds_a_message_and_whom_it_is_for(desk: Desk) -> None:
    sent = desk.send(["person-1", "person-2"])
    later = desk.send("person-3", at=NOW + timedelta(hours=1), idempotency_key="later")
    assert {one.why for one in waits(desk)} == {Why.SCHEDULED}, "the others are on their way"

    desk.execute(
        "INSERT INTO hold (team_id, scope, scope_id, reason, author)"
        " VALUES (:team, 'send', :send, 'wrong price', 'ada')",
        team=desk.team,
        send=sent,
    )

    assert [(one.recipient, one.why, one.holds) for one in waits(desk, send_id=sent)] == [
        ("person-1", Why.HOLD, ("send: wrong price (ada)",)),
        ("person-2", Why.HOLD, ("send: wrong price (ada)",)),
    ]
    assert [one.ordinal for one in waits(desk, recipient="person-2")] == [2]
    (scheduled,) = waits(desk, key="later")
    assert (scheduled.why, scheduled.until, scheduled.holds) == (
        Why.SCHEDULED,
        NOW + timedelta(hours=1),
        (),
    )
    assert waits(desk, send_id=later) == [scheduled]


def test_the_list_says_when_no_account_can_take_a_message(desk: Desk) -> None:
    desk.execute("UPDATE provider_account SET state = 'refused'")
    desk.send()

    (one,) = waits(desk)

    assert (one.why, one.until) == (Why.ACCOUNT, None)


def test_the_list_goes_on_past_its_pages(desk: Desk) -> None:
    for _ in range(21):
        desk.send([f"person-{n}" for n in range(1, 11)])
    desk.send("person-1", at=NOW + timedelta(hours=1))

    (one,) = waits(desk)

    assert one.why is Why.SCHEDULED

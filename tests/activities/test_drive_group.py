"""A pass over a group, on real PostgreSQL against the simulator; Temporal is not asked."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, time, timedelta
from typing import Any

import pytest

from activities.contract import GroupResult
from domain.cap import Over
from domain.local_time import Window
from domain.send import Channel
from models.cap import NewCap, add_cap
from models.suppression import suppress
from models.team import TeamClock, set_team_clock
from models.topic import set_over_cap, topic_id
from tests.activities.desk import Desk, a_phone
from tests.builders import scalar, scalars
from tests.requests import a_template


def test_a_request_to_many_is_one_group_and_each_gets_theirs(desk: Desk) -> None:
    sent = desk.send([f"person-{n}" for n in range(1, 11)])

    (result,) = desk.drive()

    assert result == GroupResult(is_done=True)
    assert desk.outcomes(sent) == {(n, 1): "accepted" for n in range(1, 11)}
    assert scalar(desk.engine, "SELECT closed_at IS NOT NULL FROM send")


def test_a_channel_without_an_address_falls_to_the_next_step(desk: Desk) -> None:
    sent = desk.send(plan="sms,email")

    desk.drive()

    assert desk.outcomes(sent) == {(1, 1): "skipped:no_contact_point", (1, 2): "accepted"}


def test_a_refused_step_falls_to_the_next_one_at_once(desk: Desk) -> None:
    a_phone(desk, "+15005550009")  # Twilio's own: "not a valid mobile number"
    sent = desk.send(plan="sms,email")

    desk.drive()

    assert desk.outcomes(sent) == {(1, 1): "rejected:recipient_refused", (1, 2): "accepted"}


def test_a_text_message_goes_by_sms(desk: Desk) -> None:
    a_phone(desk)
    sent = desk.send(plan="sms")

    desk.drive()

    assert desk.outcomes(sent) == {(1, 1): "accepted"}


def test_an_in_app_message_is_a_row_and_waits_for_its_reader(desk: Desk) -> None:
    sent = desk.send(plan="in_app:read/1h,email")

    (result,) = desk.drive()

    assert scalars(desk.engine, "SELECT title FROM in_app_item") == ["Order A-17"]
    assert desk.outcomes(sent) == {(1, 1): "accepted"}
    assert result == GroupResult(is_done=True), "what waits for an hour is parked"
    assert scalar(desk.engine, "SELECT due_at > now() + interval '59 minutes' FROM outbox")


def test_who_does_not_read_in_time_gets_the_next_step(desk: Desk) -> None:
    sent = desk.send(plan="in_app:read/1h,email")
    desk.drive()

    desk.execute("UPDATE delivery SET decide_at = now(); UPDATE outbox SET due_at = now()")
    desk.drive()

    assert desk.outcomes(sent) == {(1, 1): "accepted", (1, 2): "accepted"}
    assert scalar(desk.engine, "SELECT count(*) FROM in_app_item") == 1


def test_who_has_read_gets_no_next_step(desk: Desk) -> None:
    sent = desk.send(plan="in_app:read/1h,email")
    desk.drive()

    desk.execute("UPDATE delivery SET progress = 7; UPDATE outbox SET due_at = now()")
    desk.drive()

    assert desk.outcomes(sent) == {(1, 1): "accepted"}
    assert scalar(desk.engine, "SELECT closed_at IS NOT NULL FROM send")


def test_a_hard_bounce_stops_everything_and_a_complaint_marketing_alone(desk: Desk) -> None:
    reasons = {"person-1@example.com": "hard_bounce", "person-2@example.com": "complaint"}
    with desk.engine.begin() as connection:
        suppress(connection, desk.team, reasons, channel=Channel.EMAIL, source="test")

    sent = desk.send(["person-1", "person-2"])
    offer = desk.send("person-2", message_class="marketing", topic="newsletter")
    desk.drive()

    assert desk.outcomes(sent) == {(1, 1): "skipped:suppressed", (2, 1): "accepted"}
    assert desk.outcomes(offer) == {(1, 1): "skipped:suppressed"}


def test_marketing_waits_for_the_end_of_quiet_hours_and_critical_does_not(desk: Desk) -> None:
    now = datetime.now(UTC)
    quiet = Window.of(time((now.hour - 1) % 24), time((now.hour + 3) % 24))
    with desk.engine.begin() as connection:
        set_team_clock(connection, desk.team, TeamClock(time_zone="UTC", quiet=quiet))
    desk.execute("UPDATE recipient SET time_zone = 'UTC'")

    offer = desk.send(message_class="marketing", topic="newsletter")
    urgent = desk.send(message_class="marketing", topic="newsletter", priority="critical")
    receipt = desk.send()
    desk.drive()

    assert desk.outcomes(offer) == {}
    assert scalar(desk.engine, "SELECT due_at > now() + interval '1 hour' FROM outbox")
    assert desk.outcomes(urgent) == desk.outcomes(receipt) == {(1, 1): "accepted"}


def test_who_waits_for_longer_than_the_send_is_valid_is_looked_at_when_it_expires(
    desk: Desk,
) -> None:
    now = datetime.now(UTC)
    quiet = Window.of(time((now.hour - 1) % 24), time((now.hour + 3) % 24))
    with desk.engine.begin() as connection:
        set_team_clock(connection, desk.team, TeamClock(time_zone="UTC", quiet=quiet))
    desk.execute("UPDATE recipient SET time_zone = 'UTC'")

    desk.send(message_class="marketing", topic="newsletter", expires_after=timedelta(minutes=30))
    desk.drive()

    assert scalar(desk.engine, "SELECT o.due_at = s.expires_at FROM outbox o, send s")


@pytest.mark.parametrize(("locale", "word"), [("de_AT", "Hallo"), ("fr_FR", "Hello")])
def test_a_single_message_is_told_in_its_recipients_language(
    desk: Desk, locale: str, word: str
) -> None:
    with desk.engine.begin() as connection:
        content = {
            "in_app": {
                name: {"subject": said, "html": "", "text": f"{said} {{{{ order }}}}"}
                for name, said in (("", "Hello"), ("de", "Hallo"))
            }
        }
        a_template(connection, content=content)
    desk.execute("UPDATE recipient SET locale = :locale", locale=locale)

    desk.send(plan="in_app")
    desk.drive()

    assert scalars(desk.engine, "SELECT title || '/' || body FROM in_app_item") == [
        f"{word}/{word} A-17"
    ]


@pytest.fixture
def cap(desk: Desk) -> None:
    """One e-mail in 24 hours: a cap of a day would end within the test that runs at midnight."""
    with desk.engine.begin() as connection:
        new = NewCap(
            team_id=desk.team,
            topic_id=None,
            message_class=None,
            channel="email",
            most=1,
            hours=24,
            over=Over.SKIP,
        )
        add_cap(connection, new)


@pytest.mark.usefixtures("cap")
def test_over_a_cap_of_one_only_one_of_two_goes(desk: Desk) -> None:
    sends = [desk.send(), desk.send()]

    desk.drive()

    came = sorted(desk.outcomes(send)[1, 1] for send in sends)
    assert came == ["accepted", "skipped:capped"]
    assert scalar(desk.engine, "SELECT used FROM cap_count") == 1


@pytest.mark.usefixtures("cap")
def test_what_waits_for_a_place_under_a_cap_gets_it_by_priority(desk: Desk) -> None:
    """The cap says skip; the topic says that its messages wait."""
    with desk.engine.begin() as connection:
        set_over_cap(connection, topic_id(connection, desk.team, "newsletter"), Over.DEFER)
    desk.send()
    desk.drive()
    low, high = (
        desk.send(topic="newsletter", priority=word, expires_after=timedelta(days=3))
        for word in ("low", "high")
    )
    desk.drive()
    assert (desk.outcomes(low), desk.outcomes(high)) == ({}, {})
    assert scalar(desk.engine, "SELECT count(*) FROM outbox WHERE due_at > now()") == 2

    desk.execute("DELETE FROM cap_count; DELETE FROM cap_use; UPDATE outbox SET due_at = NULL")
    desk.drive()

    assert (desk.outcomes(low), desk.outcomes(high)) == ({}, {(1, 1): "accepted"})


@pytest.mark.usefixtures("cap")
def test_what_was_refused_does_not_count(
    desk: Desk, faults: Callable[[dict[str, Any]], None]
) -> None:
    faults({"provider": "sendgrid", "kind": "status", "status": 400, "at_request": [1]})
    first = desk.send()
    desk.drive()

    second = desk.send()
    desk.drive()

    assert desk.outcomes(first)[1, 1].startswith("rejected")
    assert desk.outcomes(second) == {(1, 1): "accepted"}


def test_a_provider_that_is_away_is_asked_again_later(
    desk: Desk, faults: Callable[[dict[str, Any]], None]
) -> None:
    faults({"provider": "sendgrid", "kind": "status", "status": 503, "at_request": [1]})
    sent = desk.send()

    (result,) = desk.drive()
    assert (result.is_done, result.failures) == (False, 1)
    group = scalar(desk.engine, "SELECT group_id FROM outbox")
    result = desk.again(group)

    assert result.is_done
    assert desk.outcomes(sent) == {(1, 1): "accepted"}


def test_an_expired_message_is_not_sent(desk: Desk) -> None:
    sent = desk.send(expires_after=timedelta(seconds=1))
    desk.execute("UPDATE send SET expires_at = now()")

    desk.drive()

    assert desk.outcomes(sent) == {(1, 1): "expired"}


def test_a_cancelled_message_is_not_sent(desk: Desk) -> None:
    sent = desk.send()
    desk.client.cancel_blocking(sent)

    desk.drive()

    assert desk.outcomes(sent) == {(1, 1): "cancelled"}
    assert scalar(desk.engine, "SELECT state FROM send") == "cancelled"


def test_a_held_message_waits_and_goes_when_it_is_released(desk: Desk) -> None:
    sent = desk.send()
    desk.execute(
        "INSERT INTO hold (team_id, scope, scope_id, reason, author)"
        " VALUES (:team, 'send', :send, 'wrong price', 'ada')",
        team=desk.team,
        send=sent,
    )

    (result,) = desk.drive()
    assert (result.is_done, desk.outcomes(sent)) == (False, {})
    desk.execute("UPDATE hold SET released_at = now()")
    result = desk.again(scalar(desk.engine, "SELECT group_id FROM outbox"))

    assert result.is_done
    assert desk.outcomes(sent) == {(1, 1): "accepted"}


def test_a_group_that_is_not_there_is_done(desk: Desk) -> None:
    assert desk.again(17) == GroupResult(is_done=True)


@pytest.mark.parametrize(
    ("order", "reason"),
    [
        ("a\r\nBcc: x@example.org", "header_refused"),
        ("javascript:alert(1)", "render_failed"),
    ],
)
def test_a_message_that_cannot_be_rendered_is_rejected_and_the_others_go(
    desk: Desk, order: str, reason: str
) -> None:
    with desk.engine.begin() as connection:
        html = '<a href="{{ order }}">x</a>'
        content = {"email": {"": {"subject": "{{ order }}", "html": html, "text": ""}}}
        a_template(connection, content=content)
    bad = desk.send(variables={"order": order})
    good = desk.send("person-2")

    desk.drive()

    assert desk.outcomes(bad) == {(1, 1): f"rejected:{reason}"}
    assert desk.outcomes(good) == {(1, 1): "accepted"}

"""A campaign by SMS through the real parts: one message a request, each once."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import text

from domain.outcome import Outcome
from domain.send import Channel
from starter import campaigns
from starter.accounts import keep_accounts
from starter.limits import set_rate
from tests.builders import people
from tests.requests import a_template
from tests.scenario import Scenario

MakeScenario = Callable[..., Scenario]

PEOPLE = 200
# Three segments: up to 459 characters of the GSM alphabet.
TEXT = "{{ first_name }}, " + "news " * 80


def a_text_campaign(made: Scenario) -> None:
    """To people with telephones; Twilio's stand-in refuses the number of one of them."""
    with made.engine.begin() as connection:
        keep_accounts(connection, made.settings)
        people(connection, PEOPLE)
        connection.execute(
            text(
                "UPDATE contact_point SET channel = 'sms', address = '+43660' || 1000000 + recipient_id;"
                "UPDATE contact_point SET address = '+15005550009' WHERE recipient_id ="
                " (SELECT id FROM recipient WHERE external_id = 'person-7');"
                "UPDATE subscription SET channel = 'sms'"
            )
        )
        content = {"sms": {"": {"subject": "", "html": "", "text": TEXT}}}
        a_template(connection, "text", content=content)
    wish = campaigns.Wish(name="N", topic="newsletter", template="text", channel=Channel.SMS)
    made.send_id = campaigns.create(made.engine, made.settings, wish).id


def test_everybody_gets_the_text_once_and_a_number_that_is_refused_none(
    make_scenario: MakeScenario,
) -> None:
    made = make_scenario()
    a_text_campaign(made)
    set_rate(made.engine, "account:simulator-sms", 600.0)
    made.start_workers()

    made.begin()
    report = made.wait_closed()

    received = made.simulator.received(made.send_id)
    assert report["balanced"], report["problems"]
    assert (report["account"], report["channel"]) == ("simulator-sms", "sms")
    assert (report["accepted"], report["rejected"]) == (PEOPLE - 1, 1)
    assert made.copies() == dict.fromkeys(made.ordinals(Outcome.ACCEPTED), 1)
    assert len({entry["to"] for entry in received}) == PEOPLE - 1

"""What an event says outside, and when it is tried again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import orjson
import pytest

from domain.outcome import FINAL_OUTCOMES, Outcome, Reason
from domain.webhook_address import why_never_reached
from domain.webhook_event import WebhookEvent, event_body, event_data, retry_wait
from domain.webhook_signature import endpoint_secret, event_secret

SEND = 1_790_000_000_000 << 20
AT = datetime(2026, 11, 28, 12, 30, 5, 123456, tzinfo=UTC)
FIRST = timedelta(seconds=2)


def test_a_message_is_told_by_ids_of_the_outside_and_words() -> None:
    row = {
        "send": SEND,
        "ordinal": 2,
        "outcome": int(Outcome.SKIPPED),
        "reason": int(Reason.SUPPRESSED),
        "test": False,
    }

    assert event_data(row) == {
        "send": "snd_1m3250v000000",
        "message": "msg_1m3250v0000002",
        "outcome": "skipped",
        "reason": "suppressed",
        "test": False,
    }


def test_a_body_is_the_same_on_every_try() -> None:
    said = orjson.loads(event_body("campaign.paused", {"campaign": SEND, "test": False}, AT))

    assert said == {
        "type": "campaign.paused",
        "timestamp": "2026-11-28T12:30:05.123Z",
        "data": {"campaign": "snd_1m3250v000000", "test": False},
    }


def test_every_final_outcome_of_a_message_has_an_event() -> None:
    told = {event.value for event in WebhookEvent if event.startswith("message.")}

    assert told == {f"message.{outcome.word}" for outcome in FINAL_OUTCOMES}


def test_waits_double_up_to_an_hour() -> None:
    waits = [retry_wait(tries, FIRST, None).total_seconds() for tries in (1, 2, 3, 11, 12, 5000)]

    assert waits == [2, 4, 8, 2048, 3600, 3600]


def test_an_endpoint_is_never_asked_sooner_than_it_wants() -> None:
    assert retry_wait(1, FIRST, timedelta(hours=5)) == timedelta(hours=5)
    assert retry_wait(5, FIRST, timedelta(seconds=1)) == timedelta(seconds=32)


def test_a_secret_is_of_endpoint_and_generation_and_no_messages_secret() -> None:
    secrets = {
        event_secret("m", "whk_1", 1),
        event_secret("m", "whk_1", 2),
        event_secret("m", "whk_2", 1),
        event_secret("n", "whk_1", 1),
        endpoint_secret("m", "whk_1/1"),
    }

    assert len(secrets) == 5


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "127.1", "2130706433", "0x7f.1", "10.0.0.1", "169.254.169.254", "localhost",
     "localhost.", "api.localhost", "[::1]", "[fd00:ec2::254]", "[::ffff:10.0.0.1]"],
)  # fmt: skip
def test_a_host_inside_is_refused_when_it_is_given(host: str) -> None:
    assert why_never_reached(f"https://{host}/hook")


@pytest.mark.parametrize("host", ["hooks.example.com", "8.8.8.8", "[2606:4700::1111]", "3com.com"])
def test_a_host_that_may_be_outside_is_not(host: str) -> None:
    assert not why_never_reached(f"https://{host}:8443/hook")

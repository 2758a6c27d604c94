"""A campaign by SMS takes as many permits of its account as its texts have segments."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine, text

from activities.limit_book import LimitBook
from activities.mailer import Links, Mailer
from activities.preparation import Preparation
from domain.rate_unit import RateUnit
from domain.send import Channel
from models.facts import VersionContent, read_people, send_facts
from models.rate_limit import GLOBAL_KEY, account_key, set_limit
from providers.protocol import Capabilities
from tests.builders import Draft, a_running_campaign, scalar

CAPABILITIES = Capabilities(
    channel=Channel.SMS,
    merges=False,
    max_messages_per_request=1,
    max_request_bytes=10_000,
    max_slot_bytes=0,
    max_open_requests=8,
    rate_unit=RateUnit.SEGMENTS,
)


@pytest.mark.parametrize(("body", "segments"), [("Hello {{ first_name }}", 1), ("x" * 400, 3)])
def test_a_flight_reserves_the_segments_of_its_texts(
    engine: Engine, body: str, segments: int
) -> None:
    send_id = a_running_campaign(engine, Draft(people=10))
    with engine.begin() as connection:
        connection.execute(text("UPDATE recipient SET erased_at = now() WHERE id % 5 = 0"))
        send = send_facts(connection, send_id)
        for key in (account_key(send.account_id), GLOBAL_KEY):
            set_limit(connection, key, 0.001)
        people = read_people(connection, send, range(1, 11))
    version = VersionContent(subject="", html="", text=body, variables={})
    links = Links(public_url="https://news.example.org", secret=b"secret")
    mailer = Mailer(send, version, CAPABILITIES, links)
    preparation = Preparation(engine, LimitBook(engine), send, mailer, CAPABILITIES)

    preparation.permit(people)

    def reserved(key: str) -> int:
        ahead = scalar(
            engine,
            "SELECT extract(epoch FROM tat - clock_timestamp()) FROM rate_limit WHERE key = :key",
            {"key": key},
        )
        return round(float(ahead) / 1000)

    assert reserved(GLOBAL_KEY) == 8, "messages, of those who go"
    assert reserved(account_key(send.account_id)) == 8 * segments

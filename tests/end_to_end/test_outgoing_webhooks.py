"""Outgoing webhooks through the real parts: what happens arrives, in order, whoever dies meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import orjson
import pytest
from sqlalchemy import Engine

from domain.identifier import SEND_PREFIX, WEBHOOK_PREFIX, public_id
from domain.webhook_signature import verify
from models.database import in_transaction
from models.webhook_event import tell_test
from starter.webhooks import WebhookDesk, signing
from tests.builders import Draft
from tests.providers.http_peer import Act, HttpPeer, Seen, answer
from tests.requests import a_client, a_shop
from tests.scenario import Scenario, wait_until
from tests.webhooks import an_endpoint

MakeScenario = Callable[..., Scenario]
EVENTS = 20


class Receiver:
    """An endpoint's owner, who keeps the ids that were taken, in order, and how often each came."""

    def __init__(self) -> None:
        self.peer = HttpPeer(self._act)
        self.acts: dict[int, Act] = {}
        """What is done to the request of this number, from 1 on; all else is well."""
        self.reached = {number: threading.Event() for number in range(1, 2 * EVENTS)}
        self.taken: list[str] = []

    def _act(self, seen: Seen) -> Act:
        number = len(self.peer.seen)
        if number in self.reached:
            self.reached[number].set()
        act = self.acts.get(number, answer(204))
        if act.reply.startswith(b"HTTP/1.1 204"):
            self.taken.append(seen.headers["webhook-id"])
        return act

    @property
    def url(self) -> str:
        return f"{self.peer.url}/events"

    def bodies(self) -> list[dict[str, object]]:
        return [orjson.loads(seen.body) for seen in self.peer.seen]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.peer.close()


def owe(engine: Engine, endpoint: int, count: int = EVENTS) -> list[str]:
    """webhook-ids of so many events."""
    ids = [in_transaction(engine, lambda c: tell_test(c, endpoint)) for _ in range(count)]
    return [public_id("whd_", one) for one in ids]


def all_told(made: Scenario) -> bool:
    return not made.value("SELECT count(*) FROM webhook_delivery WHERE delivered_at IS NULL")


def test_single_messages_are_told_signed_and_without_people(
    make_scenario: MakeScenario, receiver: Receiver
) -> None:
    made = make_scenario(webhooks_every=0.5)
    a_shop(made.engine)
    endpoint = an_endpoint(made.engine, url=receiver.url)
    made.workers.start("main", "orchestration,upkeep")
    made.workers.start("single", "transactional")
    made.workers.start("campaign", "campaign")

    sent = a_client(made.engine, made.settings).send_blocking(
        "order-shipped", to=["person-1", "person-2"], variables={"order": "A-17"}
    )
    wait_until(lambda: made.value("SELECT count(*) FROM outbox") == 0, 30)
    wait_until(lambda: len(receiver.taken) == 2 and all_told(made), 30)

    told = receiver.bodies()
    assert [body["type"] for body in told] == ["message.accepted"] * 2
    assert {body["data"]["send"] for body in told} == {  # type: ignore[index]  # of an event
        public_id(SEND_PREFIX, sent.send_id)
    }
    desk = WebhookDesk(team_id=1, actor="test", config=signing(made.settings))
    with made.engine.connect() as connection:
        secrets = desk.secrets(connection, endpoint)
    for seen in receiver.peer.seen:
        headers = seen.headers
        signed = (
            headers["webhook-id"],
            headers["webhook-timestamp"],
            headers["webhook-signature"],
        )
        assert verify(secrets, signed, seen.body, now=datetime.now(UTC))
        for personal in (b"person-", b"First", b"Last", b"example.com", b"A-17"):
            assert personal not in seen.body


def test_a_campaign_is_told_from_its_start_to_its_end(
    make_scenario: MakeScenario, receiver: Receiver
) -> None:
    made = make_scenario(webhooks_every=0.5)
    send_id = made.draft(Draft(people=50))
    an_endpoint(made.engine, url=receiver.url)
    made.start_workers()

    made.begin()
    made.wait_closed()
    wait_until(lambda: len(receiver.taken) == 2 and all_told(made), 30)

    campaign = public_id(SEND_PREFIX, send_id)
    assert [(body["type"], body["data"]) for body in receiver.bodies()] == [
        ("campaign.started", {"campaign": campaign, "test": False}),
        ("campaign.finished", {"campaign": campaign, "test": False}),
    ]


def test_an_endpoint_that_fails_at_first_gets_the_same_event_again_before_all_others(
    make_scenario: MakeScenario, receiver: Receiver
) -> None:
    made = make_scenario(webhooks_every=0.5)
    receiver.acts = {1: answer(500), 2: answer(503, b"", "Retry-After: 1\r\n")}
    ids = owe(made.engine, an_endpoint(made.engine, url=receiver.url), 3)

    made.workers.start("main", "upkeep")
    wait_until(lambda: all_told(made), 60)

    came = [seen.headers["webhook-id"] for seen in receiver.peer.seen]
    assert came == [ids[0], ids[0], *ids]


def test_a_killed_worker_loses_no_event_and_repeats_keep_their_id(
    make_scenario: MakeScenario, receiver: Receiver
) -> None:
    made = make_scenario(webhooks_every=0.5)
    # The seventh has come and is not answered: whether it was taken nobody can know.
    receiver.acts = {7: Act(hang=True)}
    ids = owe(made.engine, an_endpoint(made.engine, url=receiver.url))

    made.workers.start("main", "upkeep")
    assert receiver.reached[7].wait(60)
    made.workers.kill("main")
    made.workers.start("main", "upkeep")
    wait_until(lambda: all_told(made), 60)

    came = [seen.headers["webhook-id"] for seen in receiver.peer.seen]
    assert list(dict.fromkeys(came)) == ids
    assert receiver.taken == ids
    assert came[:8] == [*ids[:7], ids[6]]


def test_an_endpoint_that_is_gone_is_told_nothing_more_and_another_everything(
    make_scenario: MakeScenario, receiver: Receiver
) -> None:
    made = make_scenario(webhooks_every=0.5)
    gone = Receiver()
    gone.acts = {2: answer(410)}
    dead, well = (an_endpoint(made.engine, url=one.url) for one in (gone, receiver))
    owe(made.engine, dead)
    ids = owe(made.engine, well)

    made.workers.start("main", "upkeep")
    wait_until(lambda: receiver.taken == ids, 60)
    disabled = f"SELECT disabled_reason FROM webhook_endpoint WHERE id = {dead}"
    wait_until(lambda: made.value(disabled), 60)

    assert made.value(disabled) == "The endpoint answered 410."
    assert len(gone.peer.seen) == 2
    log = (made.folder / "worker-main-1.log").read_text()
    assert "webhooks.disabled" in log and public_id(WEBHOOK_PREFIX, dead) in log
    gone.peer.close()

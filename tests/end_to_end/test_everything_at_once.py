"""All channels at once: 2,000 people who differ in everything, against a model made from words.

A campaign and eleven requests go to the same people at the same time, over e-mail, SMS, in-app and
webhooks, through providers that are overloaded and away for a moment. Each message's final rows, all
that arrived, and all items inside the application must be what `tests/model_of_sending.py` says.
Where a cap lets one of several messages through, the model allows any of them, but exactly one.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine, text

from domain.address_key import address_key
from models.database import connect
from models.freeze import freeze
from models.progress import progress
from models.request_audit import request_imbalances
from models.team import default_team_id
from starter.accounts import keep_accounts
from tests.builders import TOPIC, Draft
from tests.crowd import Changes, Crowd
from tests.crowd_rows import change_people, write_world
from tests.model_of_sending import Key, Send, World, contests, fates, problems
from tests.requests import a_client, a_template, final_outcomes
from tests.scenario import Scenario, wait_until

MakeScenario = Callable[..., Scenario]

SEED = 20261128
PEOPLE = 2000
BATCH = 300
LAPSES_AFTER = timedelta(seconds=8)
PROVIDERS = {"email": "sendgrid", "sms": "twilio", "webhook": "webhook"}
BUSY = (
    {"provider": "sendgrid", "kind": "status", "status": 429, "retry_after": 1, "at_request": 40},
    {"provider": "sendgrid", "kind": "status", "status": 503, "at_request": 90},
    {"provider": "twilio", "kind": "status", "status": 429, "retry_after": 1, "at_request": 30},
    {"provider": "webhook", "kind": "status", "status": 503, "at_request": 30},
)
"""Answers that say for certain that nothing was taken, so that every outcome is certain too."""


@dataclass(kw_only=True)
class Play:
    """The world, what is sent in it, and the product that it happens in."""

    made: Scenario
    engine: Engine
    world: World
    sends: list[Send]
    now: datetime
    ids: dict[str, int] = field(default_factory=dict)
    """Of the sends, by name."""

    def __post_init__(self) -> None:
        self.expected = {
            key: fate
            for send in self.sends
            for key, fate in fates(self.world, send, self.now).items()
        }
        self.contested = contests(self.sends, self.expected)

    def rows(self) -> dict[Key, dict[int, str]]:
        """What the ledger says of each message: its outcomes by step."""
        found: dict[Key, dict[int, str]] = {}
        for name, send_id in self.ids.items():
            for (ordinal, step), word in final_outcomes(self.engine, send_id).items():
                found.setdefault((name, ordinal), {})[step] = word
        return found

    def person_of(self, key: Key) -> str:
        (send,) = (send for send in self.sends if send["name"] == key[0])
        return send["to"][key[1] - 1]


@pytest.fixture
def play(make_scenario: MakeScenario) -> Iterator[Play]:
    """The crowd of this seed, with everything committed that it is to be sent."""
    made = prepare(make_scenario(batch_size=BATCH))
    yield made
    made.engine.dispose()


def test_every_message_of_a_mixed_crowd_ends_as_an_independent_model_says(play: Play) -> None:
    started = time.monotonic()
    check_that_everything_occurs(play)
    start_workers(play)

    wait_until(lambda: is_at_rest(play), 90)
    waiting = {key: fate for key, fate in play.expected.items() if fate.waits_until}
    assert list(problems(play.expected, play.contested, play.rows())) == []
    assert parked(play) == {
        key: fate.waits_until for key, fate in waiting.items() if key[0] != "campaign"
    }
    deferred = sum(key[0] == "campaign" for key in waiting)
    assert play.made.report()["deferred"] == {"quiet_hours": deferred}

    cancel_what_waits(play)
    wait_until(
        lambda: play.made.value("SELECT count(*) FROM send WHERE closed_at IS NULL") == 0, 30
    )
    ended = {key: fate.when_cancelled() for key, fate in play.expected.items()}
    rows = play.rows()
    assert list(problems(ended, play.contested, rows)) == []
    check_what_arrived(play, rows)
    check_the_accounts(play, rows)
    print(f"{len(rows)} messages, {time.monotonic() - started:.1f} s")


def prepare(made: Scenario) -> Play:
    """Everything is written, and frozen, and some people go away; no worker runs yet."""
    secret = made.settings.link_secret.get_secret_value().encode()
    engine = connect(made.settings.database_url, address_key=address_key(secret))
    now = datetime.now(UTC)
    print(f"seed {SEED}, at {now.isoformat()}: both make the crowd")
    crowd = Crowd(SEED, now, made.settings.simulator_webhook_url)
    world = crowd.world(PEOPLE)
    write_world(engine, world)
    with engine.begin() as connection:
        a_template(connection)
        keep_accounts(connection, made.settings)
    made.draft(Draft(people=0))
    made.begin()
    with engine.begin() as connection:
        freeze(connection, made.send_id, most_per_batch=BATCH, shard_size=50_000)
    campaign = campaign_of(world)
    sends, changes = crowd.sends(world), crowd.changes(world)
    change_model(world, changes)
    sends.append(crowd.lapsed(world))
    play = Play(made=made, engine=engine, world=world, sends=[campaign, *sends], now=now)
    play.ids["campaign"] = made.send_id
    send_requests(play, sends)
    change_people(engine, changes)
    return play


def campaign_of(world: World) -> Send:
    """The campaign as the model sees it: to who has joined the newsletter when it is frozen."""
    return Send(
        name="campaign",
        message_class="marketing",
        priority="normal",
        topic=TOPIC,
        plan="email",
        to=[
            name
            for name, person in world["people"].items()
            if person["consents"].get((TOPIC, "email")) == "subscribed"
        ],
        ends=None,
    )


def send_requests(play: Play, sends: list[Send]) -> None:
    client = a_client(play.engine, play.made.settings)
    for send in sends:
        request = client.send_blocking(
            "order-shipped",
            to=send["to"],
            variables={"order": send["name"]},
            message_class=send["message_class"],
            priority=send["priority"],
            topic=send["topic"],
            plan=send["plan"],
            expires_after=LAPSES_AFTER if send["ends"] == "expired" else None,
        )
        play.ids[send["name"]] = request.send_id
        if send["ends"] == "cancelled":
            client.cancel_blocking(request.send_id)


def change_model(world: World, changes: Changes) -> None:
    """Suppressions stay: an address stays suppressed also when its owner is erased."""
    for name in changes.leaving:
        consents = world["people"][name]["consents"]
        if (TOPIC, "email") in consents:
            consents[TOPIC, "email"] = "left"
    for name in changes.erased:
        world["people"][name]["is_erased"] = True


def check_that_everything_occurs(play: Play) -> None:
    """The crowd is as mixed as it is meant to be; else the test would prove less than it says."""
    words = Counter(word for fate in play.expected.values() for word in fate.rows.values())
    print(dict(words))
    assert min(words.values()) >= 20
    assert set(words) == {
        "accepted",
        "rejected:recipient_refused",
        "cancelled",
        "expired",
        *(
            f"skipped:{reason}"
            for reason in (
                "erased",
                "no_contact_point",
                "suppressed",
                "left",
                "pending",
                "not_subscribed",
            )
        ),
    }
    waiting = Counter(len(fate.rows) for fate in play.expected.values() if fate.waits_until)
    assert waiting[0] >= 100
    assert waiting[1] >= 20
    assert len(play.contested) >= 100


def start_workers(play: Play) -> None:
    """With providers that refuse some addresses, and are busy and away for a moment."""
    refused: dict[str, list[str]] = {}
    for channel, address in play.world["refused"]:
        refused.setdefault(PROVIDERS[channel], []).append(address)
    del refused["twilio"]  # it refuses these numbers by itself
    rules = [
        {"provider": provider, "kind": "refuse_address", "match": addresses}
        for provider, addresses in refused.items()
    ]
    play.made.simulator.faults(*rules, *BUSY)
    play.made.workers.start("single", "transactional")
    play.made.workers.start("campaign", "campaign")
    play.made.workers.start("main", "orchestration,upkeep")


def is_at_rest(play: Play) -> bool:
    """Whether nobody waits for anything but the end of quiet hours, which are hours away."""
    moving = play.made.value(
        "SELECT count(*) FROM outbox WHERE group_id IS NOT NULL OR due_at IS NULL"
        " OR due_at < now() + interval '30 minutes'"
    )
    if moving:
        return False
    with play.engine.connect() as connection:
        stands = progress(connection, play.ids["campaign"])
    return stands.owed == sum(stands.deferred.values())


def parked(play: Play) -> dict[Key, datetime]:
    """When each waiting message of a request is looked at again."""
    names = {send_id: name for name, send_id in play.ids.items()}
    with play.engine.connect() as connection:
        rows = connection.execute(text("SELECT send_id, ordinal, due_at FROM outbox"))
        return {(names[row.send_id], row.ordinal): row.due_at for row in rows}


def cancel_what_waits(play: Play) -> None:
    client = a_client(play.engine, play.made.settings)
    waiting = {key[0] for key, fate in play.expected.items() if fate.waits_until}
    for name in waiting - {"campaign"}:
        client.cancel_blocking(play.ids[name])
    play.made.change("cancelled")


def check_what_arrived(play: Play, rows: Mapping[Key, Mapping[int, str]]) -> None:
    """Each accepted message once, at its address, and nothing else; items are rows."""
    sent: list[tuple[str, int, int, str, str]] = []
    items: list[tuple[str, int, int, str]] = []
    plans = {send["name"]: channels_of(send) for send in play.sends}
    for key, steps in rows.items():
        for step, word in steps.items():
            person, channel = play.person_of(key), plans[key[0]][step - 1]
            if word == "accepted" and channel == "in_app":
                items.append((*key, step, person))
            elif word == "accepted":
                address = play.world["people"][person]["addresses"][channel]
                sent.append((*key, step, PROVIDERS[channel], address))

    assert Counter(received(play)) == Counter(sent)
    assert sorted(found_items(play)) == sorted(items)


def channels_of(send: Send) -> list[str]:
    return [part.partition(":")[0] for part in send["plan"].split(",")]


def received(play: Play) -> Iterator[tuple[str, int, int, str, str]]:
    """The simulator's journal of these sends."""
    names = {send_id: name for name, send_id in play.ids.items()}
    for send_id, entries in play.made.simulator.all_received().items():
        for entry in entries:
            yield names[send_id], entry["ordinal"], entry["step"], entry["provider"], entry["to"]


def found_items(play: Play) -> list[tuple[str, int, int, str]]:
    names = {send_id: name for name, send_id in play.ids.items()}
    with play.engine.connect() as connection:
        rows = connection.execute(
            text(
                "SELECT i.send_id, i.ordinal, i.step, r.external_id FROM in_app_item i"
                " JOIN recipient r ON r.id = i.recipient_id"
            )
        )
        return [(names[row.send_id], row.ordinal, row.step, row.external_id) for row in rows]


def check_the_accounts(play: Play, rows: Mapping[Key, Mapping[int, str]]) -> None:
    """Nothing is lost between rows, attempts and counts, and caps count what was accepted."""
    with play.engine.connect() as connection:
        assert request_imbalances(connection, default_team_id(connection)) == {}
    report = play.made.report()
    assert report["balanced"], report["problems"]
    counted = [
        key
        for key, fate in play.expected.items()
        if fate.counts_at and rows[key].get(fate.counts_at) == "accepted"
    ]
    assert play.made.value("SELECT count(*) FROM cap_use") == len(counted)
    assert play.made.value("SELECT sum(used) FROM cap_count") == len(counted)
    assert play.made.value("SELECT max(used) FROM cap_count") == 1

"""One endpoint's line on real PostgreSQL, over real connections: order, retries, the end of patience."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from sqlalchemy import Engine, text
from temporalio.testing import ActivityEnvironment

from activities.contract import WebhooksPass, WebhooksRef
from activities.webhooks import WebhookActivities, WebhookPace
from domain.identifier import WEBHOOK_PREFIX, public_id
from domain.webhook_signature import verify
from models.database import in_transaction
from models.team import default_team_id
from models.webhook_delivery import DueEndpoint, due_endpoints, forget_deliveries
from models.webhook_endpoint import EndpointChange, change_endpoint, find_endpoint, rotate_secret
from models.webhook_event import tell_test
from providers.webhook import WebhookConfig
from providers.webhook_event import event_secrets
from tests.builders import scalar, scalars
from tests.providers.http_peer import Act, HttpPeer, Seen, answer
from tests.webhooks import an_endpoint

DEVELOPMENT = WebhookConfig(masters=("master",), allow_private=True)
PRODUCTION = WebhookConfig(masters=("master",))
PACE = WebhookPace(
    heartbeat_every=timedelta(seconds=1),
    webhooks_every=timedelta(seconds=1),
    backoff_first=timedelta(hours=1),
    webhook_gives_up_after=timedelta(days=3),
    webhook_kept=timedelta(days=7),
)


class Line:
    """An endpoint whose owner listens, and the worker that tells it."""

    def __init__(self, engine: Engine, peer: HttpPeer, *, config: WebhookConfig | None) -> None:
        self.engine = engine
        self.peer = peer
        self.started: list[DueEndpoint] = []

        async def start(due: DueEndpoint) -> None:
            self.started.append(due)

        self.activities = WebhookActivities(engine, config, PACE, start)
        self.id = an_endpoint(engine, url=f"{peer.url}/events")

    def owe(self, count: int = 1) -> list[int]:
        with self.engine.begin() as connection:
            return [tell_test(connection, self.id) for _ in range(count)]

    def tell(self) -> WebhooksPass:
        found = ActivityEnvironment().run(
            self.activities.deliver_webhooks, WebhooksRef(endpoint_id=self.id)
        )
        assert isinstance(found, WebhooksPass)
        return found

    def wait_is_over(self) -> None:
        self.execute("UPDATE webhook_delivery SET next_at = now() WHERE next_at IS NOT NULL")

    def execute(self, sql: str) -> None:
        with self.engine.begin() as connection:
            connection.execute(text(sql))

    def ids(self) -> list[str]:
        """The webhook-id of each request that came, in order."""
        return [seen.headers["webhook-id"] for seen in self.peer.seen]

    def change(self, change: EndpointChange) -> None:
        in_transaction(self.engine, lambda c: change_endpoint(c, self.id, change))

    def due(self) -> list[int]:
        return [due.id for due in in_transaction(self.engine, due_endpoints)]

    @property
    def row(self) -> Any:
        with self.engine.connect() as connection:
            return find_endpoint(connection, default_team_id(connection), self.id)


@pytest.fixture
def peer() -> Iterator[HttpPeer]:
    made = HttpPeer(lambda seen: answer(204))
    yield made
    made.close()


@pytest.fixture
def line(engine: Engine, peer: HttpPeer) -> Line:
    return Line(engine, peer, config=DEVELOPMENT)


def whd(*ids: int) -> list[str]:
    return [public_id("whd_", one) for one in ids]


def first_is(act: Act) -> Callable[[Seen], Act]:
    """This to the first request, then all is well."""
    acts = iter([act])
    return lambda seen: next(acts, answer(204))


def test_what_is_owed_is_told_in_order_and_signed(line: Line) -> None:
    ids = line.owe(5)

    assert line.tell() == WebhooksPass(is_done=True)

    assert line.ids() == whd(*ids)
    secrets = event_secrets(DEVELOPMENT, public_id(WEBHOOK_PREFIX, line.id), (1,))
    for seen in line.peer.seen:
        given = tuple(seen.headers[f"webhook-{name}"] for name in ("id", "timestamp", "signature"))
        assert verify(secrets, (given[0], given[1], given[2]), seen.body, now=datetime.now(UTC))
        assert orjson.loads(seen.body)["type"] == "webhook.test"
    assert line.due() == []


def test_both_secrets_sign_for_a_day_after_a_rotation(line: Line) -> None:
    in_transaction(line.engine, lambda c: rotate_secret(c, line.id))
    line.owe()
    line.tell()
    line.execute("UPDATE webhook_endpoint SET rotated_at = now() - interval '25 hours'")
    line.owe()
    line.tell()

    during, after = (seen.headers["webhook-signature"].split() for seen in line.peer.seen)
    assert (len(during), len(after)) == (2, 1)


@pytest.mark.parametrize(
    "act",
    [answer(500), answer(404), answer(302, b"", "Location: /\r\n"), Act(then_reset=True)],
    ids=["500", "404", "302", "reset"],
)
def test_an_event_that_fails_is_told_again_before_those_behind_it(line: Line, act: Act) -> None:
    first, second = line.owe(2)
    line.peer.act = first_is(act)

    failed = line.tell()
    assert failed.resume_at is not None
    assert line.tell() == failed
    assert line.due() == []
    assert line.row.failing_since is not None
    line.wait_is_over()
    assert line.due() == [line.id]
    assert line.tell() == WebhooksPass(is_done=True)

    assert line.ids() == whd(first, first, second)
    assert line.peer.seen[0].body == line.peer.seen[1].body
    assert line.row.failing_since is None
    tries = scalars(line.engine, "SELECT tries FROM webhook_delivery ORDER BY id")
    assert tries == [2, 1]


def test_an_endpoint_is_asked_no_sooner_than_it_says(line: Line) -> None:
    line.owe()
    line.peer.act = first_is(answer(503, b"", "Retry-After: 36000\r\n"))
    before = scalar(line.engine, "SELECT now()")

    resume_at = line.tell().resume_at

    assert resume_at is not None
    assert resume_at >= before + timedelta(hours=10)


def test_an_endpoint_that_is_gone_is_disabled_and_says_why(line: Line) -> None:
    line.owe(2)
    line.peer.act = lambda seen: answer(410)

    assert line.tell() == WebhooksPass(is_done=True)
    assert line.tell() == WebhooksPass(is_done=True)

    assert len(line.peer.seen) == 1
    assert not line.row.is_enabled
    assert line.row.disabled_reason == "The endpoint answered 410."
    assert line.due() == []


def test_an_endpoint_that_fails_for_three_days_is_disabled_and_goes_on_when_it_is_enabled(
    line: Line,
) -> None:
    ids = line.owe(2)
    line.peer.act = lambda seen: answer(500)
    line.tell()
    line.execute("UPDATE webhook_endpoint SET failing_since = now() - interval '71 hours'")
    line.wait_is_over()
    line.tell()
    still = line.row.is_enabled
    line.execute("UPDATE webhook_endpoint SET failing_since = now() - interval '73 hours'")
    line.wait_is_over()
    line.tell()
    disabled = line.row

    line.peer.act = lambda seen: answer(204)
    line.change(EndpointChange(is_enabled=True))
    line.tell()

    assert still
    assert not disabled.is_enabled
    assert disabled.disabled_reason == "It failed for 72 hours. The endpoint answered 500."
    assert line.ids() == whd(ids[0], ids[0], ids[0], ids[0], ids[1])
    assert line.row.disabled_reason == ""


def test_another_url_is_tried_at_once(line: Line) -> None:
    (first,) = line.owe()
    line.peer.act = first_is(answer(500))
    line.tell()

    line.change(EndpointChange(url=f"{line.peer.url}/elsewhere"))
    line.tell()

    assert [seen.path for seen in line.peer.seen] == ["/events", "/elsewhere"]
    assert line.ids() == whd(first, first)


def test_who_was_given_up_tells_nothing_after_the_event_it_is_at(line: Line) -> None:
    ids = line.owe(3)

    def act(seen: Seen) -> Act:
        if len(line.peer.seen) == 1:  # another begins while the first waits for its answer
            line.peer.act = lambda seen: answer(204)
            line.tell()
        return answer(500)

    line.peer.act = act

    assert line.tell() == WebhooksPass(is_done=True)

    assert line.ids() == whd(ids[0], *ids)
    assert (
        scalar(line.engine, "SELECT count(*) FROM webhook_delivery WHERE delivered_at IS NULL") == 0
    )
    assert line.row.failing_since is None


def test_one_endpoint_that_is_away_delays_no_other(line: Line) -> None:
    with_another = an_endpoint(line.engine, url=f"{line.peer.url}/another")
    line.owe()
    in_transaction(line.engine, lambda c: tell_test(c, with_another))
    line.peer.act = lambda seen: answer(500 if seen.path == "/events" else 204)

    line.tell()
    due = line.due()
    done = ActivityEnvironment().run(
        line.activities.deliver_webhooks, WebhooksRef(endpoint_id=with_another)
    )

    assert due == [with_another]
    assert done == WebhooksPass(is_done=True)


def test_nothing_of_this_network_is_connected_to_in_production(
    engine: Engine, peer: HttpPeer
) -> None:
    line = Line(engine, peer, config=PRODUCTION)
    for url in ("https://127.0.0.1:8443/", "https://localhost:8443/", f"{peer.url}/"):
        line.execute(f"UPDATE webhook_endpoint SET url = '{url}'")
        line.owe()
        line.wait_is_over()
        line.tell()

    assert peer.connections == 0
    errors = scalars(engine, "SELECT last_error FROM webhook_delivery WHERE tries > 0")
    assert errors == ["The URL must start with https://."]
    assert scalar(engine, "SELECT max(tries) FROM webhook_delivery") == 3


async def test_the_watch_starts_those_with_something_owed(line: Line) -> None:
    an_endpoint(line.engine)
    line.owe()

    await line.activities._watch_once()

    assert line.started == [DueEndpoint(id=line.id, team="default")]


async def test_nobody_is_told_where_nothing_can_be_signed(engine: Engine, peer: HttpPeer) -> None:
    line = Line(engine, peer, config=None)
    line.owe()

    await line.activities._watch_once()

    assert line.started == []


def test_what_was_told_long_ago_is_forgotten_and_what_is_owed_is_not(line: Line) -> None:
    told, owed_long, told_now = line.owe(3)
    gone = an_endpoint(line.engine)
    in_transaction(line.engine, lambda c: tell_test(c, gone))
    line.execute(
        "UPDATE webhook_delivery SET created_at = now() - interval '8 days';"
        f"UPDATE webhook_delivery SET delivered_at = created_at WHERE id = {told};"
        f"UPDATE webhook_delivery SET delivered_at = now() WHERE id = {told_now};"
        f"DELETE FROM webhook_endpoint WHERE id = {gone}"
    )

    in_transaction(line.engine, lambda c: forget_deliveries(c, timedelta(days=7)))

    assert scalars(line.engine, "SELECT id FROM webhook_delivery ORDER BY id") == [
        owed_long,
        told_now,
    ]

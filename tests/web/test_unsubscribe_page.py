"""The unsubscribe page: only a POST with a token of ours ends a subscription."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
from httpx import ASGITransport, AsyncClient, Response
from sqlalchemy import Connection, Engine, text

from domain.send import Channel
from domain.unsubscribe_token import make_token
from models.database import connect
from models.team import default_team_id
from models.topic import add_topic, count_subscribed
from web.app import create_app

SECRET = b"a secret of tests"
OLD_SECRET = b"the secret before"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """One message that was sent to a subscriber of a topic."""

    engine: Engine
    send_id: int
    topic_id: int
    recipient_id: int

    def token(self, secret: bytes = SECRET) -> str:
        return make_token(secret, self.send_id, 1)

    def subscribed(self) -> int:
        with self.engine.connect() as connection:
            return count_subscribed(connection, self.topic_id, Channel.EMAIL)


@pytest.fixture
def sent(engine: Engine) -> Sent:
    with engine.begin() as connection:
        return _a_sent_message(connection, engine)


def _a_sent_message(connection: Connection, engine: Engine) -> Sent:
    team = default_team_id(connection)
    topic = add_topic(connection, team, "news", "News & <b>views</b>", "explicit")

    def make(statement: str, **values: object) -> int:
        made: int = connection.execute(text(statement), {"team": team, **values}).scalar_one()
        return made

    recipient = make("INSERT INTO recipient (team_id) VALUES (:team) RETURNING id")
    connection.execute(
        text(
            "INSERT INTO subscription (topic_id, channel, recipient_id, state, source)"
            " VALUES (:topic, 'email', :recipient, 'subscribed', 'test')"
        ),
        {"topic": topic, "recipient": recipient},
    )
    template = make(
        "INSERT INTO template (team_id, key, name) VALUES (:team, 'k', 'n') RETURNING id"
    )
    version = make(
        "INSERT INTO template_version"
        " (template_id, number, message_class, sender, content, variables, digest)"
        " VALUES (:template, 1, 'marketing', '{}', '{}', '{}', '') RETURNING id",
        template=template,
    )
    account = make(
        "INSERT INTO provider_account (team_id, key, provider, channel, is_real)"
        " VALUES (:team, 'a', 'smtp', 'email', false) RETURNING id"
    )
    send = make(
        "INSERT INTO send (id, team_id, kind, name, message_class, channel, topic_id,"
        " template_version_id, account_id, sender, state, on_unknown, expires_at)"
        " VALUES (key_at(clock_timestamp()), :team, 'campaign', 'c', 'marketing', 'email', :topic,"
        " :version, :account, '{}', 'finished', 'leave', now()) RETURNING id",
        topic=topic,
        version=version,
        account=account,
    )
    connection.execute(
        text("INSERT INTO message (send_id, ordinal, recipient_id) VALUES (:send, 1, :recipient)"),
        {"send": send, "recipient": recipient},
    )
    return Sent(engine=engine, send_id=send, topic_id=topic, recipient_id=recipient)


def pages_on(engine: Engine) -> AsyncClient:
    app = create_app(engine, [SECRET, OLD_SECRET])
    return AsyncClient(transport=ASGITransport(app), base_url="https://pages.example")


@pytest.fixture
async def client(engine: Engine) -> AsyncIterator[AsyncClient]:
    async with pages_on(engine) as made:
        yield made


async def one_click(client: AsyncClient, token: str) -> Response:
    return await client.post(f"/u/{token}", data={"List-Unsubscribe": "One-Click"})


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_opening_the_link_changes_nothing(
    client: AsyncClient, sent: Sent, method: str
) -> None:
    answer = await client.request(method, f"/u/{sent.token()}")

    assert answer.status_code == 200
    assert sent.subscribed() == 1


async def test_the_page_names_the_topic_escaped_and_has_a_button(
    client: AsyncClient, sent: Sent
) -> None:
    page = (await client.get(f"/u/{sent.token()}")).text

    assert "News &amp; &lt;b&gt;views&lt;/b&gt;" in page
    assert '<form method="post">' in page
    assert '<button type="submit">' in page


async def test_one_click_ends_the_subscription_and_names_its_source(
    client: AsyncClient, sent: Sent
) -> None:
    answer = await one_click(client, sent.token())

    assert answer.status_code == 200
    assert sent.subscribed() == 0
    with sent.engine.connect() as connection:
        row = connection.execute(text("SELECT state, source FROM subscription")).one()
    assert tuple(row) == ("left", "unsubscribe link")


@pytest.mark.parametrize(
    "body",
    [
        {"files": {"List-Unsubscribe": (None, "One-Click")}},
        {"content": b"List-Unsubscribe=One-Click"},
        {"content": b""},
    ],
    ids=["multipart", "no content type", "no body"],
)
async def test_whatever_form_the_post_has_it_is_the_wish(
    client: AsyncClient, sent: Sent, body: dict[str, object]
) -> None:
    answer = await client.post(f"/u/{sent.token()}", **body)  # type: ignore[arg-type]  # httpx overloads

    assert answer.status_code == 200
    assert sent.subscribed() == 0


async def test_unsubscribing_twice_looks_the_same(client: AsyncClient, sent: Sent) -> None:
    first = await one_click(client, sent.token())
    second = await one_click(client, sent.token())

    assert (second.status_code, second.text) == (first.status_code, first.text)


async def test_a_link_signed_with_the_secret_before_still_works(
    client: AsyncClient, sent: Sent
) -> None:
    await one_click(client, sent.token(OLD_SECRET))

    assert sent.subscribed() == 0


async def test_a_token_nobody_signed_and_one_of_a_message_that_is_gone_look_the_same(
    client: AsyncClient, sent: Sent
) -> None:
    forged = await one_click(client, sent.token(b"another secret"))
    gone = await one_click(client, make_token(SECRET, sent.send_id, 2))
    nonsense = await one_click(client, "nonsense")

    assert [answer.status_code for answer in (forged, gone, nonsense)] == [200, 200, 200]
    assert forged.text == gone.text == nonsense.text
    assert "This link is not valid" in forged.text
    assert sent.subscribed() == 1


async def test_pages_leak_nothing_and_cannot_be_framed(client: AsyncClient, sent: Sent) -> None:
    for path in (f"/u/{sent.token()}", "/u/x", "/nowhere"):
        answer = await client.get(path)

        assert "set-cookie" not in answer.headers
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-store"
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe-inline" not in policy


@pytest.mark.parametrize("path", ["/u/token/", "/docs", "/openapi.json", "/u"])
async def test_nothing_else_is_served_or_redirected(client: AsyncClient, path: str) -> None:
    assert (await client.get(path)).status_code == 404


async def test_health_pages_tell_a_good_database_from_a_missing_one(client: AsyncClient) -> None:
    nowhere = connect("postgresql+psycopg2://nobody@127.0.0.1:1/nothing")
    broken = pages_on(nowhere)

    assert (await client.get("/livez")).status_code == 200
    assert (await client.get("/readyz")).status_code == 200
    assert (await broken.get("/livez")).status_code == 200
    assert (await broken.get("/readyz")).status_code == 503


async def test_a_database_that_is_away_is_our_fault_and_said_so(sent: Sent) -> None:
    nowhere = connect("postgresql+psycopg2://nobody@127.0.0.1:1/nothing")
    broken = pages_on(nowhere)

    answer = await one_click(broken, sent.token())

    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "60"
    assert "try again" in answer.text

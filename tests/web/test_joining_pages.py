"""Joining by link and by form: buttons act, links do not, and the form tells nobody anything."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from httpx import ASGITransport, AsyncClient
from sqlalchemy import Engine, text

from domain.digest import Cadence
from domain.send import OptIn, SubscriptionState
from models.database import in_transaction
from models.digest_topic import digest_topic
from models.recipient_identity import UnknownRecipient
from settings import Settings, load
from starter.joining import MAILS_PER_ADDRESS, MAILS_PER_CALLER, JoinDesk, form_html
from starter.topics import JoinWish, TopicRefused, change_cadence
from tests.builders import scalar, scalars
from tests.topics import a_topic, members
from web.app import create_app

ASKED = "Please look into your mail"
JOINED = "You have joined"
NEW = "new@example.com"


@pytest.fixture
def settings() -> Settings:
    return load(
        _env_file=None, default_from="Shop <shop@example.com>", public_url="https://news.example"
    )


@pytest.fixture
def desk(engine: Engine, settings: Settings) -> JoinDesk:
    members(engine, 2)
    a_topic(engine, "news", has_form=True)
    a_topic(engine, "alerts")
    a_topic(engine, "double", opt_in=OptIn.DOUBLE)
    return JoinDesk(engine, settings)


@pytest.fixture
async def browser(engine: Engine, settings: Settings, desk: JoinDesk) -> AsyncIterator[AsyncClient]:
    app = create_app(engine, [settings.link_secret.get_secret_value().encode()], desk)
    async with AsyncClient(transport=ASGITransport(app), base_url="http://test") as client:
        yield client


def path_of(url: str) -> str:
    return url.removeprefix("https://news.example")


def states(engine: Engine, topic: str) -> dict[str, str]:
    """State by address or external id, of those who joined the topic."""
    rows = scalars(
        engine,
        "SELECT coalesce(r.external_id, c.address) || ' ' || s.state FROM subscription s"
        " JOIN topic t ON t.id = s.topic_id JOIN recipient r ON r.id = s.recipient_id"
        " LEFT JOIN contact_point c ON c.recipient_id = r.id WHERE t.key = :topic",
        {"topic": topic},
    )
    return dict(row.split() for row in rows)


def mails(engine: Engine) -> list[str]:
    """The links in the mails to confirm, in their order."""
    return list(scalars(engine, "SELECT variables ->> 'confirm_url' FROM message ORDER BY send_id"))


async def test_opening_a_link_joins_nobody_and_its_button_does(
    browser: AsyncClient, desk: JoinDesk, engine: Engine
) -> None:
    path = path_of(desk.link("alerts", "person-1"))

    opened = await browser.get(path)

    assert opened.status_code == 200
    assert "Join" in opened.text
    assert "Alerts" in opened.text
    assert (await browser.head(path)).status_code == 200
    assert states(engine, "alerts") == {}

    assert JOINED in (await browser.post(path)).text

    assert states(engine, "alerts") == {"person-1": "subscribed"}
    assert JOINED in (await browser.post(path)).text
    assert scalar(engine, "SELECT count(*) FROM consent_event WHERE source = 'join link'") == 1


@pytest.mark.parametrize("token", ["x", "A" * 47, "%00"])
async def test_a_link_that_is_not_ours_joins_nobody(browser: AsyncClient, token: str) -> None:
    for answer in (await browser.get(f"/j/{token}"), await browser.post(f"/j/{token}")):
        assert answer.status_code == 200
        assert "not valid" in answer.text


async def test_the_form_s_address_gets_a_mail_and_is_a_member_once_it_is_confirmed(
    browser: AsyncClient, engine: Engine
) -> None:
    shown = await browser.get("/join/news")
    assert 'name="email"' in shown.text

    asked = await browser.post(
        "/join/news", data={"email": " New@Example.com ", "cadence": "weekly"}
    )

    assert ASKED in asked.text
    assert states(engine, "news") == {NEW: "pending"}
    (link,) = mails(engine)
    assert JOINED in (await browser.post(path_of(link))).text
    assert states(engine, "news") == {NEW: "subscribed"}
    joined = "SELECT cadence FROM subscription WHERE state = 'subscribed' AND source = 'join link'"
    assert scalars(engine, joined) == ["weekly"]


async def test_every_address_and_topic_is_answered_alike(
    browser: AsyncClient, desk: JoinDesk, engine: Engine
) -> None:
    desk.join("news", "person-1")
    asked = [
        ("news", "person-1@example.com"),
        ("news", "person-2@example.com"),
        ("news", NEW),
        ("news", "no address"),
        ("alerts", NEW),
        ("nothing", NEW),
    ]

    answers = [await browser.post(f"/join/{topic}", data={"email": to}) for topic, to in asked]

    assert {(answer.status_code, answer.text) for answer in answers} == {(200, answers[0].text)}
    assert states(engine, "news")["person-1"] == "subscribed"
    assert states(engine, "alerts") == {}
    assert len(mails(engine)) == 2


async def test_nobody_s_mailbox_is_flooded_however_many_topics_and_callers(
    browser: AsyncClient, desk: JoinDesk, engine: Engine
) -> None:
    for key in ("more", "still-more"):
        a_topic(engine, key, has_form=True)
    for number in range(12):
        desk.ask(("news", "more", "still-more")[number % 3], NEW, None, f"10.0.0.{number}")

    answer = await browser.post("/join/news", data={"email": NEW})

    assert ASKED in answer.text
    assert len(mails(engine)) == MAILS_PER_ADDRESS


def test_one_caller_cannot_write_to_many(desk: JoinDesk, engine: Engine) -> None:
    for number in range(MAILS_PER_CALLER + 3):
        desk.ask("news", f"n{number}@example.com", None, "10.0.0.1")
    desk.ask("news", "other@example.com", None, "10.0.0.2")

    assert len(mails(engine)) == MAILS_PER_CALLER + 1


async def test_a_machine_that_fills_in_all_fields_is_answered_and_not_obeyed(
    browser: AsyncClient, engine: Engine
) -> None:
    answer = await browser.post("/join/news", data={"email": NEW, "website": "https://x.example"})

    assert ASKED in answer.text
    assert mails(engine) == []


@pytest.mark.parametrize(
    "body", [b"", b"email=", b"email=%00%ff", b"\xff\xfe", b"email=" + b"x" * 10_000, b"&" * 200]
)
async def test_a_malformed_or_oversized_body_changes_nothing(
    browser: AsyncClient, engine: Engine, body: bytes
) -> None:
    answer = await browser.post("/join/news", content=body)

    assert (answer.status_code, ASKED in answer.text) == (200, True)
    assert states(engine, "news") == {}


async def test_without_a_sender_the_answer_is_the_same(engine: Engine, desk: JoinDesk) -> None:
    nameless = load(_env_file=None, public_url="https://news.example")
    app = create_app(engine, [b"x"], JoinDesk(engine, nameless))
    async with AsyncClient(transport=ASGITransport(app), base_url="http://test") as browser:
        answer = await browser.post("/join/news", data={"email": NEW})

    assert (answer.status_code, ASKED in answer.text) == (200, True)
    assert states(engine, "news") == {}


async def test_a_topic_without_a_form_shows_none(browser: AsyncClient) -> None:
    for key in ("alerts", "nothing", "%00"):
        assert ASKED in (await browser.post(f"/join/{key}", data={"email": NEW})).text
        assert "not valid" in (await browser.get(f"/join/{key}")).text


async def test_by_call_a_topic_of_double_opt_in_asks_by_mail(
    browser: AsyncClient, desk: JoinDesk, engine: Engine
) -> None:
    state = desk.join("double", "person-1", JoinWish(details={"desk": "North"}))

    assert state is SubscriptionState.PENDING
    (link,) = mails(engine)
    await browser.post(path_of(link))
    assert states(engine, "double") == {"person-1": "subscribed"}
    details = "SELECT details FROM subscription WHERE source = 'join link'"
    assert scalar(engine, details) == {"desk": "North"}


def test_an_address_that_several_have_does_not_say_who_joins(
    desk: JoinDesk, engine: Engine
) -> None:
    with engine.begin() as connection:
        connection.execute(text("UPDATE contact_point SET address = 'both@example.com'"))

    with pytest.raises(UnknownRecipient, match="2 recipients have the address"):
        desk.join("alerts", "both@example.com")


def test_by_call_an_address_that_is_nobody_s_becomes_a_recipient(
    desk: JoinDesk, engine: Engine
) -> None:
    wish = JoinWish(cadence=Cadence.DAILY, details={"n": 1})

    assert desk.join("alerts", NEW, wish) is SubscriptionState.SUBSCRIBED

    assert states(engine, "alerts") == {NEW: "subscribed"}
    assert mails(engine) == []


@pytest.mark.parametrize(
    ("details", "says"),
    [({"n": "x" * 10_000}, "at most 10 kB"), ({"n": {1}}, "not JSON"), ({"n": "\0"}, "NUL")],
)
def test_data_of_a_membership_that_cannot_be_stored_is_refused(
    desk: JoinDesk, engine: Engine, details: dict[str, object], says: str
) -> None:
    with pytest.raises(TopicRefused, match=says):
        desk.join("alerts", "person-1", JoinWish(details=details))

    assert states(engine, "alerts") == {}


def test_joining_again_changes_cadence_and_data_only_where_they_are_given(
    desk: JoinDesk, engine: Engine
) -> None:
    desk.join("alerts", "person-1", JoinWish(cadence=Cadence.DAILY, details={"n": 1}))

    desk.join("alerts", "person-1")
    assert scalars(engine, "SELECT cadence FROM subscription WHERE details = '{\"n\": 1}'") == [
        "daily"
    ]

    desk.join("alerts", "person-1", JoinWish(cadence=Cadence.WEEKLY, details={"n": 2}))
    assert scalars(engine, "SELECT cadence FROM subscription WHERE details = '{\"n\": 2}'") == [
        "weekly"
    ]


async def test_who_left_digests_gets_them_again_by_asking_for_one(
    desk: JoinDesk, engine: Engine
) -> None:
    a_topic(engine, "stock")
    with engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO subscription (topic_id, channel, recipient_id, state, source)"
                " VALUES (:topic, 'email', 1, 'left', 'unsubscribe link')"
            ),
            {"topic": digest_topic(connection, 1)},
        )
    desk.join("stock", "person-1")
    assert states(engine, "digests") == {"person-1": "left"}

    in_transaction(engine, lambda c: change_cadence(c, 1, "stock", "person-1", Cadence.DAILY))

    assert states(engine, "digests") == {"person-1": "subscribed"}


def test_the_form_for_one_s_own_site_is_plain_html(engine: Engine, settings: Settings) -> None:
    a_topic(engine, "news", has_form=True)
    a_topic(engine, "alerts")

    made = form_html(engine, settings, "news")

    assert 'action="https://news.example/join/news"' in made
    assert "<script" not in made
    with pytest.raises(TopicRefused, match="has no form"):
        form_html(engine, settings, "alerts")

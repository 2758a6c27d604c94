"""What goes to Twilio, what its answers mean, and what the official client is used for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs

import pytest
from twilio.http.response import Response
from twilio.request_validator import RequestValidator

from domain.answer import AnswerClass
from providers.protocol import LookUpFailed, Sender
from providers.twilio import TwilioSession, form_of
from providers.twilio_client import is_signed_by_twilio, official_client
from tests.providers.http_peer import Act, answer
from tests.providers.provider_builders import a_mail, a_request, answer_to
from tests.providers.twilio_world import JSON, SID, TwilioWorld, config_to, payload, refusal

NUMBER = Sender(address="+14155552345")
SERVICE = Sender(address="MG" + "b" * 32)
SINCE = datetime(2023, 8, 24, 5, 1, tzinfo=UTC)


@pytest.fixture
def world() -> Iterator[TwilioWorld]:
    world = TwilioWorld()
    yield world
    world.close()


@pytest.fixture
def session(world: TwilioWorld) -> Iterator[TwilioSession]:
    session = world.session()
    assert isinstance(session, TwilioSession)
    yield session
    session.close()


def a_text(**changes: object) -> Any:
    return a_mail(1, **{"address": "+14155550001", "text": "Grüße & 100 %", **changes})


class Recorder:
    """What the official client would put on the wire; nothing goes there."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str, dict[str, str], dict[str, Any]]] = []

    def request(self, method: str, url: str, **given: Any) -> Response:
        self.calls.append((method, url, given["headers"], given["data"]))
        return Response(201, payload("created").decode())


@pytest.mark.parametrize("sender", [NUMBER, SERVICE])
@pytest.mark.parametrize(
    "media", [(), ("https://shop.example/a.png", "https://shop.example/b.png")]
)
def test_the_payload_is_what_the_official_client_would_send(
    world: TwilioWorld, session: TwilioSession, sender: Sender, media: tuple[str, ...]
) -> None:
    recorder = Recorder()
    named = (
        {"messaging_service_sid": sender.address}
        if sender is SERVICE
        else {"from_": sender.address}
    )
    official_client(config_to("https://api.twilio.com"), recorder).messages.create(
        to="+14155550001",
        body="Grüße & 100 %",
        status_callback="https://shop.example/hooks/twilio?mid=ref-1",
        **({"media_url": list(media)} if media else {}),
        **named,
    )

    answer_to(session, a_request(1, a_text(media=media), sender=sender))

    ((method, url, headers, data),) = recorder.calls
    (seen,) = world.posts()
    assert (seen.method, f"https://api.twilio.com{seen.path}") == (method, url)
    assert parse_qs(seen.body.decode()) == {
        name: value if isinstance(value, list) else [value] for name, value in data.items()
    }
    for name, value in headers.items():
        assert seen.headers[name.lower()] == value
    assert seen.headers["authorization"] == config_to("https://api.twilio.com").authorization


def test_without_a_public_url_there_is_no_callback() -> None:
    form = parse_qs(form_of(config_to("http://x", callback_url=""), NUMBER, a_text()).decode())

    assert set(form) == {"To", "From", "Body"}


@pytest.mark.parametrize("sender", [Sender(address=""), Sender(address="news@shop.example")])
def test_a_sender_of_another_channel_gives_way_to_the_accounts_own(sender: Sender) -> None:
    form = parse_qs(form_of(config_to("http://x"), sender, a_text()).decode())

    assert form["From"] == ["+14155552345"]


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"text": "a" * 1601}, AnswerClass.CONTENT_REFUSED),
        ({"text": ""}, AnswerClass.CONTENT_REFUSED),
        ({"address": "ann@people.example"}, AnswerClass.RECIPIENT_REFUSED),
        ({"address": "whatsapp:+14155550001"}, AnswerClass.RECIPIENT_REFUSED),
        ({"address": "4155550001"}, AnswerClass.RECIPIENT_REFUSED),
    ],
)
def test_what_twilio_would_refuse_is_not_sent(
    world: TwilioWorld, session: TwilioSession, changes: dict[str, object], kind: AnswerClass
) -> None:
    assert answer_to(session, a_request(1, a_text(**changes))).kind is kind
    assert world.posts() == []


@pytest.mark.parametrize("text", ["a" * 1600, ""])
def test_the_longest_text_and_media_alone_are_sent(session: TwilioSession, text: str) -> None:
    mail = a_text(text=text, media=("https://shop.example/a.png",))

    assert answer_to(session, a_request(1, mail)).kind is AnswerClass.ACCEPTED


def test_accepted_message_has_twilios_id(session: TwilioSession) -> None:
    assert answer_to(session, a_request(1, a_text())).provider_message_id == "SM" + "a" * 32


def test_refusal_says_code_and_words_without_the_number(
    world: TwilioWorld, session: TwilioSession
) -> None:
    world.post(lambda seen: refusal(400, 21211))

    answer = answer_to(session, a_request(1, a_text()))

    assert answer.code == "21211"
    assert answer.detail == "The 'To' number <number> is not a valid phone number."


def test_throttled_says_when_to_come_back(world: TwilioWorld, session: TwilioSession) -> None:
    world.post(lambda seen: refusal(429, 20429, "Retry-After: 7\r\n"))

    assert answer_to(session, a_request(1, a_text())).retry_after == timedelta(seconds=7)


def test_look_up_finds_the_earliest_outgoing_message_with_this_text(
    world: TwilioWorld, session: TwilioSession
) -> None:
    assert session.find_message("+14155550001", "Hello 1", SINCE) == "SM" + "3" * 32

    (seen,) = world.peer.seen
    query = parse_qs(seen.path.partition("?")[2])
    assert query["To"] == ["+14155550001"]
    assert query["DateSent>"] == ["2023-08-24T00:00:00Z"]


@pytest.mark.parametrize(
    ("body", "since"), [("Never sent", SINCE), ("Hello 1", SINCE + timedelta(minutes=30))]
)
def test_look_up_of_what_is_not_there_is_none(
    session: TwilioSession, body: str, since: datetime
) -> None:
    assert session.find_message("+14155550001", body, since) is None


@pytest.mark.parametrize(
    "act", [answer(500), refusal(401, 20003), answer(200, b"<html>"), Act(b"", then_close=True)]
)
def test_look_up_without_an_answer_fails_and_is_not_a_no(
    world: TwilioWorld, session: TwilioSession, act: Act
) -> None:
    world.peer.act = lambda seen: act

    with pytest.raises(LookUpFailed):
        session.find_message("+14155550001", "Hello 1", SINCE)


def test_the_official_client_can_send_nothing(world: TwilioWorld) -> None:
    client = official_client(config_to(world.peer.url))

    with pytest.raises(ValueError, match="only asks"):
        client.messages.create(to="+14155550001", from_="+14155552345", body="Hello")
    assert world.peer.seen == []


@pytest.mark.parametrize(
    ("act", "kind"),
    [
        (refusal(401, 20003), AnswerClass.ACCOUNT_REFUSED),
        (refusal(404, 20404), AnswerClass.ACCOUNT_REFUSED),
        (refusal(429, 20429), AnswerClass.THROTTLED),
        (answer(503), AnswerClass.UNAVAILABLE),
        (answer(200, b"<html>"), AnswerClass.ACCOUNT_REFUSED),
        (
            answer(200, payload("account").replace(b'"active"', b'"suspended"'), JSON),
            AnswerClass.ACCOUNT_REFUSED,
        ),
    ],
)
def test_check_says_what_is_wrong(
    world: TwilioWorld, session: TwilioSession, act: Act, kind: AnswerClass
) -> None:
    world.peer.act = lambda seen: act

    assert session.check().kind is kind


def test_status_callback_is_believed_only_with_twilios_signature() -> None:
    config = config_to("https://api.twilio.com")
    url, form = "https://shop.example/hooks/twilio?mid=ref-1", {"MessageStatus": "delivered"}
    signature = RequestValidator("secret").compute_signature(url, form)

    assert is_signed_by_twilio(config, url, form, signature)
    assert not is_signed_by_twilio(config, url, {"MessageStatus": "failed"}, signature)
    assert not is_signed_by_twilio(config, url.replace("ref-1", "ref-2"), form, signature)
    assert not is_signed_by_twilio(replace(config, auth_token="other"), url, form, signature)


@pytest.mark.parametrize(
    "wrong",
    [
        {"account_sid": "SK" + "a" * 32},
        {"auth_token": " "},
        {"sender": ""},
        {"base_url": "127.0.0.1"},
    ],
)
def test_account_that_cannot_work_is_refused(wrong: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"\.$"):
        config_to("http://x", **wrong)


def test_secrets_are_not_shown() -> None:
    assert "secret" not in repr(config_to("http://x"))
    assert SID in repr(config_to("http://x"))

"""The JSON and headers that SendGrid documents, and its answers' finer points."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import orjson
import pytest

from domain.answer import AnswerClass
from providers.protocol import Request, Sender, Skeleton
from providers.sendgrid import SendGridConfig, SendGridSession
from providers.sendgrid_payload import PayloadBuilder
from providers.unsendable import Unsendable
from tests.providers.http_peer import HttpPeer, answer
from tests.providers.provider_builders import SENDER, SKELETON, a_mail, a_request, answer_to


@pytest.fixture
def peer() -> Iterator[HttpPeer]:
    peer = HttpPeer()
    yield peer
    peer.close()


def a_session(peer: HttpPeer, **changes: Any) -> SendGridSession:
    return SendGridSession.open(
        SendGridConfig(**{"api_key": "SG.test", "base_url": peer.url, **changes})
    )


def payload(request: Request) -> Any:
    return orjson.loads(PayloadBuilder().body(request))


def test_single_message_has_the_documented_form() -> None:
    assert payload(a_request(1)) == {
        "personalizations": [
            {
                "to": [{"email": "ann1@people.example", "name": "Ann 1"}],
                "custom_args": {"mid": "ref-1"},
                "headers": {
                    "List-Unsubscribe": "<https://shop.example/u/1>",
                    "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
                },
            }
        ],
        "from": {"email": "news@shop.example", "name": "The Shop"},
        "reply_to": {"email": "help@shop.example"},
        "subject": "News 1",
        "content": [
            {"type": "text/plain", "value": "Hello 1"},
            {"type": "text/html", "value": "<p>Hello 1</p>"},
        ],
    }


def test_merging_request_has_the_documented_form() -> None:
    request = replace(
        a_request(1, skeleton=SKELETON),
        mails=[a_mail(1), a_mail(2, slots=("Bob",), unsubscribe_url="", name="")],
    )

    assert payload(request) == {
        "personalizations": [
            {
                "to": [{"email": "ann1@people.example", "name": "Ann 1"}],
                "custom_args": {"mid": "ref-1"},
                "substitutions": {"-name-": "Ann"},
                "headers": {
                    "List-Unsubscribe": "<https://shop.example/u/1>",
                    "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
                },
            },
            {
                "to": [{"email": "ann2@people.example"}],
                "custom_args": {"mid": "ref-2"},
                "substitutions": {"-name-": "Bob"},
            },
        ],
        "from": {"email": "news@shop.example", "name": "The Shop"},
        "reply_to": {"email": "help@shop.example"},
        "subject": "Hello -name-",
        "content": [
            {"type": "text/plain", "value": "Hello -name-"},
            {"type": "text/html", "value": "<p>Hello -name-</p>"},
        ],
    }


def test_what_is_kept_between_requests_is_never_another_sends() -> None:
    builder = PayloadBuilder()
    other = Skeleton(subject="Other", html="", text="Other", keys=())
    requests = [
        a_request(1, skeleton=SKELETON),
        a_request(2),
        a_request(3, skeleton=other),
        a_request(4, sender=Sender(address="b@b.example")),
        a_request(5, skeleton=other, sender=Sender(address="b@b.example")),
        a_request(6, skeleton=SKELETON),
        a_request(8, skeleton=SKELETON, sender=Sender(address="b@b.example")),
        a_request(7),
    ]

    assert [orjson.loads(builder.body(request)) for request in requests] == [
        payload(request) for request in requests
    ]


def test_posted_as_the_official_client_would(peer: HttpPeer) -> None:
    session = a_session(peer)

    answer = answer_to(session, a_request(1))

    (seen,) = peer.seen
    assert (seen.method, seen.path) == ("POST", "/v3/mail/send")
    assert seen.headers["authorization"] == "Bearer SG.test"
    assert seen.headers["content-type"] == "application/json"
    assert seen.headers["user-agent"].startswith("sendgrid/")
    assert answer.provider_message_id == "msg-1"
    session.close()


@pytest.mark.parametrize(
    ("region", "host"),
    [("global", "https://api.sendgrid.com"), ("eu", "https://api.eu.sendgrid.com")],
)
def test_region_chooses_the_official_host(region: str, host: str) -> None:
    session = SendGridSession.open(SendGridConfig(api_key="SG.test", region=region))

    assert session._transport._target.url == f"{host}/v3/mail/send"
    session.close()


def test_addresses_and_names_are_written_as_sendgrid_takes_them() -> None:
    mail = a_mail(1, address="jörg@bücher.example", name="Müller, Jörg; 2nd")

    (personalization,) = payload(a_request(1, mail))["personalizations"]

    assert personalization["to"] == [
        {"email": "jörg@xn--bcher-kva.example", "name": "Müller  Jörg  2nd"}
    ]


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"subject": "A\r\nB"}, AnswerClass.CONTENT_REFUSED),
        ({"name": "A\x00B"}, AnswerClass.CONTENT_REFUSED),
        ({"unsubscribe_url": "https://x\r\ny"}, AnswerClass.CONTENT_REFUSED),
        ({"html": "half a pair: \ud83d"}, AnswerClass.CONTENT_REFUSED),
        ({"address": "a\r\n@b.example"}, AnswerClass.RECIPIENT_REFUSED),
        ({"address": "a@" + "ü" * 80 + ".example"}, AnswerClass.RECIPIENT_REFUSED),
    ],
)
def test_what_cannot_be_written_is_answered_here(
    changes: dict[str, object], kind: AnswerClass
) -> None:
    with pytest.raises(Unsendable) as refused:
        payload(a_request(1, a_mail(1, **changes)))

    assert refused.value.answer.kind is kind


def test_request_beyond_the_limit_is_not_sent(peer: HttpPeer) -> None:
    session = a_session(peer, max_messages_per_request=1000)
    big = Skeleton(subject="s", html="x" * 29_000_000, text="", keys=())

    refused = answer_to(session, a_request(1, skeleton=big))

    assert refused.kind is AnswerClass.CONTENT_REFUSED
    assert not peer.seen
    session.close()


def test_several_rendered_mails_in_a_request_are_a_mistake(peer: HttpPeer) -> None:
    session = a_session(peer)

    with pytest.raises(ValueError, match="skeleton"):
        session.submit(replace(a_request(1), mails=[a_mail(1), a_mail(2)]))
    assert session.open_requests == 0
    session.close()


def test_capabilities_tell_whether_requests_merge(peer: HttpPeer) -> None:
    single = a_session(peer).capabilities
    merging = a_session(peer, max_messages_per_request=1000, connections=3).capabilities

    assert (single.merges, single.max_messages_per_request) == (False, 1)
    assert (merging.merges, merging.max_messages_per_request) == (True, 1000)
    assert merging.max_open_requests == 3
    assert merging.max_slot_bytes == 50_000


def a_date_in(seconds: int) -> str:
    return format_datetime(datetime.now(UTC) + timedelta(seconds=seconds), usegmt=True)


def an_epoch_in(seconds: int) -> str:
    return str(int(time.time()) + seconds)


@pytest.mark.parametrize(
    ("header", "value", "seconds"),
    [
        ("Retry-After", lambda: "7", 7),
        ("Retry-After", lambda: a_date_in(60), 60),
        ("X-RateLimit-Reset", lambda: an_epoch_in(90), 90),
        ("X-RateLimit-Reset", lambda: an_epoch_in(-90), 0),
        ("Retry-After", lambda: "99999999999999999999", 86400),
        ("Retry-After", lambda: "soon", None),
        ("X-Other", lambda: "1", None),
    ],
)
def test_throttled_says_when_to_come_back(
    peer: HttpPeer, header: str, value: Callable[[], str], seconds: int | None
) -> None:
    peer.act = lambda seen: answer(429, b"", f"{header}: {value()}\r\n")
    session = a_session(peer)

    throttled = answer_to(session, a_request(1))

    assert throttled.kind is AnswerClass.THROTTLED
    wait = throttled.retry_after
    assert (wait is None) is (seconds is None)
    assert abs((wait or timedelta(0)).total_seconds() - (seconds or 0)) < 3
    session.close()


def test_refused_recipient_is_named_by_field(peer: HttpPeer) -> None:
    errors = [{"field": "personalizations.3.to.0.email", "message": "Does not contain: a@b.c"}]
    peer.act = lambda seen: answer(400, orjson.dumps({"errors": errors}))
    session = a_session(peer)

    refused = answer_to(session, a_request(1))

    assert refused.code == "personalizations.3.to.0.email"
    assert refused.detail == "Does not contain: <address>"
    session.close()


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (200, b'{"scopes":["mail.send","alerts.read"]}', AnswerClass.ACCEPTED),
        (200, b'{"scopes":["alerts.read"]}', AnswerClass.ACCOUNT_REFUSED),
        (200, b"<html>", AnswerClass.ACCOUNT_REFUSED),
        (401, b"", AnswerClass.ACCOUNT_REFUSED),
        (404, b"", AnswerClass.ACCOUNT_REFUSED),
        (429, b"", AnswerClass.THROTTLED),
        (503, b"", AnswerClass.UNAVAILABLE),
    ],
)
def test_check_reads_the_scopes(
    peer: HttpPeer, status: int, body: bytes, kind: AnswerClass
) -> None:
    peer.act = lambda seen: answer(status, body)
    session = a_session(peer)

    assert session.check().kind is kind
    assert [(seen.method, seen.path) for seen in peer.seen] == [("GET", "/v3/scopes")]
    session.close()


@pytest.mark.parametrize(
    "wrong",
    [
        {"api_key": ""},
        {"api_key": "SG.a\r\nX-Evil: 1"},
        {"region": "moon"},
        {"base_url": "file:///etc/passwd"},
        {"max_messages_per_request": 1001},
    ],
)
def test_configuration_that_cannot_work_is_refused(
    wrong: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SENDGRID_API_KEY", "SG.from-the-environment")

    with pytest.raises(ValueError, match="SendGrid"):
        SendGridConfig(**{"api_key": "SG.test", **wrong})


def test_key_is_not_shown() -> None:
    assert "SG.secret" not in repr(SendGridConfig(api_key="SG.secret"))
    assert SENDER.address  # the builders' sender is what the payloads above show

"""A peer that answers like Twilio, and the account that speaks to it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import orjson

from domain.answer import AnswerClass
from providers.protocol import Request, Session
from providers.twilio import TwilioConfig, TwilioSession
from providers.twilio_codes import KIND_BY_CODE
from tests.providers.contract import changed_request
from tests.providers.http_peer import Act, HttpPeer, Seen, answer

K = AnswerClass
PAYLOADS = Path(__file__).parent / "payloads" / "twilio"
SID = "AC" + "a" * 32
JSON = "Content-Type: application/json\r\n"


def payload(name: str) -> bytes:
    """A documented answer."""
    return (PAYLOADS / f"{name}.json").read_bytes()


def refusal(status: int, code: int, headers: str = "") -> Act:
    """Twilio's error body, which likes to quote the number."""
    body = {**orjson.loads(payload("refused")), "code": code, "status": status}
    return answer(status, orjson.dumps(body), JSON + headers)


CREATED = answer(201, payload("created"), JSON)
ANSWERS: dict[str, tuple[Act, AnswerClass]] = {
    "201": (CREATED, K.ACCEPTED),
    "200": (answer(200, payload("created"), JSON), K.UNKNOWN),
    "204": (answer(204), K.UNKNOWN),
    "301": (answer(301, b"", "Location: /elsewhere\r\n"), K.ACCOUNT_REFUSED),
    "400 unknown code": (refusal(400, 21999), K.CONTENT_REFUSED),
    "400 no json": (answer(400, b"Bad request"), K.CONTENT_REFUSED),
    "401": (answer(401), K.ACCOUNT_REFUSED),
    "403": (answer(403), K.ACCOUNT_REFUSED),
    "404": (answer(404), K.ACCOUNT_REFUSED),
    "413": (answer(413), K.CONTENT_REFUSED),
    "429": (answer(429, b"", "Retry-After: 7\r\n"), K.THROTTLED),
    "500": (answer(500), K.UNKNOWN),
    "502": (answer(502, b"<html>bad gateway", "Content-Type: text/html\r\n"), K.UNKNOWN),
    "503": (answer(503), K.UNAVAILABLE),
    "cut 201": (Act(b"HTTP/1.1 201 Ok\r\nContent-Length: 9\r\n\r\n{", then_close=True), K.ACCEPTED),
    "cut 400": (
        Act(b"HTTP/1.1 400 No\r\nContent-Length: 9\r\n\r\n{", then_close=True),
        K.UNAVAILABLE,
    ),
    "half a header": (Act(b"HTTP/1.1 201 Ok\r\nContent-Le", then_close=True), K.UNKNOWN),
    "no HTTP": (Act(b"220 smtp.example ready\r\n", then_close=True), K.UNKNOWN),
    "reset": (Act(then_reset=True), K.UNKNOWN),
    **{str(code): (refusal(400, code), kind) for code, kind in KIND_BY_CODE.items()},
}


def config_to(url: str, **changes: object) -> TwilioConfig:
    """An account at `url`."""
    values: dict[str, object] = {
        "account_sid": SID,
        "auth_token": "secret",
        "sender": "+14155552345",
        "callback_url": "https://shop.example/hooks/twilio",
        "base_url": url,
        **changes,
    }
    return TwilioConfig(**values)  # type: ignore[arg-type]  # names and types are the tests'


class TwilioWorld:
    """See `contract.World`; what it is set to answer are keys of ANSWERS."""

    def __init__(self) -> None:
        self.peer = HttpPeer()
        self.set_to_accept()

    def session(self, *, connections: int = 4, request_timeout: float = 5.0) -> Session:
        timeout = timedelta(seconds=request_timeout)
        return TwilioSession.open(
            config_to(self.peer.url, connections=connections, request_timeout=timeout)
        )

    def session_to(self, port: int) -> Session:
        return TwilioSession.open(config_to(f"http://127.0.0.1:{port}"))

    def posts(self) -> list[Seen]:
        return [seen for seen in self.peer.seen if seen.method == "POST"]

    def forms(self) -> list[dict[str, list[str]]]:
        return [parse_qs(seen.body.decode()) for seen in self.posts()]

    def references(self) -> list[str]:
        queries = [parse_qs(urlsplit(form["StatusCallback"][0]).query) for form in self.forms()]
        return [query["mid"][0] for query in queries]

    def header_names(self) -> set[str]:
        return {name.lower() for seen in self.posts() for name in seen.headers}

    def set_to_answer(self, said: object) -> None:
        self.post(lambda seen: ANSWERS[str(said)][0])

    def set_to_close_unanswered(self) -> None:
        self.post(lambda seen: Act(reply=b"", then_close=True))

    def set_to_hang(self) -> None:
        self.post(lambda seen: Act(hang=True))

    def set_to_accept(self) -> None:
        self.post(lambda seen: CREATED)

    def post(self, act: Callable[[Seen], Act], listed: str = "listed") -> None:
        """Answer posts with `act`, and questions with the documented answers."""

        def do(seen: Seen) -> Act:
            if seen.method == "POST":
                return act(seen)
            is_list = "/Messages.json" in seen.path
            return answer(200, payload(listed if is_list else "account"), JSON)

        self.peer.act = do

    def close_idle_connections(self) -> None:
        self.peer.close_connections()

    def request(self, number: int, **changes: object) -> Request:
        return changed_request(number, {"address": f"+1415555{number:04}", **changes})

    def close(self) -> None:
        self.peer.close()

"""SendGrid's port as a client meets it: answers, limits, and the journal behind them."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable
from datetime import datetime

import orjson
import pytest

from tests.simulator.simulator_process import KEY, SimulatorProcess, a_body, a_person, people

LINE_KEYS = {
    "at",
    "provider",
    "account",
    "message_id",
    "to",
    "request_id",
    "subject",
    "size",
}

JSON_HEADERS = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}


def raw_request(body: bytes, *headers: str, method: str = "POST", key: str = KEY) -> bytes:
    head = [
        f"{method} /v3/mail/send HTTP/1.1",
        "Host: simulator",
        f"Authorization: Bearer {key}",
        "Content-Type: application/json",
        *headers,
    ]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


def exchange(port: int, *pieces: bytes) -> bytes:
    """Everything the server says to these bytes until it has been silent for a moment."""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        for piece in pieces:
            connection.sendall(piece)
        connection.settimeout(0.3)
        received = b""
        try:
            while piece := connection.recv(65536):
                received += piece
        except TimeoutError:
            pass
        return received


def test_accepts_and_journals_each_message(simulator: SimulatorProcess) -> None:
    anna = a_person(custom_args={"mid": "m1"}, substitutions={"-n-": "Anna"})
    bo = a_person("bo@example.com", custom_args={"mid": "m2"}, substitutions={"-n-": "Bo"})

    answer = simulator.send(a_body(anna, bo, subject="Hi -n-"))

    first, second = simulator.journal()
    assert (answer.status_code, answer.content) == (202, b"")
    assert set(first) == LINE_KEYS
    assert datetime.fromisoformat(first["at"]).tzinfo is not None
    assert first["at"].endswith("Z") and len(first["at"]) == len("2026-11-01T09:00:00.000000Z")
    assert (first["provider"], first["account"]) == ("sendgrid", "abcdefgh")
    assert first["request_id"] == second["request_id"] == answer.headers["X-Message-Id"]
    assert [line["message_id"] for line in (first, second)] == ["m1", "m2"]
    assert [line["subject"] for line in (first, second)] == ["Hi Anna", "Hi Bo"]
    assert simulator.recipients() == ["anna@example.com", "bo@example.com"]


def test_a_refused_request_names_the_field_and_accepts_nobody(simulator: SimulatorProcess) -> None:
    answer = simulator.send(a_body(a_person(), a_person("wrong")))

    (error,) = answer.json()["errors"]
    assert answer.status_code == 400
    assert error["field"] == "personalizations.1.to.0.email"
    assert error["message"] and error["help"].startswith("http")
    assert simulator.journal() == []


@pytest.mark.parametrize("header", [None, "Basic SG.x", "Bearer", "Bearer wrong", "SG.x"])
def test_a_wrong_or_missing_key_is_401(simulator: SimulatorProcess, header: str | None) -> None:
    headers = {} if header is None else {"Authorization": header}

    sent = simulator.client.post(
        f"{simulator.sendgrid_url}/v3/mail/send", json=a_body(), headers=headers
    )
    scopes = simulator.client.get(f"{simulator.sendgrid_url}/v3/scopes", headers=headers)

    assert (sent.status_code, scopes.status_code) == (401, 401)
    assert sent.json()["errors"][0]["field"] is None
    assert simulator.journal() == []


def test_scopes_prove_a_key(simulator: SimulatorProcess) -> None:
    url = f"{simulator.sendgrid_url}/v3/scopes"

    answer = simulator.client.get(url, headers={"Authorization": f"Bearer {KEY}"})

    assert answer.status_code == 200
    assert "mail.send" in answer.json()["scopes"]


def test_sandbox_mode_validates_and_records_nothing(simulator: SimulatorProcess) -> None:
    sandbox = {"sandbox_mode": {"enable": True}}

    assert simulator.send(a_body(mail_settings=sandbox)).status_code == 200
    assert simulator.send(a_body(a_person("x"), mail_settings=sandbox)).status_code == 400
    assert simulator.journal() == []


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/v3/mail/send", 405), ("POST", "/v3/scopes", 405), ("POST", "/v3/mail/sent", 404)],
)
def test_unknown_routes(simulator: SimulatorProcess, method: str, path: str, status: int) -> None:
    headers = {"Authorization": f"Bearer {KEY}"}

    answer = simulator.client.request(method, simulator.sendgrid_url + path, headers=headers)

    assert answer.status_code == status
    assert answer.json()["errors"]


@pytest.mark.parametrize(
    ("content", "content_type", "status"),
    [
        (b"{", "application/json", 400),
        (b"\xff", "application/json", 400),
        (b"{}", "text/plain", 415),
        (b"{}", "application/json; charset=utf-8", 400),
    ],
)
def test_malformed_bodies(
    simulator: SimulatorProcess, content: bytes, content_type: str, status: int
) -> None:
    headers = {"Authorization": f"Bearer {KEY}", "Content-Type": content_type}

    answer = simulator.client.post(
        f"{simulator.sendgrid_url}/v3/mail/send", content=content, headers=headers
    )

    assert answer.status_code == status


def test_above_30_mb_is_413_and_the_connection_stays(simulator: SimulatorProcess) -> None:
    url, headers = f"{simulator.sendgrid_url}/v3/mail/send", JSON_HEADERS

    large = simulator.client.post(url, content=b"x" * (30 * 1024 * 1024 + 1), headers=headers)
    small = simulator.client.post(url, json=a_body(), headers=headers)

    assert (large.status_code, small.status_code) == (413, 202)


def test_pipelined_requests_are_answered_in_their_order(simulator: SimulatorProcess) -> None:
    good, wrong = orjson.dumps(a_body()), orjson.dumps(a_body(a_person("x")))
    requests = b"".join(
        raw_request(body, f"Content-Length: {len(body)}") for body in (good, wrong, good)
    )

    middle = len(requests) // 2
    said = exchange(simulator.sendgrid_port, requests[:middle], requests[middle:])

    assert re.findall(rb"HTTP/1.1 (\d+)", said) == [b"202", b"400", b"202"]
    assert len(simulator.journal()) == 2


def test_a_chunked_body_is_read(simulator: SimulatorProcess) -> None:
    body = orjson.dumps(a_body())
    chunks = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)

    said = exchange(simulator.sendgrid_port, raw_request(chunks, "Transfer-Encoding: chunked"))

    assert said.startswith(b"HTTP/1.1 202 ")


def test_a_client_that_expects_100_is_told_to_continue(simulator: SimulatorProcess) -> None:
    body = orjson.dumps(a_body())
    head = raw_request(b"", f"Content-Length: {len(body)}", "Expect: 100-continue")

    with socket.create_connection(("127.0.0.1", simulator.sendgrid_port), timeout=5) as client:
        client.sendall(head)
        first = client.recv(4096)
        client.sendall(body)
        second = client.recv(4096)

    assert first == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert second.startswith(b"HTTP/1.1 202 ")


def test_a_client_that_expects_100_is_refused_before_it_sends_too_much(
    simulator: SimulatorProcess,
) -> None:
    head = raw_request(b"", "Content-Length: 40000000", "Expect: 100-continue")

    assert exchange(simulator.sendgrid_port, head).startswith(b"HTTP/1.1 413 ")


def test_what_is_not_http_is_400_and_closed(simulator: SimulatorProcess) -> None:
    assert exchange(simulator.sendgrid_port, b"EHLO me\r\n\r\n").startswith(b"HTTP/1.1 400 ")


def test_an_offer_to_upgrade_is_refused_once_and_closed(simulator: SimulatorProcess) -> None:
    body = orjson.dumps(a_body())
    offer = ("Connection: Upgrade", "Upgrade: h2c")

    said = exchange(
        simulator.sendgrid_port, raw_request(body, f"Content-Length: {len(body)}", *offer)
    )

    assert re.findall(rb"HTTP/1.1 (\d+)", said) == [b"400"]
    assert b"Connection: close" in said


def test_connection_close_is_obeyed(simulator: SimulatorProcess) -> None:
    body = orjson.dumps(a_body())
    request = raw_request(body, f"Content-Length: {len(body)}", "Connection: close")

    assert b"Connection: close" in exchange(simulator.sendgrid_port, request)


def test_a_configured_rate_is_kept_and_told(
    start_simulator: Callable[..., SimulatorProcess],
) -> None:
    simulator = start_simulator("--sendgrid-rate", "2")

    answers = [simulator.send(a_body()) for _ in range(8)]

    accepted = [answer for answer in answers if answer.status_code == 202]
    refused = [answer for answer in answers if answer.status_code == 429]
    assert len(accepted) + len(refused) == 8
    assert refused and len(accepted) == len(simulator.journal())
    assert refused[0].headers["X-RateLimit-Limit"] == "2"
    assert refused[0].headers["X-RateLimit-Remaining"] == "0"
    assert int(refused[0].headers["X-RateLimit-Reset"]) > 1_700_000_000
    assert refused[0].headers["Retry-After"] == "1"
    assert accepted[0].headers["X-RateLimit-Remaining"] in {"0", "1"}


def test_a_thousand_people_are_a_thousand_lines(simulator: SimulatorProcess) -> None:
    addresses = [f"p{number}@example.com" for number in range(1000)]

    simulator.send(a_body(*people(addresses)))

    assert simulator.recipients() == addresses

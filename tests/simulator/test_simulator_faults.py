"""What each fault does on the wire, and what the journal says of it."""

from __future__ import annotations

import json
import socket
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.simulator.simulator_process import (
    KEY,
    SimulatorProcess,
    a_body,
    a_message,
    a_person,
    people,
)

STATUS_503 = {"provider": "sendgrid", "kind": "status", "status": 503}


def statuses(simulator: SimulatorProcess, requests: int) -> list[int]:
    return [simulator.send(a_body()).status_code for _ in range(requests)]


def test_a_status_comes_at_its_request_and_nothing_is_accepted(simulator: SimulatorProcess) -> None:
    simulator.faults({**STATUS_503, "at_request": [2]})

    assert statuses(simulator, 3) == [202, 503, 202]
    assert len(simulator.journal()) == 2


def test_a_429_says_when_to_come_again(simulator: SimulatorProcess) -> None:
    simulator.faults({**STATUS_503, "status": 429, "retry_after": 7, "body": '{"errors":[]}'})

    answer = simulator.send(a_body())

    assert (answer.status_code, answer.text) == (429, '{"errors":[]}')
    assert answer.headers["Retry-After"] == "7"
    assert answer.headers["X-RateLimit-Remaining"] == "0"


def test_a_status_may_lie_about_an_acceptance(simulator: SimulatorProcess) -> None:
    simulator.faults({**STATUS_503, "status": 500, "accept": True})

    assert statuses(simulator, 1) == [500]
    assert len(simulator.journal()) == 1


def test_latency_accepts_at_once_and_answers_late(simulator: SimulatorProcess) -> None:
    simulator.faults({"provider": "sendgrid", "kind": "latency", "seconds": 0.5})

    with ThreadPoolExecutor(1) as pool:
        begin = time.monotonic()
        answer = pool.submit(simulator.send, a_body())
        time.sleep(0.25)
        logged_meanwhile = len(simulator.journal())
        status = answer.result().status_code

    assert (logged_meanwhile, status) == (1, 202)
    assert time.monotonic() - begin >= 0.5


def test_accept_then_close_logs_and_closes_without_an_answer(simulator: SimulatorProcess) -> None:
    simulator.faults({"provider": "sendgrid", "kind": "accept_then_close"})

    with pytest.raises(httpx.RemoteProtocolError):
        simulator.send(a_body())
    assert len(simulator.journal()) == 1


def test_accept_then_hang_logs_and_never_answers(simulator: SimulatorProcess) -> None:
    simulator.faults({"provider": "sendgrid", "kind": "accept_then_hang"})

    with pytest.raises(httpx.ReadTimeout):
        simulator.send(a_body(), timeout=0.4)
    assert len(simulator.journal()) == 1


def test_reset_breaks_the_connection_before_the_body_is_read(simulator: SimulatorProcess) -> None:
    simulator.faults({"provider": "sendgrid", "kind": "reset", "times": 1})

    head = (
        f"POST /v3/mail/send HTTP/1.1\r\nAuthorization: Bearer {KEY}\r\nContent-Length: 9\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", simulator.sendgrid_port), timeout=5) as client:
        client.sendall(head.encode())
        with pytest.raises(ConnectionResetError):
            client.recv(4096)

    assert simulator.journal() == []
    assert statuses(simulator, 1) == [202]


def test_a_refused_address_names_its_field(simulator: SimulatorProcess) -> None:
    simulator.faults({"provider": "sendgrid", "kind": "refuse_address", "match": ["B@example.com"]})

    refused = simulator.send(a_body(*people(["a@example.com", "b@example.com"])))
    taken = simulator.send(a_body(a_person("a@example.com")))

    assert refused.json()["errors"][0]["field"] == "personalizations.1.to.0.email"
    assert (refused.status_code, taken.status_code) == (400, 202)
    assert simulator.recipients() == ["a@example.com"]


def test_rate_limit_lets_so_many_through_a_second(simulator: SimulatorProcess) -> None:
    simulator.faults({"provider": "sendgrid", "kind": "rate_limit", "per_second": 1})

    seen = statuses(simulator, 6)

    assert seen[0] == 202
    assert seen.count(429) >= 3
    assert len(simulator.journal()) == seen.count(202)


def test_a_revoked_key_is_401_until_the_rule_goes(simulator: SimulatorProcess) -> None:
    simulator.faults({"provider": "sendgrid", "kind": "revoke_key", "at_message": 3})
    two = a_body(*people(["a@example.com", "b@example.com"]))

    revoked = [simulator.send(two).status_code for _ in range(3)]
    simulator.no_faults()

    assert revoked == [202, 401, 401]
    assert simulator.send(two).status_code == 202


def test_two_rules_may_meet_one_request(simulator: SimulatorProcess) -> None:
    simulator.faults(STATUS_503, {"provider": "sendgrid", "kind": "latency", "seconds": 0.3})

    begin = time.monotonic()

    assert statuses(simulator, 1) == [503]
    assert time.monotonic() - begin >= 0.3


def test_numbered_requests_meet_their_faults_however_many_connections_there_are(
    simulator: SimulatorProcess,
) -> None:
    simulator.faults(
        {**STATUS_503, "status": 429, "at_request": [12]},
        {**STATUS_503, "at_request": [25]},
        {"provider": "sendgrid", "kind": "accept_then_close", "at_request": [40]},
    )

    def send(number: int) -> int:
        try:
            return simulator.send(a_body(a_person(f"p{number}@example.com"))).status_code
        except httpx.RemoteProtocolError:
            return 0

    with ThreadPoolExecutor(4) as pool:
        seen = list(pool.map(send, range(60)))

    assert Counter(seen) == {202: 57, 429: 1, 503: 1, 0: 1}
    assert len(simulator.journal()) == 58


def test_faults_stand_from_the_start_when_a_file_says_so(
    start_simulator: Callable[..., SimulatorProcess], tmp_path: Path
) -> None:
    path = tmp_path / "faults.json"
    path.write_text(json.dumps([{**STATUS_503, "at_request": [1]}]))

    simulator = start_simulator("--faults", str(path))

    assert statuses(simulator, 2) == [503, 202]


def test_the_board_tells_what_its_rules_have_done(simulator: SimulatorProcess) -> None:
    simulator.faults({**STATUS_503, "at_request": [2]})
    statuses(simulator, 3)

    (standing,) = simulator.client.get(f"{simulator.inbox_url}/control/faults").json()

    assert (standing["requests"], standing["fired"]) == (3, 1)
    assert standing["rule"]["at_request"] == [2]


def test_a_wrong_rule_is_refused_and_the_old_ones_stand(simulator: SimulatorProcess) -> None:
    simulator.faults(STATUS_503)

    answer = simulator.client.post(f"{simulator.inbox_url}/control/faults", json=[{"kind": "no"}])

    assert answer.status_code == 422
    assert statuses(simulator, 1) == [503]


def smtp_fault(**rule: Any) -> dict[str, Any]:
    return {"provider": "smtp", **rule}


@pytest.mark.parametrize(
    ("stage", "replies"),
    [
        ("mail", ["450 4.7.0 later", "503", "503"]),
        ("rcpt", ["250", "450 4.7.0 later", "554"]),
        ("data", ["250", "250", "354", "450 4.7.0 later"]),
    ],
)
def test_an_smtp_status_comes_at_its_stage(
    simulator: SimulatorProcess, stage: str, replies: list[str]
) -> None:
    simulator.faults(smtp_fault(kind="status", status=450, stage=stage, text="4.7.0 later"))

    with simulator.smtp() as talk:
        talk.greet()
        said = [
            talk.ask(command)
            for command in ("MAIL FROM:<a@example.org>", "RCPT TO:<b@example.com>", "DATA")
        ]
        if said[-1].startswith("354"):
            said.append(talk.finish(a_message()))

    assert len(said) == len(replies)
    assert all(got.startswith(wanted) for got, wanted in zip(said, replies, strict=True))
    assert simulator.journal() == []


def test_an_smtp_banner_may_refuse(simulator: SimulatorProcess) -> None:
    simulator.faults(smtp_fault(kind="status", status=421, stage="banner"))

    with simulator.smtp() as talk:
        assert talk.banner.startswith("421")
        assert talk.reply() == ""


def test_smtp_refuses_an_address_at_rcpt_and_takes_the_others(simulator: SimulatorProcess) -> None:
    simulator.faults(smtp_fault(kind="refuse_address", match=["b@example.com"]))

    with simulator.smtp() as talk:
        talk.greet()
        talk.ask("MAIL FROM:<a@example.org>")
        refused, taken = talk.ask("RCPT TO:<B@example.com>"), talk.ask("RCPT TO:<c@example.com>")
        talk.ask("DATA")
        talk.finish(a_message())

    assert refused.startswith("550 5.1.1")
    assert taken.startswith("250")
    assert simulator.recipients() == ["c@example.com"]


@pytest.mark.parametrize("kind", ["accept_then_close", "accept_then_hang"])
def test_smtp_accepts_and_never_answers(simulator: SimulatorProcess, kind: str) -> None:
    simulator.faults(smtp_fault(kind=kind))

    with simulator.smtp() as talk:
        talk.begin()
        talk.write(a_message() + b".\r\n")
        talk.connection.settimeout(0.4)
        if kind == "accept_then_close":
            assert talk.reply() == ""
        else:
            with pytest.raises(TimeoutError):
                talk.reply()

    assert len(simulator.journal()) == 1


def test_smtp_resets_before_the_body_is_read(simulator: SimulatorProcess) -> None:
    simulator.faults(smtp_fault(kind="reset"))

    with simulator.smtp() as talk:
        talk.begin()
        with pytest.raises(ConnectionResetError):
            talk.finish(a_message())

    assert simulator.journal() == []


def test_smtp_latency_logs_first_and_holds_up_what_is_pipelined_behind(
    simulator: SimulatorProcess,
) -> None:
    simulator.faults(smtp_fault(kind="latency", seconds=0.4, at_request=[1]))

    with simulator.smtp() as talk:
        talk.begin()
        begin = time.monotonic()
        talk.write(a_message() + b".\r\nNOOP\r\n")
        time.sleep(0.1)
        logged_meanwhile = len(simulator.journal())
        replies = [talk.reply(), talk.reply()]

    assert logged_meanwhile == 1
    assert [reply[:9] for reply in replies] == ["250 2.0.0", "250 2.0.0"]
    assert time.monotonic() - begin >= 0.4


def test_smtp_rate_limit_is_451_at_mail(simulator: SimulatorProcess) -> None:
    simulator.faults(smtp_fault(kind="rate_limit", per_second=1))

    with simulator.smtp() as talk:
        talk.greet()
        said = []
        for _ in range(6):
            said.append(talk.ask("MAIL FROM:<a@example.org>")[:9])
            talk.ask("RSET")

    assert said[0] == "250 2.1.0"
    assert said.count("451 4.7.1") >= 3


def test_smtp_credentials_may_be_revoked(simulator: SimulatorProcess) -> None:
    simulator.faults(smtp_fault(kind="revoke_key"))

    with simulator.smtp() as talk:
        talk.greet()
        assert talk.ask("AUTH PLAIN AHVzZXIAc2VjcmV0").startswith("535")
        assert talk.ask("MAIL FROM:<a@example.org>").startswith("530")

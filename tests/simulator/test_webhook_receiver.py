"""The receiver of webhooks: takes what is signed, and nothing else."""

from __future__ import annotations

import time

import httpx
import pytest

from domain.answer import AnswerClass
from domain.webhook_signature import endpoint_secret, sign
from providers.protocol import Session
from providers.webhook import SIMULATOR_SECRET, WebhookConfig, WebhookSession
from simulator.webhook import MASTER
from tests.providers.provider_builders import a_mail, a_request, answer_to
from tests.simulator.simulator_process import SimulatorProcess

BODY = b'{"type":"order.paid","timestamp":"2026-11-28T12:00:00Z","data":{"order":7}}'


def post(
    simulator: SimulatorProcess,
    body: bytes = BODY,
    *,
    master: str = MASTER,
    age_seconds: int = 0,
    timeout: float = 5,
) -> httpx.Response:
    at = int(time.time()) - age_seconds
    secret = endpoint_secret(master, simulator.webhook_url)
    headers = {
        "webhook-id": "ref-1",
        "webhook-timestamp": str(at),
        "webhook-signature": sign([secret], "ref-1", at, body),
    }
    return simulator.client.post(
        simulator.webhook_url, content=body, headers=headers, timeout=timeout
    )


def a_session() -> Session:
    return WebhookSession.open(WebhookConfig(masters=(SIMULATOR_SECRET,), allow_private=True))


def test_adapter_and_stand_in_have_the_same_secret() -> None:
    assert SIMULATOR_SECRET == MASTER


def test_takes_and_journals_what_is_signed(simulator: SimulatorProcess) -> None:
    assert post(simulator).status_code == 204

    (line,) = simulator.journal()
    assert line["request_id"]
    assert line | {"at": "", "request_id": ""} == {
        "at": "",
        "provider": "webhook",
        "account": "",
        "message_id": "ref-1",
        "to": simulator.webhook_url,
        "request_id": "",
        "subject": "order.paid",
        "size": len(BODY),
    }


def test_refuses_what_is_not_signed_with_its_secret_now(simulator: SimulatorProcess) -> None:
    assert post(simulator, master="other").status_code == 400
    assert post(simulator, age_seconds=400).status_code == 400
    assert post(simulator, b"[1]").status_code == 400
    assert simulator.client.post(simulator.webhook_url, content=BODY).status_code == 400
    assert simulator.client.get(simulator.webhook_url).status_code == 405
    assert simulator.journal() == []


def test_the_adapters_message_is_taken_and_its_id_stays_the_same(
    simulator: SimulatorProcess,
) -> None:
    session = a_session()
    mail = a_mail(7, address=simulator.webhook_url + "?team=1", data='{"order": 7}')

    kinds = [answer_to(session, a_request(number, mail)).kind for number in (1, 2)]

    assert kinds == [AnswerClass.ACCEPTED] * 2
    assert [line["message_id"] for line in simulator.journal()] == ["ref-7"] * 2
    session.close()


@pytest.mark.parametrize(
    ("fault", "status", "journaled"),
    [
        ({"kind": "status", "status": 503}, 503, 0),
        ({"kind": "status", "status": 500, "accept": True}, 500, 1),
        ({"kind": "rate_limit", "per_second": 1, "times": 1}, 204, 1),
        ({"kind": "revoke_key"}, 401, 0),
        ({"kind": "latency", "seconds": 0.01}, 204, 1),
    ],
)
def test_faults_strike(
    simulator: SimulatorProcess, fault: dict[str, object], status: int, journaled: int
) -> None:
    simulator.faults({"provider": "webhook", **fault})

    assert post(simulator).status_code == status
    assert len(simulator.journal()) == journaled


def test_an_endpoint_that_is_gone_says_410(simulator: SimulatorProcess) -> None:
    simulator.faults(
        {"provider": "webhook", "kind": "refuse_address", "match": simulator.webhook_url}
    )

    session = a_session()
    answer = answer_to(session, a_request(1, a_mail(1, address=simulator.webhook_url)))

    assert (answer.kind, answer.code) == (AnswerClass.RECIPIENT_REFUSED, "410")
    session.close()


@pytest.mark.parametrize(
    ("kind", "journaled"), [("reset", 0), ("accept_then_close", 1), ("accept_then_hang", 1)]
)
def test_faults_leave_without_an_answer(
    simulator: SimulatorProcess, kind: str, journaled: int
) -> None:
    simulator.faults({"provider": "webhook", "kind": kind})

    with pytest.raises(httpx.TransportError):
        post(simulator, timeout=0.3)
    assert len(simulator.journal()) == journaled


def test_the_inbox_shows_the_json(simulator: SimulatorProcess) -> None:
    post(simulator)

    html = simulator.client.get(f"{simulator.inbox_url}/messages/1").text

    assert "&#34;order&#34;: 7" in html
    assert "webhook-signature" in html

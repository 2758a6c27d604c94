"""Twilio's port as a client meets it: answers, refusals, look-ups, faults, and the journal."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from twilio.rest import Client

from domain.answer import AnswerClass
from providers.protocol import Sender
from providers.twilio import TwilioConfig, TwilioSession
from providers.twilio_client import AskingTransport
from tests.providers.provider_builders import a_mail, a_request, answer_to
from tests.simulator.simulator_process import SimulatorProcess

SID = "AC" + "1" * 32
CALLBACK = "https://shop.example/hooks/twilio?mid=ref-1"
LINE_KEYS = {"at", "provider", "account", "message_id", "to", "request_id", "subject", "size"}


def create(
    simulator: SimulatorProcess, *, sid: str = SID, timeout: float = 5, **changes: object
) -> httpx.Response:
    """A message's form; a change to None takes the field out."""
    form = {
        "To": "+14155550001",
        "From": "+15005550006",
        "Body": "Good morning",
        "StatusCallback": CALLBACK,
        **changes,
    }
    return simulator.client.post(
        f"{simulator.twilio_url}/2010-04-01/Accounts/{SID}/Messages.json",
        data={name: value for name, value in form.items() if value is not None},
        auth=(sid, "token"),
        timeout=timeout,
    )


def config(simulator: SimulatorProcess) -> TwilioConfig:
    return TwilioConfig(
        account_sid=SID,
        auth_token="token",
        sender="+15005550006",
        callback_url="https://shop.example/hooks/twilio",
        base_url=simulator.twilio_url,
    )


def test_accepts_and_journals_a_message(simulator: SimulatorProcess) -> None:
    answer = create(simulator)

    said = answer.json()
    assert answer.status_code == 201
    assert (said["status"], said["num_segments"], said["direction"]) == (
        "queued",
        "1",
        "outbound-api",
    )
    (line,) = simulator.journal()
    assert set(line) == LINE_KEYS
    assert line | {"at": ""} == {
        "at": "",
        "provider": "twilio",
        "account": "1" * 8,
        "message_id": "ref-1",
        "to": "+14155550001",
        "request_id": said["sid"],
        "subject": "Good morning",
        "size": 12,
    }


def test_media_make_it_an_mms_and_a_service_chooses_the_number(simulator: SimulatorProcess) -> None:
    media = ["https://shop.example/a.png", "https://shop.example/b.png"]

    said = create(
        simulator, Body=None, From=None, MessagingServiceSid="MG" + "2" * 32, MediaUrl=media
    ).json()

    assert said["sid"].startswith("MM")
    assert (said["num_media"], said["from"], said["status"]) == ("2", None, "accepted")


@pytest.mark.parametrize(
    ("changes", "status", "code"),
    [
        ({"sid": "AC" + "9" * 32}, 401, 20003),
        ({"To": None}, 400, 21604),
        ({"To": "4155550001"}, 400, 21211),
        ({"To": "+1415555"}, 400, 21211),
        ({"To": "+15005550001"}, 400, 21211),
        ({"To": "+15005550002"}, 400, 21612),
        ({"To": "+15005550003"}, 400, 21408),
        ({"To": "+15005550004"}, 400, 21610),
        ({"To": "+15005550009"}, 400, 21614),
        ({"From": None}, 400, 21603),
        ({"From": "+15005550001"}, 400, 21212),
        ({"From": "+15005550007"}, 400, 21606),
        ({"From": "+15005550008"}, 429, 21611),
        ({"From": "much too long a name"}, 400, 21212),
        ({"From": None, "MessagingServiceSid": "MG1"}, 400, 21705),
        ({"Body": None}, 400, 21602),
        ({"Body": "a" * 1601}, 400, 21617),
        ({"MediaUrl": ["https://a.example/"] * 11}, 400, 21623),
        ({"MediaUrl": "a.png"}, 400, 21620),
        ({"StatusCallback": "shop"}, 400, 21609),
        ({"Body": "a" * 300_000}, 413, 20413),
    ],
)
def test_refuses_as_twilio_does(
    simulator: SimulatorProcess, changes: dict[str, object], status: int, code: int
) -> None:
    answer = create(simulator, **changes)  # type: ignore[arg-type]  # names and types are the table's

    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.json()["status"] == status
    assert simulator.journal() == []


def test_the_longest_body_is_taken(simulator: SimulatorProcess) -> None:
    assert create(simulator, Body="ü" * 1600).json()["num_segments"] == "11"


def test_without_credentials_or_on_another_path_there_is_nothing(
    simulator: SimulatorProcess,
) -> None:
    url = f"{simulator.twilio_url}/2010-04-01/Accounts/{SID}"

    assert simulator.client.post(f"{url}/Messages.json").status_code == 401
    assert simulator.client.get(f"{simulator.twilio_url}/2010-04-01/Calls.json").status_code == 404
    assert simulator.client.put(f"{url}/Messages.json", auth=(SID, "t")).status_code == 405


def test_lists_messages_by_number_and_day(simulator: SimulatorProcess) -> None:
    client = Client(SID, "token", http_client=AskingTransport(config(simulator)))
    sids = [create(simulator, To=to).json()["sid"] for to in ("+14155550001", "+14155550077")]
    today = datetime.now(UTC).date()

    def found(**filters: object) -> list[str]:
        return [message.sid for message in client.messages.list(**filters)]

    assert found()[:2] == sids[::-1]
    assert found(to="+14155550077")[0] == sids[1]
    assert found(to="+14155550077", date_sent_after=today)[0] == sids[1]
    assert found(to="+14155550077", date_sent_after=today + timedelta(days=2)) == []
    assert found(to="+14155550077", date_sent_before=today - timedelta(days=2)) == []


def test_the_adapter_sends_checks_and_looks_up(simulator: SimulatorProcess) -> None:
    session = TwilioSession.open(config(simulator))
    mail = a_mail(7, address="+14155550123", text="Only once")
    since = datetime.now(UTC)

    answer = answer_to(session, a_request(7, mail, sender=Sender(address="")))

    assert answer.kind is AnswerClass.ACCEPTED
    assert session.check().kind is AnswerClass.ACCEPTED
    assert session.find_message(mail.address, mail.text, since) == answer.provider_message_id
    assert session.find_message(mail.address, "Another text", since) is None
    (line,) = simulator.journal()
    assert line["message_id"] == "ref-7"
    session.close()


def test_a_lost_answer_is_found_by_look_up(simulator: SimulatorProcess) -> None:
    simulator.faults({"provider": "twilio", "kind": "accept_then_close"})
    session = TwilioSession.open(config(simulator))
    mail = a_mail(8, address="+14155550124", text="Lost on the way")

    answer = answer_to(session, a_request(8, mail, sender=Sender(address="")))

    (line,) = simulator.journal()
    assert answer.kind is AnswerClass.UNKNOWN
    found = session.find_message(mail.address, mail.text, datetime.now(UTC))
    assert found == line["request_id"]
    session.close()


@pytest.mark.parametrize(
    ("fault", "status", "journaled"),
    [
        ({"kind": "status", "status": 503}, 503, 0),
        ({"kind": "status", "status": 429, "retry_after": 7}, 429, 0),
        ({"kind": "status", "status": 500, "accept": True}, 500, 1),
        ({"kind": "status", "status": 500, "at_message": 1}, 500, 0),
        ({"kind": "revoke_key"}, 401, 0),
        ({"kind": "refuse_address", "match": ["+14155550001"]}, 400, 0),
        ({"kind": "refuse_address", "match": ["+14155550002"]}, 201, 1),
        ({"kind": "latency", "seconds": 0.01}, 201, 1),
    ],
)
def test_faults_strike(
    simulator: SimulatorProcess, fault: dict[str, object], status: int, journaled: int
) -> None:
    simulator.faults({"provider": "twilio", **fault})

    assert create(simulator).status_code == status
    assert len(simulator.journal()) == journaled


@pytest.mark.parametrize(
    ("kind", "journaled"), [("reset", 0), ("accept_then_close", 1), ("accept_then_hang", 1)]
)
def test_faults_leave_without_an_answer(
    simulator: SimulatorProcess, kind: str, journaled: int
) -> None:
    simulator.faults({"provider": "twilio", "kind": kind})

    with pytest.raises(httpx.TransportError):
        create(simulator, timeout=0.3)
    assert len(simulator.journal()) == journaled


def test_too_many_a_second_are_throttled(simulator: SimulatorProcess) -> None:
    simulator.faults({"provider": "twilio", "kind": "rate_limit", "per_second": 1})

    answers = [create(simulator) for _ in range(4)]

    throttled = [answer for answer in answers if answer.status_code == 429]
    assert throttled
    assert {answer.json()["code"] for answer in throttled} == {20429}
    assert {answer.headers["Retry-After"] for answer in throttled} == {"1"}


def test_the_inbox_shows_the_text_with_its_media_and_segments(simulator: SimulatorProcess) -> None:
    create(simulator, Body="Good <b>morning</b>", MediaUrl="https://shop.example/a.png")

    html = simulator.client.get(f"{simulator.inbox_url}/messages/1").text

    assert "Good &lt;b&gt;morning&lt;/b&gt;" in html
    assert "https://shop.example/a.png" in html
    assert "segments" in html


def test_a_limit_of_its_own_is_given_at_the_start(tmp_path: Path) -> None:
    process = SimulatorProcess.start(tmp_path, "--twilio-rate", "1")
    try:
        assert 429 in [create(process).status_code for _ in range(4)]
    finally:
        process.stop()

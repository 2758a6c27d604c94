"""The commands about what became of messages: trace, deadletters, redrive, in-app."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Engine, text

from settings import load
from starter import cli
from tests.requests import a_client, a_shop

Run = Callable[..., tuple[int, Any]]


@pytest.fixture
def sent(run: Run, engine: Engine) -> str:
    """A committed message to person-1 that nobody has driven yet."""
    a_shop(engine)
    client = a_client(engine, load(_env_file=None))
    return client.send_blocking(
        "order-shipped", to="person-1", variables={"order": 1}, plan="in_app,email"
    ).public_id


def fail(engine: Engine, reason: int = 20) -> None:
    with engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO delivery (send_id, ordinal, step, part, outcome, reason)"
                " SELECT id, 1, 1, 0, 3, :reason FROM send;"
                "UPDATE send SET state = 'finished', closed_at = now(); DELETE FROM outbox"
            ),
            {"reason": reason},
        )


def test_a_trace_is_found_by_send_message_name_and_address(run: Run, sent: str) -> None:
    by_send = run("trace", sent)
    by_message = run("trace", f"{sent}/1")
    by_name = run("trace", "person-1")
    by_address = run("trace", "person-1@example.com")

    assert [code for code, _ in (by_send, by_message, by_name, by_address)] == [0, 0, 0, 0]
    assert by_send[1]["entries"][0]["what"] == "requested"
    assert by_message[1]["now"]["waits"] == "to be sent on step 1"
    assert by_name == by_address
    assert by_name[1]["messages"][0]["message"] == f"{sent}/1"


def test_a_trace_for_people_is_lines_of_text(
    run: Run, sent: str, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()

    assert cli.run(["trace", sent]) == 0

    shown = capsys.readouterr().out
    assert shown.startswith(f"{sent}/1 to rcp_")
    assert "requested by request" in shown
    assert "rules now: send" in shown


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ("snd_0000000000001", "no send"),
        ("snd_0000000000001/x", "is no message"),
        ("snd_nonsense/1", "is not an id"),
        ("nobody", "no recipient"),
    ],
)
def test_what_cannot_be_traced_is_one_sentence(run: Run, sent: str, given: str, why: str) -> None:
    code, said = run("trace", given)

    assert (code, why in said["error"]) == (1, True), said


def test_dead_letters_are_listed_and_redriven(run: Run, engine: Engine, sent: str) -> None:
    fail(engine)

    _, before = run("deadletters", "--since", "1d")
    code, done = run("redrive", "--send", sent, "--reason", "address corrected")
    _, after = run("deadletters")
    _, again = run("trace", sent)

    assert before["deadletters"][0]["why"] == "rejected:recipient_refused"
    assert sent in before["deadletters"][0]["command"]
    assert (code, done["messages"], after["deadletters"]) == (0, 1, [])
    assert "redriven" in [entry["what"] for entry in again["entries"]]


def test_a_redrive_without_a_reason_is_refused(run: Run, engine: Engine, sent: str) -> None:
    fail(engine)

    code, said = run("redrive", "--send", sent, "--reason", " ")

    assert (code, said["error"]) == (1, "A redrive needs a reason, of at most 500 characters.")


def test_items_are_listed_and_read_once(run: Run, engine: Engine, sent: str) -> None:
    with engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO in_app_item (recipient_id, send_id, ordinal, step, title, body)"
                " SELECT recipient_id, send_id, ordinal, 1, 'Order 1', '' FROM message;"
                "INSERT INTO delivery (send_id, ordinal, step, part, outcome)"
                " SELECT send_id, ordinal, 1, 0, 2 FROM message"
            )
        )
    _, listed = run("in-app", "list", "person-1")
    item = listed["items"][0]["id"]

    first = run("in-app", "read", "person-1", item)
    again = run("in-app", "read", "person-1", item)

    assert item.startswith("itm_")
    assert (first, again) == ((0, {"read": 1}), (0, {"read": 0}))
    assert run("in-app", "list", "person-1")[1]["items"][0]["read_at"]

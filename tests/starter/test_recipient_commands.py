"""The commands for single recipients, their addresses and their topics."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from starter import cli
from tests.builders import Draft, a_running_campaign, scalar

Run = Callable[..., tuple[int, Any]]


@pytest.fixture
def ada(run: Run) -> str:
    """Her public id."""
    code, made = run(
        "recipients", "set", "ada", "--email", "Ada@Example.org", "--phone", "+43 660 1234567",
        "--first-name", "Ada", "--locale", "de-at", "--zone", "Europe/Vienna",
        "--prefer", "sms", "--prefer", "email", "--attribute", "plan=gold",
    )  # fmt: skip
    assert (code, made["new"]) == (0, True)
    return str(made["id"])


def test_a_person_is_found_by_id_external_id_and_each_address(run: Run, ada: str) -> None:
    assert ada.startswith("rcp_")
    for who in (ada, "ada", "ADA@example.org", "+43 660 1234567"):
        code, found = run("recipients", "show", who)
        assert (code, found["id"]) == (0, ada)
    assert (found["locale"], found["time_zone"]) == ("de_AT", "Europe/Vienna")
    assert (found["preferred_channels"], found["attributes"]) == (
        ["sms", "email"],
        {"plan": "gold"},
    )


def test_what_is_not_named_stays(run: Run, ada: str) -> None:
    code, changed = run(
        "recipients", "set", ada, "--email", "new@example.org", "--attribute", "plan=", "--zone", ""
    )

    assert (code, changed["new"], changed["first_name"]) == (0, False, "Ada")
    assert (changed["attributes"], changed["time_zone"]) == ({}, None)
    assert [each["address"] for each in changed["contact_points"]] == [
        "new@example.org",
        "+436601234567",
    ]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("set", "x", "--email", "nonsense"), "email:"),
        (("set", "x", "--phone", "0660"), "sms: A telephone number begins with +"),
        (("set", "x", "--webhook", "http://x.org/"), "webhook:"),
        (("set", "x", "--zone", "Mars/Base"), "time_zone: This is no IANA time zone"),
        (("set", "x", "--locale", "xx_YY"), "locale:"),
        (("set", "x", "--attribute", "plan"), "write it like plan=gold"),
        (("set", " "), "Say who"),
        (("set", "x" * 256), "at most 255"),
        (("set", "rcp_0000000000009", "--email", "a@x.org"), "There is no recipient"),
        (("show", "nobody"), "There is no recipient 'nobody'"),
        (("show", "rcp_0000000000009"), "There is no recipient"),
        (("merge", "nobody", "nobody"), "There is no recipient"),
        (("erase", "nobody", "--yes"), "There is no recipient"),
        (("export", "nobody"), "There is no recipient"),
        (("contact", "add", "nobody", "email", "a@x.org"), "There is no recipient"),
        (("contact", "add", "nobody", "in_app", "x"), "no address to give"),
    ],
)
def test_bad_input_is_one_sentence_and_changes_nothing(
    run: Run, engine: Engine, arguments: tuple[str, ...], sentence: str
) -> None:
    code, said = run("recipients", *arguments)

    assert (code, sentence in said["error"]) == (1, True), said
    assert scalar(engine, "SELECT count(*) FROM recipient") == 0


def test_an_address_of_several_people_names_them(run: Run, ada: str) -> None:
    _, bob = run("recipients", "set", "bob", "--email", "ada@example.org")

    code, said = run("recipients", "show", "ada@example.org")

    assert code == 1
    assert ada in said["error"]
    assert bob["id"] in said["error"]


def test_addresses_are_added_verified_and_removed(run: Run, ada: str) -> None:
    _, added = run("recipients", "contact", "add", ada, "email", "Second@example.org", "--first")
    assert [each["address"] for each in added["contact_points"]] == [
        "second@example.org",
        "ada@example.org",
    ]

    _, verified = run("recipients", "contact", "verify", "ada", "email", "second@example.org")
    assert verified["contact_points"][0]["state"] == "verified"

    _, removed = run("recipients", "contact", "remove", "ada", "email", "second@example.org")
    assert [each["rank"] for each in removed["contact_points"]] == [0]
    for change in ("remove", "verify"):
        code, said = run("recipients", "contact", change, "ada", "email", "second@example.org")
        assert (code, "has no email address" in said["error"]) == (1, True)


def test_joining_and_leaving_a_topic(run: Run, ada: str) -> None:
    run("topic", "add", "news", "--name", "News")
    run("topic", "add", "list", "--name", "List", "--opt-in", "double")

    assert run("topic", "join", "news", "ada")[1]["state"] == "subscribed"
    assert run("topic", "join", "list", ada, "--channel", "sms")[1]["state"] == "pending"
    assert run("topic", "leave", "news", "ada")[1]["changed"] is True
    assert run("topic", "leave", "news", "ada")[1]["changed"] is False

    code, said = run("topic", "join", "nothing", "ada")
    assert (code, "There is no topic 'nothing'" in said["error"]) == (1, True)
    _, found = run("recipients", "show", "ada")
    assert [(each["topic"], each["channel"], each["state"]) for each in found["subscriptions"]] == [
        ("list", "sms", "pending"),
        ("news", "email", "left"),
    ]


def test_two_who_are_one_are_merged_and_found_as_one(run: Run, ada: str) -> None:
    run("recipients", "set", "old", "--email", "old@example.org")

    code, said = run("recipients", "merge", "old", "ada")

    assert (code, said["into"]["id"], said["contact_points"]) == (0, ada, 1)
    assert run("recipients", "show", "old")[1]["id"] == ada
    code, said = run("recipients", "merge", "old", "ada")
    assert (code, "one recipient already" in said["error"]) == (1, True)


def test_an_export_is_one_document_in_a_file_of_its_owner_or_printed(
    run: Run, engine: Engine, tmp_path: Path
) -> None:
    send_id = a_running_campaign(engine, Draft(people=2))
    out = tmp_path / "person.json"

    code, said = run("recipients", "export", "person-1", "--out", str(out))

    assert (code, said["file"]) == (0, str(out))
    assert out.stat().st_mode & 0o777 == 0o600
    written = json.loads(out.read_bytes())
    assert written["recipients"][0]["external_id"] == "person-1"
    assert [each["topic"] for each in written["messages"]] == ["newsletter"]
    assert written["messages"][0]["deliveries"] == []
    assert run("recipients", "export", "person-1") == (0, written)
    assert send_id


def test_an_export_that_cannot_be_written_is_one_sentence(
    run: Run, ada: str, tmp_path: Path
) -> None:
    code, said = run("recipients", "export", ada, "--out", str(tmp_path / "nowhere" / "x.json"))

    assert (code, "cannot be written" in said["error"]) == (1, True)


def test_an_erasure_asks_and_is_done_once(
    run: Run, ada: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    code, said = run("recipients", "erase", "ada")
    assert (code, "nothing was done" in said["error"]) == (1, True)

    code, said = run("recipients", "erase", "ada", "--yes")

    assert (code, said["id"], said["changed"]) == (0, ada, True)
    assert run("recipients", "show", "ada")[0] == 1
    assert run("recipients", "erase", ada, "--yes")[1]["changed"] is False
    run("topic", "add", "news", "--name", "News")
    for arguments in (
        ("recipients", "contact", "add", ada, "email", "a@x.org"),
        ("topic", "join", "news", ada),
    ):
        code, said = run(*arguments)
        assert (code, "is erased" in said["error"]) == (1, True)


def test_people_get_lines_they_can_read(
    run: Run, ada: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run("topic", "add", "news", "--name", "News")
    run("topic", "join", "news", ada)
    capsys.readouterr()

    assert cli.run(["recipients", "show", "ada"]) == 0

    lines = capsys.readouterr().out.splitlines()
    assert f"id: {ada}" in lines
    assert "email: ada@example.org (unverified)" in lines
    assert "topic news by email: subscribed (operator)" in lines

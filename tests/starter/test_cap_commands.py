"""`carillon cap …`, `carillon team quiet-hours`, `campaign create --window`."""

from __future__ import annotations

from collections.abc import Callable
from datetime import time
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text

from domain.local_time import Window
from models.team import TeamClock, default_team_id, team_clock
from tests.builders import people, scalars

EXAMPLE = Path(__file__).parents[2] / "examples" / "newsletter"

Run = Callable[..., tuple[int, Any]]


def clock(engine: Engine) -> TeamClock:
    with engine.connect() as connection:
        return team_clock(connection, default_team_id(connection))


def test_caps_are_made_listed_and_removed(run: Run) -> None:
    run("topic", "add", "news", "--name", "News")
    wide = ["--channel", "email", "--class", "marketing", "--limit", "1", "--per", "day"]
    narrow = ["--topic", "news", "--limit", "3", "--per", "24h", "--over", "skip"]

    assert run("cap", "add", *wide) == (0, {"cap": 1})
    assert run("cap", "add", *narrow) == (0, {"cap": 2})
    _, listed = run("cap", "list")
    assert run("cap", "remove", "1")[0] == 0
    _, left = run("cap", "list")

    first, second = listed["caps"]
    assert (first["channel"], first["message_class"], first["over"]) == (
        "email",
        "marketing",
        "defer",
    )
    assert (second["topic"], second["most"], second["hours"]) == ("news", 3, 24)
    assert left["caps"] == [second]


def test_the_audit_names_a_cap_that_counts_what_nobody_got(run: Run, engine: Engine) -> None:
    run("cap", "add", "--limit", "1", "--per", "24h")
    assert run("audit")[0] == 0
    with engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO cap_count (recipient_id, cap_id, window_key, used, used_at)"
                " VALUES (7, 1, 'rolling', 1, ARRAY[now()])"
            )
        )

    code, said = run("audit")

    assert (code, said["balanced"]) == (1, False)
    assert said["caps"] == ["cap 1 counts 1 to rcp_0000000000007 (rolling), its uses are 0"]


@pytest.mark.parametrize("command", ["create", "add"])
def test_a_topic_says_what_becomes_of_its_messages_over_a_cap(run: Run, command: str) -> None:
    def stands() -> str | None:
        found: str | None = run("topic", "list")[1]["topics"][0]["over_cap"]
        return found

    add = ["topic", command, "news", "--name", "News"]
    assert run(*add)[0] == 0
    assert stands() is None
    assert run(*add, "--over-cap", "skip")[0] == 0
    assert run(*add)[0] == 0
    assert stands() == "skip", "what is not named stays"
    assert run("topic", "show", "news")[1]["over_cap"] == "skip"
    assert run(*add, "--over-cap", "drop")[0] == 2
    assert run(*add, "--over-cap", "cap")[0] == 0
    assert stands() is None


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["add", "--limit", "0", "--per", "day"], 2, "greater than or equal to 1"),
        (["add", "--limit", "1", "--per", "week"], 2, "write day, or hours such as 24h"),
        (["add", "--limit", "1", "--per", "day", "--over", "drop"], 2, "write defer or skip"),
        (["add", "--limit", "1", "--per", "day", "--topic", "no"], 1, "There is no topic 'no'"),
        (["remove", "7"], 1, "There is no cap 7"),
    ],
)
def test_a_cap_that_cannot_be_is_refused_in_one_sentence(
    run: Run, arguments: list[str], code: int, sentence: str
) -> None:
    found, said = run("cap", *arguments)

    assert found == code
    assert sentence in said["error"]


def test_quiet_hours_are_set_with_the_zone_of_those_without_one_and_taken_away(
    run: Run, engine: Engine
) -> None:
    assert run("team", "quiet-hours", "22:00-08:00", "--zone", "Europe/Berlin")[0] == 0
    at_night = clock(engine)
    assert run("team", "quiet-hours", "none")[0] == 0

    night = Window(time(22), time(8))
    assert at_night == TeamClock(time_zone="Europe/Berlin", quiet=night)
    assert clock(engine) == TeamClock(time_zone="Europe/Berlin", quiet=None)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [(["10pm"], 2), (["22:00-22:00"], 2), (["22:00-08:00", "--zone", "Mars/Base"], 1)],
)
def test_quiet_hours_that_cannot_be_are_refused(
    run: Run, engine: Engine, arguments: list[str], code: int
) -> None:
    assert run("team", "quiet-hours", *arguments)[0] == code
    assert clock(engine) == TeamClock(time_zone="UTC", quiet=None)


def test_a_campaign_keeps_to_its_window_on_each_persons_clock(
    run: Run, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CARILLON_DEFAULT_FROM", "Shop <shop@example.com>")
    with engine.begin() as connection:
        people(connection, 1)
    _, published = run("template", "publish", str(EXAMPLE))
    create = ["--name", "N", "--topic", "newsletter", "--template", published["template"]]

    code, made = run("campaign", "create", *create, "--window", "09:00-21:00")
    refused, _ = run("campaign", "create", *create, "--window", "morning")

    assert (code, refused) == (0, 2), made
    assert scalars(engine, "SELECT window_from || '-' || window_until FROM send") == [
        "09:00:00-21:00:00"
    ]

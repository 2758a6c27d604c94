"""Holds: one command stops a scope, several stand side by side, each is released alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Engine

from domain.identifier import SEND_PREFIX, public_id
from models.hold import open_holds
from starter import cli
from tests.builders import Draft, a_running_campaign

Run = Callable[..., tuple[int, Any]]


@pytest.fixture
def send_id(run: Run, engine: Engine) -> int:
    """A running campaign, on the topic `newsletter`, the template `news`, the account `simulator`."""
    return a_running_campaign(engine, Draft(people=2))


def held(engine: Engine, send_id: int) -> list[str]:
    with engine.connect() as connection:
        return open_holds(connection, send_id)


@pytest.mark.parametrize(
    ("scope", "key"),
    [
        ("topic", "newsletter"),
        ("template", "news"),
        ("account", "simulator"),
        ("team", ""),
        ("team", "default"),
        ("everything", ""),
    ],
)
def test_each_scope_holds_the_campaigns_under_it_until_it_is_released(
    run: Run, engine: Engine, send_id: int, scope: str, key: str
) -> None:
    code, made = run(
        "hold", scope, *filter(None, [key]), "--reason", "wrong link", "--author", "Ada"
    )

    assert (code, made["scope"], made["id"][:4]) == (0, scope, "hld_")
    assert held(engine, send_id) == [f"{scope}: wrong link (Ada)"]
    code, said = run("release", made["id"])
    assert (code, said["sends"], said["released"][0]["changed"]) == (0, 1, True)
    assert held(engine, send_id) == []


def test_a_send_is_held_by_its_id(run: Run, engine: Engine, send_id: int) -> None:
    key = public_id(SEND_PREFIX, send_id)

    _, made = run("hold", "send", key, "--reason", "r")

    assert made["key"] == key
    assert made["author"] != ""
    assert len(held(engine, send_id)) == 1


def test_releasing_one_hold_leaves_the_others(run: Run, engine: Engine, send_id: int) -> None:
    _, first = run("hold", "topic", "newsletter", "--reason", "one", "--author", "a")
    _, second = run("hold", "topic", "newsletter", "--reason", "two", "--author", "b")

    run("release", first["id"])

    assert held(engine, send_id) == ["topic: two (b)"]
    assert [each["id"] for each in run("holds")[1]["holds"]] == [second["id"]]
    everything = run("holds", "--all")[1]["holds"]
    assert [each["released_at"] is None for each in everything] == [False, True]
    assert run("release", first["id"])[1]["released"][0]["changed"] is False


def test_several_holds_are_released_together_or_none(
    run: Run, engine: Engine, send_id: int
) -> None:
    ids = [run("hold", "topic", "newsletter", "--reason", "r")[1]["id"] for _ in range(2)]

    assert run("release", *ids, "hld_0000000000009")[0] == 1
    assert len(held(engine, send_id)) == 2
    assert run("release", *ids)[1]["sends"] == 1
    assert held(engine, send_id) == []


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("hold", "topic", "newsletter"), "needs a reason"),
        (("hold", "topic", "--reason", "r"), "Say which topic"),
        (("hold", "topic", "nothing", "--reason", "r"), "There is no topic 'nothing'"),
        (("hold", "template", "nothing", "--reason", "r"), "nothing"),
        (("hold", "account", "nothing", "--reason", "r"), "There is no account 'nothing'"),
        (("hold", "team", "nothing", "--reason", "r"), "There is no team 'nothing'"),
        (("hold", "send", "nonsense", "--reason", "r"), "is not an id"),
        (("hold", "send", "snd_0000000000009", "--reason", "r"), "There is no send"),
        (("hold", "everything", "x", "--reason", "r"), "has no key"),
        (("hold", "topic", "newsletter", "--reason", "r", "--author", " "), "needs an author"),
        (("release", "nonsense"), "is not an id"),
        (("release", "hld_0000000000009"), "There is no hold"),
    ],
)
def test_bad_input_is_one_sentence_and_holds_nothing(
    run: Run, engine: Engine, send_id: int, arguments: tuple[str, ...], sentence: str
) -> None:
    code, said = run(*arguments)

    assert (code, sentence in said["error"]) == (1, True), said
    assert held(engine, send_id) == []


def test_an_unknown_scope_is_used_wrongly(run: Run) -> None:
    assert run("hold", "weather", "--reason", "r")[0] == 2


def test_releasing_does_not_need_temporal(
    run: Run, engine: Engine, send_id: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PostgreSQL is the truth: campaigns that are not told look by themselves."""
    monkeypatch.setenv("CARILLON_TEMPORAL_ADDRESS", "127.0.0.1:1")
    _, made = run("hold", "everything", "--reason", "r")

    assert run("release", made["id"])[0] == 0
    assert held(engine, send_id) == []


def test_people_see_what_stands(run: Run, send_id: int, capsys: pytest.CaptureFixture[str]) -> None:
    run("hold", "topic", "newsletter", "--reason", "wrong link", "--author", "Ada")
    capsys.readouterr()

    assert cli.run(["holds"]) == 0

    shown = capsys.readouterr().out
    assert "wrong link" in shown
    assert "newsletter" in shown

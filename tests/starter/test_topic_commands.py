"""Topics, events and digests from the command line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from tests.builders import people, scalar
from tests.topics import a_topic

Run = Callable[..., tuple[int, Any]]


@pytest.fixture
def shop(engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CARILLON_DEFAULT_FROM", "Shop <shop@example.com>")
    a_topic(engine, "warm-up")  # publishes the template
    with engine.begin() as connection:
        people(connection, 3)
    (tmp_path / "data.json").write_text('{"title": "A new order"}')
    (tmp_path / "member.json").write_text('{"desk": "North"}')


@pytest.mark.usefixtures("shop")
def test_from_a_new_topic_to_a_digest(run: Run, engine: Engine) -> None:
    options = ("--name", "Orders", "--template", "order-raised", "--cadence", "daily", "--form")
    assert run("topic", "create", "orders", *options) == (
        0,
        {"key": "orders", "name": "Orders", "is_new": True},
    )
    assert run("topic", "create", "orders", *options)[1]["is_new"] is False
    run("topic", "join", "orders", "person-1")
    run("topic", "join", "orders", "person-2", "--cadence", "weekly", "--data", "member.json")
    run("topic", "join", "orders", "person-3", "--cadence", "immediate")

    _, shown = run("topic", "show", "orders")
    _, found = run("topic", "members", "orders")
    _, page = run("topic", "members", "orders", "--after", found["members"][1]["recipient"])
    raised = run("event", "orders", "--key", "k-1", "--data", "data.json")
    again = run("event", "orders", "--key", "k-1", "--data", "data.json")
    _, waiting = run("digest", "list")
    _, written = run("digest", "run", "weekly")

    assert (shown["template"], shown["message_class"]) == ("order-raised", "transactional")
    assert (shown["cadence"], shown["has_form"]) == ("daily", True)
    assert [(m["external_id"], m["cadence"], m["details"]) for m in found["members"]] == [
        ("person-1", "daily", {}),
        ("person-2", "weekly", {"desk": "North"}),
        ("person-3", "immediate", {}),
    ]
    assert [m["external_id"] for m in page["members"]] == ["person-3"]
    assert (raised[1]["messages"], raised[1]["digest_items"]) == (1, 2)
    assert again[1] == raised[1] | {"is_repeat": True}
    assert {(p["cadence"], p["items"]) for p in waiting["periods"]} == {("daily", 1), ("weekly", 1)}
    assert [each["messages"] for each in written["periods"]] == [1]
    assert scalar(engine, "SELECT count(*) FROM message") == 2
    assert run("digest", "run", "weekly")[1]["periods"] == []


@pytest.mark.usefixtures("shop")
def test_cadence_link_form_and_rules(run: Run) -> None:
    run("topic", "create", "orders", "--name", "Orders", "--template", "order-raised", "--form")
    run("topic", "create", "vips", "--name", "Vips")
    run("topic", "join", "orders", "person-1")

    assert run("topic", "cadence", "orders", "person-1", "weekly")[0] == 0
    assert "/j/" in run("topic", "link", "orders", "person-2")[1]["link"]
    assert "/join/orders" in run("topic", "form", "orders")[1]["html"]
    assert run("topic", "rule", "add", "orders", "plan=gold", "vips")[1]["changed"]
    assert run("topic", "show", "orders")[1]["rules"][0]["joins"] == "vips"
    assert run("topic", "rule", "remove", "orders", "plan=gold", "vips")[1]["changed"]
    assert run("topic", "members", "orders")[1]["members"][0]["cadence"] == "weekly"


@pytest.mark.usefixtures("shop")
@pytest.mark.parametrize(
    ("line", "says"),
    [
        (("topic", "create", "digests", "--name", "x"), "digests go out under"),
        (("topic", "create", "x", "--name", "x", "--template", "none"), "no template 'none'"),
        (("topic", "create", "x", "--name", "x", "--plan", "sms"), "events need a template"),
        (
            ("topic", "create", "x", "--name", "x", "--template", "order-raised", "--plan", "sms"),
            "says nothing for sms",
        ),
        (("topic", "join", "warm-up", "nobody"), "no recipient 'nobody'"),
        (("topic", "join", "warm-up", "person-1", "--channel", "sms", "--cadence", "daily"),
         "Digests go by e-mail"),
        (("topic", "cadence", "warm-up", "person-1", "daily"), "no member of 'warm-up'"),
        (("topic", "form", "warm-up"), "has no form"),
        (("event", "none", "--key", "k"), "no topic 'none'"),
        (("event", "warm-up", "--key", "k"), "asks for title"),
        (("digest", "run", "daily", "--period", "2020-01-01"), "no daily period"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_one_sentence(run: Run, line: tuple[str, ...], says: str) -> None:
    code, said = run(*line)

    assert code == 1
    assert says in said["error"]


@pytest.mark.usefixtures("shop")
def test_the_same_key_with_other_data_is_one_sentence(run: Run, tmp_path: Path) -> None:
    run("event", "warm-up", "--key", "k", "--data", "data.json")
    (tmp_path / "data.json").write_text('{"title": "Another"}')

    code, said = run("event", "warm-up", "--key", "k", "--data", "data.json")

    assert code == 1
    assert "another event of 'warm-up'" in said["error"]

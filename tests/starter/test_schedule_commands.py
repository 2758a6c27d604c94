"""`campaign start --at`, `--local-at` and `message held`, `recheck`, `cancel --key` as operators type them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine

from domain.identifier import SEND_PREFIX, public_id
from tests.builders import Draft, a_draft, scalar
from tests.requests import a_shop

Run = Callable[..., tuple[int, Any]]

TOMORROW = (datetime.now(UTC) + timedelta(days=1)).replace(microsecond=0)
NEXT_YEAR = datetime.now(UTC).year + 1


@pytest.fixture(autouse=True)
def _no_temporal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CARILLON_TEMPORAL_ADDRESS", "127.0.0.1:1")


@pytest.fixture
def draft(engine: Engine) -> str:
    return public_id(SEND_PREFIX, a_draft(engine))


def at(value: str) -> datetime:
    return datetime.fromisoformat(value)


def test_a_campaign_is_scheduled_without_temporal_and_listed_with_its_time(
    run: Run, draft: str
) -> None:
    code, made = run("campaign", "start", draft, "--at", TOMORROW.isoformat())

    assert (code, made["state"], at(made["due_at"])) == (0, "scheduled", TOMORROW)
    _, (listed,) = run("campaign", "list")
    assert (listed["state"], at(listed["due_at"])) == ("scheduled", TOMORROW)
    _, report = run("campaign", "report", draft)
    assert "starts by itself" in report["advice"][0]


def test_a_schedule_can_be_changed_until_it_is_due(run: Run, draft: str) -> None:
    run("campaign", "start", draft, "--at", TOMORROW.isoformat())
    later = TOMORROW + timedelta(hours=3)

    code, made = run("campaign", "start", draft, "--at", later.isoformat())

    assert (code, at(made["due_at"])) == (0, later)


def test_a_scheduled_campaign_that_is_cancelled_is_over(
    run: Run, engine: Engine, draft: str
) -> None:
    run("campaign", "start", draft, "--at", TOMORROW.isoformat())

    code, made = run("campaign", "cancel", draft)

    assert (code, made["state"], made["changed"]) == (0, "cancelled", True)
    assert scalar(engine, "SELECT closed_at IS NOT NULL FROM send")
    assert run("campaign", "start", draft)[0] == 1


@pytest.mark.parametrize(
    ("moment", "code"), [("2020-01-01T00:00+00:00", 1), ("tomorrow", 2), ("2099-01-01T18:00", 2)]
)
def test_a_time_that_has_passed_or_has_no_zone_is_refused(
    run: Run, engine: Engine, draft: str, moment: str, code: int
) -> None:
    assert run("campaign", "start", draft, "--at", moment)[0] == code
    assert scalar(engine, "SELECT state FROM send") == "draft"


def test_by_local_time_a_campaign_starts_when_the_first_clocks_show_it(
    run: Run, engine: Engine
) -> None:
    shown = datetime(NEXT_YEAR, 12, 24, 18)  # noqa: DTZ001  on everybody's own clock
    send = a_draft(engine, Draft(local_at=shown))

    code, made = run("campaign", "start", public_id(SEND_PREFIX, send))

    assert (code, made["state"]) == (0, "scheduled")
    assert at(made["due_at"]) == datetime(NEXT_YEAR, 12, 24, 4, tzinfo=UTC)
    last = datetime(NEXT_YEAR, 12, 25, 6, tzinfo=UTC)
    assert scalar(engine, "SELECT expires_at FROM send") == last + timedelta(days=7)


def ask(run: Run, *more: str) -> tuple[int, Any]:
    return run("send", "order-shipped", "--to", "person-1", "--var", "order=A-17", *more)


def test_what_waits_is_listed_rechecked_and_cancelled_by_key(run: Run, engine: Engine) -> None:
    a_shop(engine)
    _, sent = ask(run, "--local-at", f"{NEXT_YEAR}-12-24T18:00", "--key", "greeting")

    _, listed = run("message", "held", "--recipient", "person-1")
    rechecked = run("message", "recheck", "--key", "greeting")
    code, cancelled = run("message", "cancel", "--key", "greeting")

    (one,) = listed["held"]
    assert (one["send"], one["why"], one["recipient"]) == (sent["id"], "local_time", "person-1")
    assert at(one["until"]) == datetime(NEXT_YEAR, 12, 24, 17, tzinfo=UTC)
    assert rechecked == (0, {"parked": 1, "groups": 0, "campaigns": []})
    assert (code, cancelled) == (0, {"id": sent["id"], "cancelled": True})
    assert run("message", "held") == (0, {"held": []})


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["message", "recheck"], 2),
        (["message", "recheck", "--key", "k", "--recipient", "person-1"], 2),
        (["message", "recheck", "--key", "k"], 1),
        (["message", "cancel"], 2),
        (["message", "cancel", "--key", "k"], 1),
        (["message", "held", "--recipient", "nobody"], 1),
    ],
)
def test_who_names_nothing_or_nobody_is_told_so(
    run: Run, engine: Engine, arguments: list[str], code: int
) -> None:
    a_shop(engine)

    assert run(*arguments)[0] == code


def test_at_and_a_local_time_exclude_each_other(run: Run, engine: Engine) -> None:
    a_shop(engine)
    both = ("--at", TOMORROW.isoformat(), "--local-at", f"{NEXT_YEAR}-12-24T18:00")

    assert ask(run, *both)[0] == 1
    assert ask(run, "--local-at", TOMORROW.isoformat())[0] == 2
    assert scalar(engine, "SELECT count(*) FROM send") == 0


def test_the_same_key_with_another_local_time_is_another_request(run: Run, engine: Engine) -> None:
    a_shop(engine)
    first = ask(run, "--local-at", f"{NEXT_YEAR}-12-24T18:00", "--key", "k")
    again = ask(run, "--local-at", f"{NEXT_YEAR}-12-24T18:00", "--key", "k")
    other = ask(run, "--local-at", f"{NEXT_YEAR}-12-24T19:00", "--key", "k")

    assert (first[0], again[0], other[0]) == (0, 0, 1)
    assert again[1]["is_repeat"]

"""When the client calls again, and how long it waits before; no clock but the test's."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx
import pytest

from carillon_client import NO_RETRIES, Retries, Unreachable
from carillon_client.retries import Turns, retry_after

MINUTE = Retries(
    max_attempts=10,
    first_wait=timedelta(seconds=1),
    longest_wait=timedelta(seconds=8),
    for_at_most=timedelta(seconds=60),
)


def turns(retries: Retries = MINUTE, *, chance: float = 1.0, now: float = 0.0) -> Turns:
    return Turns(retries, clock=lambda: now, chance=lambda: chance)


def answer(status: int, after: str | None = None, kind: str = "") -> httpx.Response:
    headers = {} if after is None else {"Retry-After": after}
    return httpx.Response(status, headers=headers, json={"type": f"urn:carillon:problem:{kind}"})


def waits(made: Turns, response: httpx.Response) -> list[float]:
    found = iter(lambda: made.after_answer(response), None)
    return [seconds for seconds in found if seconds is not None]


@pytest.mark.parametrize(
    ("chance", "expected"),
    [(1.0, [1, 2, 4, 8, 8, 8, 8, 8, 8]), (0.0, [0.5, 1, 2, 4, 4, 4, 4, 4, 4])],
)
def test_waits_double_up_to_the_longest_and_chance_halves_them_at_most(
    chance: float, expected: list[float]
) -> None:
    assert waits(turns(chance=chance), answer(503)) == expected


def test_what_the_server_asks_for_is_waited_whole() -> None:
    assert waits(turns(chance=0.0), answer(429, "5"))[:3] == [5, 5, 5]
    assert waits(turns(chance=1.0), answer(429, "5"))[:4] == [6, 6, 6, 8]


def test_a_wait_beyond_the_bound_ends_it_at_once() -> None:
    assert waits(turns(), answer(503, "3600")) == []


def test_the_bound_counts_from_the_first_attempt() -> None:
    now = [0.0]
    made = Turns(MINUTE, clock=lambda: now[0], chance=lambda: 1.0)

    early = made.after_answer(answer(503))
    now[0] = 59.0
    late = made.after_answer(answer(503))

    assert (early, late) == (1.0, None)


@pytest.mark.parametrize(
    ("response", "is_retried"),
    [
        (answer(429), True),
        (answer(502), True),
        (answer(503), True),
        (answer(504), True),
        (answer(409, kind="still-running"), True),
        (answer(409, kind="too-late"), False),
        (httpx.Response(409, text="Conflict"), False),
        (httpx.Response(503, text="Service Unavailable"), True),
        (answer(202), False),
        (answer(400), False),
        (answer(401), False),
        (answer(422), False),
        (answer(500), False),
    ],
)
def test_what_may_pass_is_asked_again_and_nothing_else(
    response: httpx.Response, is_retried: bool
) -> None:
    assert (turns().after_answer(response) is not None) == is_retried


def test_a_lost_connection_is_tried_again_and_in_the_end_said_with_its_key() -> None:
    made = turns(Retries(max_attempts=3))
    lost = httpx.ConnectError("refused")

    assert made.after_error(lost, "k") > 0
    assert made.after_error(lost, "k") > 0
    with pytest.raises(Unreachable, match="asked 3 times: refused") as caught:
        made.after_error(lost, "k")

    assert caught.value.idempotency_key == "k"


def test_without_retries_there_is_one_attempt() -> None:
    with pytest.raises(Unreachable, match="asked once"):
        turns(NO_RETRIES).after_error(httpx.ReadTimeout("slow"), None)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("0", timedelta(0)),
        ("7", timedelta(seconds=7)),
        ("99999999999999", timedelta(days=1)),
        ("-1", None),
        ("", None),
        ("soon", None),
        ("²", None),
        (format_datetime(datetime(2000, 1, 1, tzinfo=UTC), usegmt=True), timedelta(0)),
        (format_datetime(datetime(2200, 1, 1, tzinfo=UTC), usegmt=True), timedelta(days=1)),
    ],
)
def test_retry_after_is_read_in_both_forms(given: str, expected: timedelta | None) -> None:
    response = httpx.Response(503, headers=[(b"Retry-After", given.encode())])

    assert retry_after(response) == expected


@pytest.mark.parametrize(
    "wrong",
    [{"max_attempts": 0}, {"first_wait": timedelta(0)}, {"longest_wait": timedelta(seconds=-1)}],
)
def test_retries_that_cannot_be_are_refused(wrong: dict[str, timedelta]) -> None:
    with pytest.raises(ValueError, match="one attempt or more"):
        Retries(**wrong)  # type: ignore[arg-type]  # that is the test

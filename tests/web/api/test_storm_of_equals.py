"""Fifty equal requests at once with one idempotency key, key after key, against the real process.

One effect each and one answer; and the same while the process is killed and started again.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.builders import scalar, scalars
from tests.web.api.conftest import ORDER, Api
from tests.web_process import WebProcess

AT_ONCE = 50
ROUTES = [
    # A send's own key holds the others until the first is committed: they get its answer.
    pytest.param("/v1/messages", ORDER, {202}, id="message"),
    # Other effects tell the others that the first is still running.
    pytest.param("/v1/messages/bulk", {"messages": [ORDER]}, {202, 409}, id="bulk"),
]


@dataclass(frozen=True, kw_only=True)
class Size:
    """How much of it."""

    keys: int
    kills: int


SIZES = [
    pytest.param(Size(keys=4, kills=2), id="small"),
    pytest.param(Size(keys=100, kills=20), id="full", marks=pytest.mark.chaos),
]


@pytest.fixture
def web(shop: Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[WebProcess]:
    """The process, which lets one key ask as often as it likes."""
    monkeypatch.setenv("CARILLON_API_RATE_PER_KEY", "1000000")
    monkeypatch.setenv("CARILLON_API_RATE_PER_TEAM", "1000000")
    url = shop.engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
    with WebProcess(url, tmp_path) as made:
        made.start()
        yield made


@dataclass(frozen=True, kw_only=True)
class Caller:
    """Asks for one thing again and again."""

    client: httpx.Client
    path: str
    body: Any
    headers: dict[str, str]

    def ask(self, key: str) -> httpx.Response:
        headers = {**self.headers, "Idempotency-Key": key}
        return self.client.post(self.path, json=self.body, headers=headers)

    def insist(self, key: str) -> httpx.Response:
        """Like a service: the same again until there is an answer that is one."""
        while True:
            try:
                answer = self.ask(key)
            except httpx.TransportError:
                time.sleep(0.05)
                continue
            if answer.status_code != 409:
                return answer
            time.sleep(0.05)


@pytest.fixture
def http(web: WebProcess) -> Iterator[httpx.Client]:
    limits = httpx.Limits(max_connections=AT_ONCE)
    with httpx.Client(base_url=web.url, timeout=60, limits=limits) as client:
        yield client


@pytest.mark.parametrize(("path", "body", "statuses"), ROUTES)
@pytest.mark.parametrize("size", SIZES)
def test_fifty_equal_requests_at_once_have_one_effect_and_the_right_statuses(
    shop: Api, http: httpx.Client, size: Size, path: str, body: Any, statuses: set[int]
) -> None:
    caller = Caller(client=http, path=path, body=body, headers=shop.headers)
    seen: Counter[int] = Counter()

    with ThreadPoolExecutor(AT_ONCE) as pool:
        for number in range(size.keys):
            answers = list(pool.map(caller.ask, [f"k-{number}"] * AT_ONCE))
            made = [answer for answer in answers if answer.status_code == 202]
            first = [answer for answer in made if "idempotency-replayed" not in answer.headers]
            again = caller.ask(f"k-{number}")
            seen.update(answer.status_code for answer in answers)

            assert len(first) == 1
            assert {answer.text for answer in made} == {again.text}
            assert again.headers["idempotency-replayed"] == "true"

    print(f"\n{path}: {dict(seen)}")
    assert set(seen) <= statuses
    assert_one_effect_each(shop, size.keys)


@pytest.mark.parametrize(("path", "body", "statuses"), ROUTES)
@pytest.mark.parametrize("size", SIZES)
def test_fifty_equal_requests_through_kills_have_one_effect_and_one_answer(
    shop: Api,
    web: WebProcess,
    http: httpx.Client,
    size: Size,
    path: str,
    body: Any,
    statuses: set[int],
) -> None:
    caller = Caller(client=http, path=path, body=body, headers=shop.headers)
    answered = threading.Semaphore(0)
    texts: dict[str, set[str]] = {}

    def insist(key: str) -> None:
        answer = caller.insist(key)
        assert answer.status_code in statuses
        texts.setdefault(key, set()).add(answer.text)
        answered.release()

    keys = [f"k-{number}" for number in range(size.keys) for _ in range(AT_ONCE)]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        asked = [pool.submit(insist, key) for key in keys]
        for _ in range(size.kills):
            # Killed while others of the same keys are on their way, not after all are answered.
            for _ in range(len(keys) // (size.kills + 2)):
                answered.acquire()
            web.kill()
            web.start()
        for one in asked:
            one.result()

    assert {key: len(said) for key, said in texts.items()} == dict.fromkeys(texts, 1)
    assert_one_effect_each(shop, size.keys)


def assert_one_effect_each(shop: Api, keys: int) -> None:
    assert scalar(shop.engine, "SELECT count(*) FROM send") == keys
    assert scalar(shop.engine, "SELECT count(*) FROM outbox") == keys
    assert set(scalars(shop.engine, "SELECT messages FROM send")) == {1}

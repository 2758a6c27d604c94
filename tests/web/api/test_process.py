"""The web process itself: it stops in order, and what it was doing when it was killed is done once."""

from __future__ import annotations

import signal
import time
from concurrent.futures import ThreadPoolExecutor

import httpx

from tests.builders import scalar
from tests.web.api.conftest import ORDER, Api
from tests.web_process import WebProcess


def test_it_stops_in_order_and_its_log_names_no_key(shop: Api, web: WebProcess) -> None:
    process = web.start()
    answer = httpx.post(
        f"{web.url}/v1/messages",
        json=ORDER,
        headers={**shop.headers, "Idempotency-Key": "k"},
    )
    process.send_signal(signal.SIGTERM)

    assert answer.status_code == 202
    assert process.wait(30) == 0
    logged = web.log.read_text()
    assert "api.request" in logged
    assert shop.key.text not in logged


def test_equal_requests_through_a_kill_have_one_effect_and_one_answer(
    shop: Api, web: WebProcess
) -> None:
    web.start()
    body = {"messages": [ORDER | {"to": f"person-{n % 10 + 1}"} for n in range(200)]}
    headers = {**shop.headers, "Idempotency-Key": "k"}

    def insist(_: int) -> httpx.Response:
        while True:
            try:
                answer = httpx.post(
                    f"{web.url}/v1/messages/bulk",
                    json=body,
                    headers=headers,
                    timeout=60,
                )
            except httpx.HTTPError:
                time.sleep(0.1)
                continue
            if answer.status_code == 202:
                return answer
            assert answer.status_code in (409, 429), answer.text
            time.sleep(0.1)

    with ThreadPoolExecutor(20) as pool:
        asked = [pool.submit(insist, n) for n in range(20)]
        time.sleep(0.2)
        web.kill()
        web.start()
        answers = [one.result() for one in asked]

    assert len({answer.text for answer in answers}) == 1
    assert scalar(shop.engine, "SELECT count(*) FROM send") == 200
    assert scalar(shop.engine, "SELECT count(*) FROM outbox") == 200

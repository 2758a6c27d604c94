"""What callers put into a request stays a value: it opens no template, adds no header, leads nowhere inside."""

from __future__ import annotations

import socket
from collections.abc import Callable

from fastapi.testclient import TestClient

from domain.outcome import Outcome
from models.database import in_transaction
from models.team import default_team_id
from starter.api_keys import KeyWish, create_key
from tests.requests import CONTENT, a_shop, a_template
from tests.scenario import Scenario, wait_until
from web.site import create_site

WEBHOOK = {"webhook": {"": {"subject": "", "html": "", "text": "{{ order }}"}}}


def test_header_template_and_ssrf_injection_through_the_api(
    make_scenario: Callable[..., Scenario],
) -> None:
    made = make_scenario()
    a_shop(made.engine)
    in_transaction(made.engine, lambda c: a_template(c, "hook", content=CONTENT | WEBHOOK))
    secret = made.settings.api_secret.get_secret_value().encode()
    wish = KeyWish(name="tests", scopes=["admin"])
    key = in_transaction(
        made.engine, lambda c: create_key(c, secret, default_team_id(c), wish)
    ).text
    with socket.create_server(("127.0.0.1", 0)) as inside:
        inside.settimeout(0)
        port = inside.getsockname()[1]
        orders = {
            "template": {"to": "person-1", "variables": {"order": "{{ 7 * 7 }}{% raw %}"}},
            "header": {"to": "person-2", "variables": {"order": "A\r\nBcc: eve@example.org"}},
            "hook": {
                "template": "hook",
                "to": f"https://127.0.0.1:{port}/",
                "plan": "webhook",
                "variables": {"order": "A"},
            },
        }
        with TestClient(create_site(made.engine, made.settings)) as http:
            answers = {
                name: http.post(
                    "/v1/messages",
                    json={"template": "order-shipped"} | order,
                    headers={"Authorization": f"Bearer {key}", "Idempotency-Key": name},
                )
                for name, order in orders.items()
            }
            forged = http.post(
                "/v1/messages",
                json={"template": "order-shipped", "to": "a@example.org\r\nBcc: eve@example.org"},
                headers={"Authorization": f"Bearer {key}", "Idempotency-Key": "forged"},
            )
        made.workers.start("single", "transactional,upkeep", settings={"webhook_secret": "x" * 40})
        wait_until(lambda: made.value("SELECT count(*) FROM send WHERE closed_at IS NULL") == 0, 60)
        try:
            connected: object = inside.accept()
        except BlockingIOError:
            connected = None

    assert forged.status_code == 422
    assert {name: answer.status_code for name, answer in answers.items()} == dict.fromkeys(
        orders, 202
    )
    subjects = [one["subject"] for got in made.simulator.all_received().values() for one in got]
    assert subjects == ["Order {{ 7 * 7 }}{% raw %}"]
    assert connected is None
    assert made.values("SELECT outcome FROM delivery ORDER BY send_id") == [
        Outcome.ACCEPTED,
        Outcome.REJECTED,
        Outcome.REJECTED,
    ]

"""What a web application tells of its requests."""

from __future__ import annotations

import pytest
from fastapi import APIRouter, FastAPI
from starlette.testclient import TestClient

from observability.metrics import REGISTRY
from observability.web import Observed, metrics_route

TOKEN = "a-token-of-the-scraper"


@pytest.fixture
def client() -> TestClient:
    app = FastAPI()
    router = APIRouter(prefix="/v1")

    @router.get("/letters/{letter_id}")
    def letter(letter_id: str) -> dict[str, str]:
        return {"id": letter_id}

    @router.get("/broken")
    def broken() -> None:
        raise RuntimeError("broken")

    app.include_router(router)
    app.add_middleware(Observed)
    app.router.routes.append(metrics_route(TOKEN))
    return TestClient(app, raise_server_exceptions=False)


def counted(method: str, route: str, status: int) -> float:
    labels = {"method": method, "route": route, "status": str(status)}
    return REGISTRY.get_sample_value("carillon_http_requests_total", labels) or 0.0


def test_requests_are_counted_by_route_and_never_by_path(client: TestClient) -> None:
    before = counted("GET", "/v1/letters/{letter_id}", 200)

    for secret in ("token-one", "token-two"):
        client.get(f"/v1/letters/{secret}")
    shown = client.get("/metrics", headers={"Authorization": f"Bearer {TOKEN}"})

    assert counted("GET", "/v1/letters/{letter_id}", 200) == before + 2
    assert "token-one" not in shown.text
    assert 'carillon_http_seconds_count{route="/v1/letters/{letter_id}"}' in shown.text


def test_strangers_make_no_series(client: TestClient) -> None:
    before = counted("other", "other", 405), counted("GET", "other", 404)

    client.get("/no/such/page")
    client.request("BREW", "/no/such/page")

    assert counted("GET", "other", 404) == before[1] + 1
    assert (
        REGISTRY.get_sample_value(
            "carillon_http_requests_total", {"method": "BREW", "route": "other", "status": "404"}
        )
        is None
    )


def test_an_error_is_counted_as_500(client: TestClient) -> None:
    before = counted("GET", "/v1/broken", 500)

    answer = client.get("/v1/broken")

    assert answer.status_code == 500
    assert counted("GET", "/v1/broken", 500) == before + 1


@pytest.mark.parametrize(
    ("given", "is_kept"),
    [("order-17.a_b", True), ("", False), ("a b", False), ("x" * 65, False), ("<script>", False)],
)
def test_the_callers_request_id_is_kept_where_it_is_a_short_word(
    client: TestClient, given: str, is_kept: bool
) -> None:
    answer = client.get("/v1/letters/1", headers={"X-Request-Id": given} if given else {})

    shown = answer.headers["X-Request-Id"]
    assert (shown == given) is is_kept
    assert is_kept or shown.startswith("req_")


@pytest.mark.parametrize("shown", ["", "Bearer ", "Bearer wrong", TOKEN])
def test_metrics_are_not_there_for_who_does_not_show_the_token(
    client: TestClient, shown: str
) -> None:
    assert client.get("/metrics", headers={"Authorization": shown}).status_code == 404


def test_without_a_token_there_is_no_such_page() -> None:
    app = FastAPI()
    app.router.routes.append(metrics_route(""))

    answer = TestClient(app).get("/metrics", headers={"Authorization": "Bearer "})

    assert answer.status_code == 404

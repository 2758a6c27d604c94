"""What a web application mounts: request ids, metrics and spans for each request, and /metrics."""

from __future__ import annotations

import hmac
import time
from typing import Any
from uuid import uuid4

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from observability import metrics, tracing
from observability.logs import logged_with
from observability.pages import metrics_page

REQUEST_ID = "X-Request-Id"
OTHER = "other"
"""Label of paths that no route has and of methods that nobody uses: strangers choose those."""
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Observed:
    """ASGI middleware: `app.add_middleware(Observed)`. Paths are told by their route, never as given.

    `scope["state"]["request_id"]` is the request's id: the caller's own, where it is a short word.
    Log lines and spans made meanwhile have it.
    """

    def __init__(self, app: ASGIApp) -> None:
        """`app`: what answers."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, and tell what came of it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _request_id(scope)
        scope.setdefault("state", {})["request_id"] = request_id
        status, started = 500, time.perf_counter()

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message.setdefault("headers", []).append(
                    (REQUEST_ID.lower().encode(), request_id.encode())
                )
            await send(message)

        method = scope["method"] if scope["method"] in _METHODS else OTHER
        with (
            logged_with(request_id=request_id),
            tracing.continued(_header(scope, b"traceparent")),
            tracing.span(f"HTTP {method}", {"http.request.method": method}, is_server=True) as made,
        ):
            try:
                await self._app(scope, receive, noted)
            finally:
                route = _route(scope)
                if made is not None:
                    made.update_name(f"{method} {route}")
                    made.set_attributes({"http.route": route, "http.response.status_code": status})
                    made.set_attribute("carillon.request_id", request_id)
                metrics.HTTP_REQUESTS.labels(method, route, status).inc()
                metrics.HTTP_SECONDS.labels(route).observe(time.perf_counter() - started)


def metrics_route(token: str) -> Route:
    """GET /metrics for who shows this bearer token; without a token there is no such page.

    For pages that strangers reach. Inside, CARILLON_METRICS_PORT is a port of its own.
    """

    def answer(request: Request) -> Response:
        shown = request.headers.get("authorization", "")
        if not token or not hmac.compare_digest(shown.encode(), f"Bearer {token}".encode()):
            return Response(status_code=404)
        page = metrics_page()
        return Response(page.body, page.status, media_type=page.media_type)

    return Route("/metrics", answer, methods=["GET"], include_in_schema=False)


def _request_id(scope: Scope) -> str:
    given = _header(scope, REQUEST_ID.lower().encode()) or ""
    is_word = 0 < len(given) <= 64 and all(c.isalnum() or c in "-_.:" for c in given)
    return given if is_word and given.isascii() else f"req_{uuid4().hex}"


def _header(scope: Scope, name: bytes) -> str | None:
    for key, value in scope["headers"]:
        if key == name:
            return str(value.decode("latin-1"))
    return None


def _route(scope: Scope) -> str:
    route: Any = scope.get("route")
    return str(getattr(route, "path", "") or OTHER)

"""Around every request: its log line, the headers that go out, and what nobody foresaw."""

from __future__ import annotations

import logging
import time
import traceback

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from web.api.problem import Problem, problem_response

log = logging.getLogger("web.api")

_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


class Frame:
    """ASGI middleware inside `observability.web.Observed`, which gives the request its id, so that also
    a 500 has its shape."""

    def __init__(self, app: ASGIApp) -> None:
        """Around `app`."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        state = scope["state"]
        state["answer_headers"] = {}
        began, status = time.monotonic(), 0

        async def framed(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                extra = {**_HEADERS, **state["answer_headers"]}
                present = {name.lower() for name, _ in message.get("headers", [])}
                message["headers"] = [
                    *message.get("headers", []),
                    *(
                        (name.lower().encode(), value.encode())
                        for name, value in extra.items()
                        if name.lower().encode() not in present
                    ),
                ]
            await send(message)

        try:
            await self._app(scope, receive, framed)
        except Exception as error:  # the edge
            # Where, not what: texts of errors hold addresses and values.
            where = "".join(traceback.format_tb(error.__traceback__))
            log.error(
                "api.failed",
                extra={"error": type(error).__name__, "traceback": where},
            )
            if status:  # the answer is on its way already: cut it off
                raise
            problem = Problem(500, "internal", "Something went wrong here; it has been logged.")
            answer = problem_response(
                problem, instance=scope["path"], request_id=state["request_id"]
            )
            await answer(scope, receive, framed)
        finally:
            _log(scope, status, time.monotonic() - began)


def _log(scope: Scope, status: int, seconds: float) -> None:
    # The route, not the path: ids and addresses that people put there belong into no log.
    route = getattr(scope.get("route"), "path", "")
    log.info(
        "api.request",
        extra={
            "method": scope["method"],
            "route": route,
            "status": status,
            "milliseconds": round(seconds * 1000, 1),
            "key_id": scope["state"].get("key_id"),
        },
    )

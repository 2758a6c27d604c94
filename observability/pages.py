"""The pages of a process for machines: /livez, /readyz and /metrics, on a port of their own.

Temporal's SDK shows its metrics on a port that it opens itself, on this machine only; /metrics
passes them on behind ours, so that a process is one target.
"""

from __future__ import annotations

import logging
import socket
import threading
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

import orjson
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from temporalio.runtime import PrometheusConfig, Runtime, TelemetryConfig

from observability.metrics import REGISTRY

log = logging.getLogger(__name__)

SDK_TIMEOUT_SECONDS = 2.0
_JSON = "application/json"


class Page(NamedTuple):
    """An answer: HTTP status, media type, body."""

    status: int
    media_type: str
    body: bytes


Pages = Mapping[str, Callable[[], Page]]
"""By path."""


class CannotListen(Exception):
    """The port for metrics is not ours to have; the message is one sentence."""


def metrics_page(sdk_address: str | None = None) -> Page:
    """Everything this process counts; with the SDK's own metrics, where it shows them."""
    body = generate_latest(REGISTRY)
    if sdk_address is not None:
        body += _sdk_metrics(sdk_address)
    return Page(200, CONTENT_TYPE_PLAIN_0_0_4, body)


def health_pages(
    wedged: Callable[[], bool], problems: Sequence[Callable[[], str]]
) -> dict[str, Callable[[], Page]]:
    """/livez is the process alone, /readyz all that it needs; a problem is one word, or empty."""

    def alive() -> Page:
        return _said(503, status="wedged") if wedged() else _said(200, status="alive")

    def ready() -> Page:
        for problem in problems:
            if why := problem():
                log.warning("process.not_ready", extra={"why": why})
                return _said(503, status="not ready", why=why)
        return _said(200, status="ready")

    return {"/livez": alive, "/readyz": ready}


def expose_sdk_metrics() -> str:
    """Make the Temporal SDK of this process count, and show it here: host:port. Before any client."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    config = PrometheusConfig(
        bind_address=address,
        counters_total_suffix=True,
        unit_suffix=True,
        durations_as_seconds=True,
    )
    Runtime.set_default(Runtime(telemetry=TelemetryConfig(metrics=config)))
    return address


def serve(host: str, port: int, pages: Pages) -> ThreadingHTTPServer:
    """Answer GET and HEAD for these paths in threads until the process ends. Raises CannotListen."""

    class Handler(BaseHTTPRequestHandler):
        timeout = 10

        def do_GET(self) -> None:
            self._answer(with_body=True)

        def do_HEAD(self) -> None:
            self._answer(with_body=False)

        def log_message(self, *_: object) -> None:
            """A scrape every few seconds is no news."""

        def _answer(self, *, with_body: bool) -> None:
            made = pages.get(self.path.partition("?")[0])
            page = made() if made else _said(404, status="not found")
            self.send_response(page.status)
            self.send_header("Content-Type", page.media_type)
            self.send_header("Content-Length", str(len(page.body)))
            self.end_headers()
            if with_body:
                self.wfile.write(page.body)

    try:
        server = ThreadingHTTPServer((host, port), Handler)
    except OSError as error:
        raise CannotListen(
            f"CARILLON_METRICS_PORT: cannot listen on {host}:{port}: {error.strerror}"
        ) from error
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, name="metrics", daemon=True).start()
    return server


def _said(code: int, **words: str) -> Page:
    return Page(code, _JSON, orjson.dumps(words))


def _sdk_metrics(address: str) -> bytes:
    try:
        with urllib.request.urlopen(
            f"http://{address}/metrics", timeout=SDK_TIMEOUT_SECONDS
        ) as answer:
            found: bytes = answer.read()
    except OSError:
        log.warning("sdk_metrics.not_read")
        return b""
    return found

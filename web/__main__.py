"""python -m web: serves API and public pages, once the database has the schema of this version."""

from __future__ import annotations

import contextlib
import logging
import signal
import sys
import time
from datetime import timedelta

import uvicorn
from sqlalchemy import Engine

import settings as settings_module
from domain.address_key import address_key
from models.database import DatabaseUnreachable, connect, reach
from models.schema import SchemaNotAtHead, require_head
from observability import log_to_stderr
from observability.pages import CannotListen, health_pages, metrics_page, serve
from observability.tracing import trace_to
from observability.worker_health import database_problem
from production import require_production
from settings import Settings, SettingsError
from web.api.import_runner import ImportRunner
from web.site import Site, create_site

log = logging.getLogger("web")

LOOK_EVERY_SECONDS = 1.0
GRACE_SECONDS = 15
"""For requests under way when the process is told to stop."""
CONCURRENCY = 1000
"""Connections of one process; more are answered with 503 at once."""


def main() -> int:
    """Serve until SIGTERM or SIGINT; the exit code."""
    try:
        settings = settings_module.load()
        log_to_stderr(settings.log_level, settings.log_format)
        _check(settings)
    except SettingsError as error:
        sys.stderr.write(f"carillon web: {error}\n")
        return 1
    engine = _engine(settings)
    _wait_for_schema(engine)
    engine.dispose()
    # uvicorn raises the signal again once it has stopped; an orderly stop is exit code 0.
    signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        _serve(settings)
    except CannotListen as error:
        sys.stderr.write(f"carillon web: {error}\n")
        return 1
    return 0


def _serve(settings: Settings) -> None:
    uvicorn.run(
        "web.__main__:site",
        factory=True,
        # asyncio's own loop does not say TCP_NODELAY on a socket that several processes share: 40 ms.
        loop="uvloop",
        workers=settings.api_processes,
        host=settings.web_host,
        port=settings.web_port,
        # Tokens are in the paths: they belong into no log.
        access_log=False,
        log_config=None,
        server_header=False,
        timeout_keep_alive=10,
        limit_concurrency=CONCURRENCY,
        backlog=512,
        h11_max_incomplete_event_size=16_384,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )


def site() -> Site:
    """What one process serves; uvicorn calls it in each of them. Raises CannotListen."""
    settings = settings_module.load()
    log_to_stderr(settings.log_level, settings.log_format)
    trace_to(settings.otlp_endpoint, "carillon-web")
    engine = _engine(settings)
    if settings.metrics_port:
        _show_metrics(settings, engine)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    return create_site(engine, settings, beside=[ImportRunner(_import_engine(settings))])


def _import_engine(settings: Settings) -> Engine:
    """For the thread that imports: one session that claims, one that stages, two that write."""
    return connect(
        settings.database_url,
        pool_size=2,
        application_name="carillon imports",
        address_key=address_key(settings.link_secret.get_secret_value().encode()),
    )


def _show_metrics(settings: Settings, engine: Engine) -> None:
    """On the first port that none of the other processes has; one that is started again takes the
    port of the one that ended."""
    health = health_pages(lambda: False, [lambda: database_problem(engine)])
    pages = {"/metrics": metrics_page, **health}
    last = settings.metrics_port + settings.api_processes - 1
    for port in range(settings.metrics_port, last):
        with contextlib.suppress(CannotListen):
            serve(settings.metrics_host, port, pages)
            return
    serve(settings.metrics_host, last, pages)


def _engine(settings: Settings) -> Engine:
    return connect(
        settings.database_url,
        pool_size=settings.api_connections,
        application_name="carillon web",
        address_key=address_key(settings.link_secret.get_secret_value().encode()),
        statement_timeout=timedelta(seconds=20),
        pool_timeout=5,
    )


def _check(settings: Settings) -> None:
    """Raises SettingsError where these pages must not be served."""
    require_production(settings)
    if not settings.database_url:
        raise SettingsError("CARILLON_DATABASE_URL: API and public pages need a database")
    if not settings.public_url.startswith("https://"):
        return
    for name, why in (
        ("link_secret", "before real recipients get links"),
        ("api_secret", "before real services get API keys"),
    ):
        secret = getattr(settings, name).get_secret_value()
        default = Settings.model_fields[name].default.get_secret_value()
        if secret in (default, ""):
            raise SettingsError(f"CARILLON_{name.upper()}: set a secret of your own {why}")


def _wait_for_schema(engine: Engine) -> None:
    """Return when the database answers and is at head; each new reason to wait is logged once."""
    said = ""
    while True:
        try:
            reach(engine)
            require_head(engine)
        except (DatabaseUnreachable, SchemaNotAtHead) as error:
            if str(error) != said:
                said = str(error)
                log.warning("web.waiting", extra={"reason": said})
            time.sleep(LOOK_EVERY_SECONDS)
        else:
            return


if __name__ == "__main__":
    raise SystemExit(main())

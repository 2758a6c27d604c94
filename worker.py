"""The composition root of workers: builds what activities need, and runs them by role.

python -m worker --roles orchestration,campaign,upkeep [--processes N]
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import uvloop
from temporalio.client import Client
from temporalio.service import RPCError

from activities.fail_points import Reached, pass_by
from composition import Composition
from domain.address_key import address_key
from models.database import DatabaseUnreachable, connect, in_transaction, reach
from models.schema import SchemaNotAtHead, require_head
from observability import log_to_stderr
from observability.metrics import REGISTRY
from observability.pages import CannotListen, expose_sdk_metrics, metrics_page, serve
from observability.rows import RowCollector
from observability.tracing import trace_to
from observability.worker_health import WorkerHealth
from production import require_production
from settings import Settings, SettingsError
from starter import context
from starter.accounts import keep_accounts
from starter.client import (
    TemporalUnreachable,
    ensure_namespace,
    ensure_search_attributes,
    ensure_upkeep,
)
from starter.client import connect as connect_temporal
from starter.stored_accounts import require_credential_keys
from workflows.contract import (
    UPKEEP_TASKS,
)

log = logging.getLogger("worker")

ROLES = ("orchestration", "transactional", "campaign", "upkeep")
ENSURE_EVERY = 10.0


async def run_roles(settings: Settings, roles: Sequence[str], reached: Reached = pass_by) -> None:
    """Run the workers of these roles until SIGTERM or SIGINT, then let them finish what is open."""
    pool = settings.batches_per_process * 3 + settings.groups_per_process * 3 + 12
    if "campaign" in roles and "transactional" not in roles:
        # A process that also sends single messages must not stand back for its own sake.
        os.nice(settings.campaign_nice)
    engine = connect(
        settings.database_url,
        pool_size=pool,
        application_name="carillon worker",
        address_key=address_key(settings.link_secret.get_secret_value().encode()),
    )
    reach(engine)
    require_head(engine)
    in_transaction(engine, lambda connection: keep_accounts(connection, settings))
    with engine.connect() as connection:
        require_credential_keys(connection, settings)
    # Before the first client: it counts on the runtime that is there then.
    sdk_metrics = expose_sdk_metrics() if settings.metrics_port else None
    client = await _wait_for_temporal(settings)
    composition = Composition(settings, engine, client, reached)
    workers = [composition.worker(role) for role in roles]
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with contextlib.AsyncExitStack() as running:
        if sdk_metrics is not None:
            rows = RowCollector(engine) if "upkeep" in roles else None
            health = WorkerHealth(engine, client, workers)
            running.enter_context(_shown(settings, health, rows, sdk_metrics))
        for worker in workers:
            await running.enter_async_context(worker)
        gathering: asyncio.Task[None] | None = None
        if "transactional" in roles:
            gathering = asyncio.create_task(composition.gatherer.run())
            running.callback(gathering.cancel)
            # Without it messages would wait for ever: who loses it ends, and is started anew.
            gathering.add_done_callback(lambda _: stop.set())
        if "upkeep" in roles:
            ensuring = asyncio.create_task(_ensure_upkeep(client, settings))
            running.callback(ensuring.cancel)
        log.info("worker.ready", extra={"roles": list(roles)})
        _tell_ready()
        await stop.wait()
        log.info("worker.stopping")
        if gathering is not None and gathering.done():
            gathering.result()
    engine.dispose()


@contextlib.contextmanager
def _shown(
    settings: Settings, health: WorkerHealth, rows: RowCollector | None, sdk_metrics: str
) -> Iterator[None]:
    """Serve /metrics, /livez and /readyz meanwhile. One role of all asks the rows: `rows`."""
    if rows is not None:
        REGISTRY.register(rows)
    pages = {"/metrics": lambda: metrics_page(sdk_metrics), **health.pages()}
    server = serve(settings.metrics_host, settings.metrics_port, pages)
    beating = asyncio.create_task(health.beat())
    try:
        yield
    finally:
        beating.cancel()
        server.shutdown()


async def _wait_for_temporal(settings: Settings) -> Client:
    """A client, as soon as Temporal answers; a minute at most."""
    end = time.monotonic() + 60
    while True:
        try:
            return await connect_temporal(settings)
        except TemporalUnreachable:
            if time.monotonic() > end:
                raise
            await asyncio.sleep(1)


async def _ensure_upkeep(client: Client, settings: Settings) -> None:
    """Outside Temporal, so that it survives the loss of all its data: make and start what must be."""
    while True:
        try:
            await ensure_namespace(client)
            await ensure_search_attributes(client)
            for name in UPKEEP_TASKS:
                await ensure_upkeep(client, name, settings.seconds("heartbeat_timeout"))
        except RPCError as error:
            log.warning("upkeep.not_ensured", extra={"reason": error.message})
        await asyncio.sleep(min(ENSURE_EVERY, settings.reconcile_every))


def _tell_ready() -> None:
    """Touch the file that a supervisor waits for."""
    path = os.environ.get("CARILLON_READY_FILE")
    if path:
        Path(path).touch()


def run(roles: Sequence[str], processes: int = 1) -> int:
    """Run these roles in this process, or in `processes` of their own that are started again when
    they die. Returns an exit code."""
    try:
        settings = context.settings()
        log_to_stderr(settings.log_level, settings.log_format)
        require_production(settings)
        if processes > 1:
            return _run_processes(roles, processes, settings.metrics_port)
        trace_to(settings.otlp_endpoint, f"carillon-worker-{'-'.join(roles)}")
        uvloop.run(run_roles(settings, roles))
    except (
        SettingsError,
        DatabaseUnreachable,
        SchemaNotAtHead,
        TemporalUnreachable,
        CannotListen,
    ) as error:
        log.error("worker.cannot_start", extra={"reason": str(error)})
        return 1
    return 0


def _run_processes(roles: Sequence[str], processes: int, metrics_port: int) -> int:
    def start(number: int) -> subprocess.Popen[bytes]:
        """Each has a port of its own for metrics, if any."""
        command = [sys.executable, "-m", "worker", "--roles", ",".join(roles)]
        port = metrics_port + number if metrics_port else 0
        environment = {**os.environ, "CARILLON_METRICS_PORT": str(port)}
        return subprocess.Popen(command, env=environment)  # noqa: S603  our own command

    running = [start(number) for number in range(processes)]
    stopping = False

    def stop(*_: object) -> None:
        nonlocal stopping
        stopping = True

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    while not stopping:
        for at, process in enumerate(running):
            if process.poll() is not None:
                log.warning("worker.died", extra={"code": process.returncode})
                running[at] = start(at)
        time.sleep(1)
    for process in running:
        process.terminate()
    return max(process.wait() for process in running)


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--roles", default=",".join(ROLES))
    parser.add_argument("--processes", type=int, default=1)
    given = parser.parse_args()
    roles = [role.strip() for role in given.roles.split(",")]
    unknown = [role for role in roles if role not in ROLES]
    if unknown:
        parser.error(f"unknown role {unknown[0]!r}; there are: {', '.join(ROLES)}")
    return run(roles, given.processes)


if __name__ == "__main__":
    raise SystemExit(main())

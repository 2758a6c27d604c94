"""Each part of the development stack as a service: its command line, when it is ready, how it stops."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path

from settings import PREFIX, Settings
from stack import postgres
from stack.child import Service
from stack.ports import Port, accepts, reachable
from stack.running import run_dir

# Tiers: databases first, the schema next, then what works with it.
SERVERS, SCHEMA, APPLICATION = 0, 1, 2


def log_dir(data_dir: Path) -> Path:
    """Where the parts' logs are."""
    return data_dir / "logs"


def postgres_service(
    data_dir: Path, cluster: postgres.Cluster, say: Callable[[str], None]
) -> Service:
    """The embedded PostgreSQL."""
    return Service(
        name="postgres",
        argv=cluster.argv,
        env=cluster.environment,
        log_path=log_dir(data_dir) / "postgres.log",
        prepare=lambda: postgres.prepare(cluster, say),
        is_ready=lambda: postgres.is_ready(cluster),
        is_answering=lambda: postgres.is_answering(cluster),
        # Fast shutdown: sessions are ended, a checkpoint is written.
        stop_signal=signal.SIGINT,
        stop_timeout=timedelta(seconds=5),
        # A server asked to stop while it recovers from a killed backend may wait for ever (seen in 18.4).
        harder_signal=signal.SIGQUIT,
        account=cluster.place.account,
        tier=SERVERS,
    )


def simulator_service(
    settings: Settings, environment: Mapping[str, str], faults: Path | None
) -> Service:
    """The providers' stand-ins."""
    ports = {
        "--port": settings.simulator_port,
        "--sendgrid-port": settings.simulator_sendgrid_port,
        "--smtp-port": settings.simulator_smtp_port,
        "--twilio-port": settings.simulator_twilio_port,
        "--webhook-port": settings.simulator_webhook_port,
    }
    options = [part for option, port in ports.items() for part in (option, str(port))]
    host = reachable(settings.simulator_host)
    return Service(
        name="simulator",
        argv=_python(
            "simulator",
            "--data-dir",
            str(settings.data_dir),
            "--host",
            settings.simulator_host,
            *options,
            *(["--faults", str(faults)] if faults else []),
        ),
        env=environment,
        log_path=log_dir(settings.data_dir) / "simulator.log",
        is_ready=lambda: all(accepts(host, port) for port in ports.values()),
        tier=SERVERS,
    )


def migrations_service(settings: Settings, environment: Mapping[str, str]) -> Service:
    """The schema, brought up to date once."""
    return Service(
        name="migrations",
        argv=_python("starter.cli", "db", "upgrade"),
        env=environment,
        log_path=log_dir(settings.data_dir) / "migrations.log",
        is_ready=lambda: False,
        runs_once=True,
        start_timeout=timedelta(minutes=10),
        tier=SCHEMA,
    )


def worker_services(settings: Settings, environment: Mapping[str, str]) -> list[Service]:
    """One process for workflows and upkeep, others for single messages, others that send campaigns."""
    counted = {
        "transactional": settings.transactional_processes,
        "campaign": settings.worker_processes,
    }
    roles = {"worker-orchestration": "orchestration,upkeep"} | {
        f"worker-{role}-{number}": role
        for role, processes in counted.items()
        for number in range(1, processes + 1)
    }
    return [
        _worker(settings, _with_metrics(settings, environment, number), name, given)
        for number, (name, given) in enumerate(roles.items())
    ]


def _workers(settings: Settings) -> int:
    return 1 + settings.transactional_processes + settings.worker_processes


def metrics_ports(settings: Settings) -> list[Port]:
    """Of the workers in their order, then of the web pages; none while they are off."""
    processes = _workers(settings) + settings.api_processes
    return [
        Port(
            number=settings.metrics_port + number,
            what="metrics",
            variable=f"{PREFIX}METRICS_PORT",
            host=settings.metrics_host,
        )
        for number in range(processes if settings.metrics_port else 0)
    ]


def _with_metrics(
    settings: Settings, environment: Mapping[str, str], number: int
) -> dict[str, str]:
    ports = metrics_ports(settings)
    port = ports[number].number if ports else 0
    return {**environment, f"{PREFIX}METRICS_PORT": str(port)}


def web_service(settings: Settings, environment: Mapping[str, str]) -> Service:
    """The HTTP API and the public pages."""
    host = reachable(settings.web_host)
    return Service(
        name="web",
        argv=_python("web"),
        # Further processes of it take the next ports by themselves.
        env=_with_metrics(settings, environment, _workers(settings)),
        log_path=log_dir(settings.data_dir) / "web.log",
        is_ready=lambda: accepts(host, settings.web_port),
        # Requests under way are answered before it ends.
        stop_timeout=timedelta(seconds=20),
        tier=APPLICATION,
    )


def _worker(settings: Settings, environment: Mapping[str, str], name: str, roles: str) -> Service:
    ready_file = run_dir(settings.data_dir) / f"{name}.ready"
    return Service(
        name=name,
        argv=_python("worker", "--roles", roles),
        env={**environment, "CARILLON_READY_FILE": str(ready_file)},
        log_path=log_dir(settings.data_dir) / f"{name}.log",
        prepare=lambda: ready_file.unlink(missing_ok=True),
        is_ready=ready_file.exists,
        # A batch under way is finished or given back; requests may take 30 s to be answered.
        stop_timeout=timedelta(seconds=settings.request_timeout + 10),
        tier=APPLICATION,
    )


def _python(module: str, *arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-P", "-m", module, *arguments)

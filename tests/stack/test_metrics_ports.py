"""Every process of the stack that shows metrics has a port of its own."""

from __future__ import annotations

from pathlib import Path

import settings as settings_module
from settings import Settings
from stack.addresses import environment_of, without_outside
from stack.parts import metrics_ports, web_service, worker_services

VARIABLE = "CARILLON_METRICS_PORT"


def settings_with(tmp_path: Path, metrics_port: int) -> Settings:
    return settings_module.load(
        data_dir=tmp_path,
        metrics_port=metrics_port,
        transactional_processes=2,
        worker_processes=3,
        _env_file=None,
    )


def given_ports(settings: Settings) -> dict[str, str]:
    """By process."""
    environment = environment_of(settings, isolated=True)
    services = [*worker_services(settings, environment), web_service(settings, environment)]
    return {service.name: service.env[VARIABLE] for service in services}


def test_the_processes_take_the_port_and_those_after_it(tmp_path: Path) -> None:
    settings = settings_with(tmp_path, 9464)

    assert given_ports(settings) == {
        "worker-orchestration": "9464",
        "worker-transactional-1": "9465",
        "worker-transactional-2": "9466",
        "worker-campaign-1": "9467",
        "worker-campaign-2": "9468",
        "worker-campaign-3": "9469",
        "web": "9470",
    }
    assert [port.number for port in metrics_ports(settings)] == list(range(9464, 9471))


def test_without_a_port_nobody_listens(tmp_path: Path) -> None:
    settings = settings_with(tmp_path, 0)

    assert set(given_ports(settings).values()) == {"0"}
    assert metrics_ports(settings) == []


def test_the_demo_shows_and_sends_nothing_whatever_the_environment_says(tmp_path: Path) -> None:
    settings = settings_with(tmp_path, 9464).model_copy(
        update={"otlp_endpoint": "http://collector.example:4318"}
    )

    isolated = without_outside(settings)

    assert (isolated.metrics_port, isolated.otlp_endpoint) == (0, "")

"""A taken port is named, with its variable and with who holds it."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from settings import load
from stack.development import DevelopmentStack
from stack.errors import StackError
from stack.ports import NEVER_OUTGOING, Port, check_ports, free_port, free_ports


@pytest.fixture
def taken() -> Callable[[], int]:
    held = socket.create_server(("127.0.0.1", 0))
    return lambda: int(held.getsockname()[1])


def test_the_sentence_names_port_part_variable_and_holder(taken: Callable[[], int]) -> None:
    port = Port(number=taken(), what="Temporal UI", variable="CARILLON_TEMPORAL_UI_PORT")

    with pytest.raises(StackError) as refused:
        check_ports([port])

    name = psutil.Process().name()
    assert str(refused.value) == (
        f"port {port.number} (Temporal UI, CARILLON_TEMPORAL_UI_PORT) is taken "
        f"by process '{name}' (pid {os.getpid()})"
    )


def test_every_taken_port_is_named_at_once(taken: Callable[[], int]) -> None:
    ports = [Port(number=taken(), what=what, variable="X") for what in ("one", "two")]

    with pytest.raises(StackError, match=r"(?s)\(one, X\).*\(two, X\)"):
        check_ports(ports)


def test_a_free_port_passes() -> None:
    check_ports([Port(number=free_port(), what="web", variable="CARILLON_WEB_PORT")])


def test_free_ports_differ() -> None:
    assert len(set(free_ports(20))) == 20


def test_no_outgoing_connection_is_given_a_free_port() -> None:
    assert set(free_ports(20)) <= set(NEVER_OUTGOING)


def test_a_stack_does_not_start_on_a_taken_port(taken: Callable[[], int], data_dir: Path) -> None:
    settings = load(data_dir=data_dir, temporal_port=taken(), temporal_ui_port=free_port())
    stack = DevelopmentStack(settings, parts={"temporal"})

    with pytest.raises(StackError, match="CARILLON_TEMPORAL_PORT"):
        stack.start()

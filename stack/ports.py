"""TCP ports of the stack: who holds a taken one, and which are free."""

from __future__ import annotations

import itertools
import random
import socket
from collections.abc import Iterable
from dataclasses import dataclass

import psutil

from stack.errors import StackError

CONNECT_TIMEOUT_SECONDS = 0.5

# Linux gives outgoing connections 32768–60999, macOS 49152–65535, unless told otherwise.
NEVER_OUTGOING = range(20_000, 32_000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Port:
    """A port that a part listens on, and the variable that moves it."""

    number: int
    what: str
    variable: str
    host: str = "127.0.0.1"


def check_ports(ports: Iterable[Port]) -> None:
    """Raises StackError with a sentence for each port that cannot be listened on."""
    problems = [problem for port in ports if (problem := problem_with(port))]
    if problems:
        raise StackError("\n".join(problems))


def problem_with(port: Port) -> str:
    """Why the port cannot be listened on, and by whom it is held; empty when it is free."""
    named = f"port {port.number} ({port.what}, {port.variable})"
    # macOS lets us bind beside a listener on all addresses: asking it tells.
    if accepts(reachable(port.host), port.number):
        return f"{named} is taken{_by_whom(port.number)}"
    with socket.socket(_family(port.host), socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((port.host, port.number))
        except PermissionError:
            return f"{named} may not be used by this user: choose one above 1023"
        except OSError as error:
            return f"{named} cannot be used on {port.host}: {error.strerror}{_by_whom(port.number)}"
    return ""


def accepts(host: str, number: int) -> bool:
    """Whether somebody accepts connections there."""
    try:
        with socket.create_connection((host, number), timeout=CONNECT_TIMEOUT_SECONDS):
            return True
    except OSError:
        return False


def reachable(host: str) -> str:
    """The address under which this machine reaches what listens on `host`."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(host, host)  # noqa: S104


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on now."""
    return free_ports(1)[0]


def free_ports(count: int) -> list[int]:
    """Different free ports of 127.0.0.1, of those that are not given to outgoing connections.

    Port 0 would give one of these, and until our part listens any connection may take it.
    """
    numbers = random.sample(NEVER_OUTGOING, len(NEVER_OUTGOING))
    free = (
        number for number in numbers if not problem_with(Port(number=number, what="", variable=""))
    )
    return list(itertools.islice(free, count))


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def _by_whom(number: int) -> str:
    try:
        for connection in psutil.net_connections(kind="tcp"):
            if (
                connection.status == psutil.CONN_LISTEN
                and connection.laddr
                and connection.laddr.port == number
            ):
                if connection.pid is None:
                    return ""
                name = psutil.Process(connection.pid).name()
                return f" by process '{name}' (pid {connection.pid})"
    except (psutil.AccessDenied, psutil.NoSuchProcess):
        pass  # macOS tells only root who listens
    return ""

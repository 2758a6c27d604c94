"""The journal is evidence: what was acknowledged is in it, whatever happened to the simulator."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from simulator.journal import Journal
from tests.simulator.simulator_process import SimulatorProcess, a_body, a_message, a_person

Start = Callable[..., SimulatorProcess]


def test_a_killed_simulator_has_lost_nothing_it_acknowledged(start_simulator: Start) -> None:
    first = start_simulator()
    first.send(a_body(a_person("before@example.com")))
    with first.smtp() as talk:
        talk.deliver(a_message(), "smtp@example.com")
    first.stop(signal.SIGKILL)

    second = start_simulator()
    second.send(a_body(a_person("after@example.com")))

    expected = ["before@example.com", "smtp@example.com", "after@example.com"]
    assert second.recipients() == expected


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_it_cleanly_even_with_a_request_that_hangs(
    start_simulator: Start, number: int
) -> None:
    simulator = start_simulator()
    simulator.faults({"provider": "smtp", "kind": "accept_then_hang"})
    with simulator.smtp() as talk:
        talk.begin()
        talk.write(a_message() + b".\r\n")

        assert simulator.stop(number) == 0

    assert "simulator.stopped" in simulator.log_text
    assert "Traceback" not in simulator.log_text


def test_a_port_that_is_taken_is_said_in_one_line(
    simulator: SimulatorProcess, start_simulator: Start
) -> None:
    with pytest.raises(AssertionError, match=r"simulator: .*address already in use"):
        start_simulator("--smtp-port", str(simulator.smtp_port))


def test_reset_empties_it_and_the_next_line_is_the_first(simulator: SimulatorProcess) -> None:
    simulator.send(a_body(a_person("old@example.com")))

    simulator.client.post(f"{simulator.inbox_url}/control/reset").raise_for_status()
    simulator.send(a_body(a_person("new@example.com")))

    assert simulator.recipients() == ["new@example.com"]
    assert simulator.client.get(f"{simulator.inbox_url}/api/stats").json()["received"] == 1


def test_a_page_of_another_site_cannot_reset_it(simulator: SimulatorProcess) -> None:
    simulator.send(a_body())
    url, headers = f"{simulator.inbox_url}/control/reset", {"Sec-Fetch-Site": "cross-site"}

    assert simulator.client.post(url, headers=headers).status_code == 403
    assert len(simulator.journal()) == 1


@pytest.mark.parametrize(
    ("found", "kept"),
    [(b"", b""), (b"a\nb\n", b"a\nb\n"), (b"a\nb", b"a\n"), (b"b" * 3_000_000, b"")],
)
def test_a_torn_last_line_is_cut_off_at_the_start(
    tmp_path: Path, found: bytes, kept: bytes
) -> None:
    path = tmp_path / "received.jsonl"
    path.write_bytes(found)

    journal = Journal(path)
    journal.append(b"c\n")
    journal.close()

    assert path.read_bytes() == kept + b"c\n"

"""The supervisor: order, restarts, crash loops, one at a time, nobody left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest

from stack.child import Service
from stack.errors import StackError
from stack.running import is_supervised, read_running_stack
from stack.supervisor import Supervisor

ROOT = Path(__file__).parents[2]
ON_LINUX = sys.platform == "linux"

Supervised = Callable[..., Supervisor]


@pytest.fixture
def supervised(data_dir: Path, said: list[str]) -> Iterator[Supervised]:
    made: list[Supervisor] = []

    def make(*services: Service) -> Supervisor:
        made.append(Supervisor(data_dir, lambda: services, said.append))
        return made[-1]

    yield make
    for supervisor in made:
        supervisor.stop()


def a_service(data_dir: Path, argv: Sequence[str] = ("sleep", "1000"), **given: Any) -> Service:
    name = given.pop("name", "sleeper")
    defaults: dict[str, Any] = {"env": dict(os.environ), "is_ready": lambda: True}
    log_path = data_dir / "logs" / f"{name}.log"
    return Service(name=name, argv=tuple(argv), log_path=log_path, **{**defaults, **given})


def test_a_killed_child_is_started_again(
    supervised: Supervised, data_dir: Path, said: list[str]
) -> None:
    supervisor = supervised(a_service(data_dir))
    supervisor.start()
    killed = supervisor.pid_of("sleeper")
    assert killed is not None

    os.kill(killed, signal.SIGKILL)
    new = supervisor.wait_restarted("sleeper", killed, timedelta(seconds=5))

    assert psutil.pid_exists(new)
    assert said == [
        "sleeper was ended by SIGKILL; starting it again in 0.2 s",
        "sleeper is back",
    ]


def test_a_tier_waits_for_the_one_before_and_a_task_is_done_once(
    supervised: Supervised, data_dir: Path
) -> None:
    order = data_dir / "order"
    note = f"sleep 0.2; echo $0 >> {order}"
    data_dir.mkdir()
    task = a_service(data_dir, ("sh", "-c", note, "task"), name="task", runs_once=True, tier=0)
    server = a_service(data_dir, ("sh", "-c", f"{note}; exec sleep 9", "server"), tier=1)

    supervised(server, task).start()
    time.sleep(0.5)

    assert order.read_text().split() == ["task", "server"]


def test_a_part_that_cannot_start_is_reported_with_the_end_of_its_log(
    supervised: Supervised, data_dir: Path
) -> None:
    fine = a_service(data_dir, name="fine")
    broken = a_service(data_dir, ("sh", "-c", "echo no such key; exit 3"), name="broken", tier=1)
    supervisor = supervised(fine, broken)

    with pytest.raises(StackError, match=r"(?s)broken ended with exit code 3 .*no such key"):
        supervisor.start()

    assert supervisor.pid_of("fine") is None
    assert not is_supervised(data_dir)


def test_a_part_may_be_given_more_than_one_first_try(
    supervised: Supervised, data_dir: Path, said: list[str]
) -> None:
    been = data_dir / "been"
    script = f"test -e {been} && exec sleep 1000; touch {been}; sleep 0.2; exit 2"
    ready = a_service(
        data_dir,
        ("sh", "-c", script),
        is_ready=lambda: bool(said),
        first_tries=2,
    )

    supervised(ready).start()

    assert said[0].startswith("sleeper ended with exit code 2 while starting")
    assert said[-1] == "sleeper is back"


def test_a_part_that_is_never_ready_is_reported(supervised: Supervised, data_dir: Path) -> None:
    late = a_service(data_dir, is_ready=lambda: False, start_timeout=timedelta(seconds=0.3))

    with pytest.raises(StackError, match="sleeper was not ready within"):
        supervised(late).start()


def test_a_part_that_keeps_dying_is_tried_slowly_and_says_so(
    supervised: Supervised, data_dir: Path, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stack.child.FIRST_REST_SECONDS", 0.02)
    dying = a_service(data_dir, ("sleep", "0.1"), advice="Look there.")

    supervised(dying).start()
    wait_until(lambda: any("keeps dying" in sentence for sentence in said))

    last = said[-1]
    assert "starting it again in 10.0 s" in last
    assert "It keeps dying. Look there." in last


def test_a_part_that_runs_but_is_silent_is_ended_and_started_again(
    supervised: Supervised, data_dir: Path, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stack.child.ASK_EVERY_SECONDS", 0.05)
    silent = a_service(data_dir, is_answering=lambda: False, silence_limit=timedelta(seconds=0.3))
    supervisor = supervised(silent)
    supervisor.start()
    first = supervisor.pid_of("sleeper")
    assert first is not None

    supervisor.wait_restarted("sleeper", first, timedelta(seconds=5))

    assert "has not answered" in said[0]


def test_who_ignores_the_stop_signal_is_killed(supervised: Supervised, data_dir: Path) -> None:
    deaf = ("sh", "-c", "trap '' TERM; echo up; sleep 1000; sleep 1000")
    log = data_dir / "logs" / "sleeper.log"
    supervisor = supervised(
        a_service(
            data_dir,
            deaf,
            is_ready=lambda: "up" in log.read_text(),
            stop_timeout=timedelta(seconds=0.3),
        )
    )
    supervisor.start()
    pid = supervisor.pid_of("sleeper")
    assert pid is not None
    family = [pid, *(child.pid for child in psutil.Process(pid).children())]

    supervisor.stop()

    wait_until(lambda: not any(psutil.pid_exists(each) for each in family))


def test_a_second_supervisor_is_refused_with_the_pid_of_the_first(
    supervised: Supervised, data_dir: Path
) -> None:
    supervised(a_service(data_dir)).start()

    with pytest.raises(StackError, match=rf"\(pid {os.getpid()}\) already runs on"):
        supervised(a_service(data_dir)).start()


def test_a_running_stack_is_found_only_while_it_is_alive(
    running: Callable[..., Any], data_dir: Path
) -> None:
    assert read_running_stack(data_dir) is None
    stack = running({"postgres"})

    assert read_running_stack(data_dir) == stack.addresses()
    stack.stop()

    assert read_running_stack(data_dir) is None


def test_a_pid_that_now_is_a_strangers_is_left_alone(
    supervised: Supervised, data_dir: Path
) -> None:
    stranger = subprocess.Popen(["sleep", "61"])
    (data_dir / "run").mkdir(parents=True)
    (data_dir / "run" / "sleeper.pid").write_text(
        f'{{"pid": {stranger.pid}, "argv": ["sleep", "1000"], "started": 0, "stop_signal": 15}}'
    )

    supervised(a_service(data_dir)).start()

    assert stranger.poll() is None
    stranger.kill()
    stranger.wait()


STACK_PROCESS = """
import sys
from pathlib import Path
from settings import load
from stack.development import DevelopmentStack
stack = DevelopmentStack(load(data_dir=Path(sys.argv[1])), parts=sys.argv[2].split(","), isolated=True)
stack.run(lambda: print("ready", flush=True))
"""


def a_stack_process(
    data_dir: Path, parts: str = "postgres,temporal"
) -> tuple[subprocess.Popen[str], list[psutil.Process]]:
    """A process that runs a stack, once it is ready, and its children with theirs."""
    process = subprocess.Popen(
        [sys.executable, "-c", STACK_PROCESS, str(data_dir), parts],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline().startswith("ready")
    family = psutil.Process(process.pid).children(recursive=True)
    assert len(family) > 4
    return process, family


@pytest.mark.parametrize(
    ("number", "parts"), [(signal.SIGTERM, "postgres,temporal"), (signal.SIGINT, "postgres")]
)
def test_a_stack_asked_to_stop_leaves_nobody(
    data_dir: Path, number: signal.Signals, parts: str
) -> None:
    process, family = a_stack_process(data_dir, parts)

    process.send_signal(number)

    assert process.wait(30) == 0
    assert not [each for each in family if each.is_running()]
    assert not list((data_dir / "run").glob("*.pid"))


@pytest.mark.skipif(not ON_LINUX, reason="only Linux tells children that their parent is gone")
def test_a_killed_stack_leaves_nobody_and_the_next_one_starts(data_dir: Path) -> None:
    process, family = a_stack_process(data_dir)

    process.kill()
    process.wait()
    second, _ = a_stack_process(data_dir)

    _, alive = psutil.wait_procs(family, 10)
    assert not alive
    second.terminate()
    assert second.wait(30) == 0


def test_leftovers_that_nobody_told_are_ended_by_the_next_start(
    supervised: Supervised, data_dir: Path, said: list[str]
) -> None:
    orphan = subprocess.Popen(["sleep", "1000"])
    known = psutil.Process(orphan.pid)
    (data_dir / "run").mkdir(parents=True)
    (data_dir / "run" / "sleeper.pid").write_text(
        f'{{"pid": {orphan.pid}, "argv": ["sleep", "1000"], "started": {known.create_time()},'
        ' "stop_signal": 15}'
    )

    supervised(a_service(data_dir)).start()

    assert orphan.wait(5) is not None
    assert said == [f"sleeper (pid {orphan.pid}) was left by a killed stack: ending it"]


def wait_until(condition: Callable[[], bool], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)

"""The embedded PostgreSQL: durable, alone on its folder, reachable by its socket only."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from sqlalchemy import Connection, NullPool, create_engine, text
from sqlalchemy.exc import OperationalError

from stack.development import DevelopmentStack
from stack.postgres_leftovers import processes_of
from stack.postgres_place import LONGEST_SOCKET_PATH, place_of
from stack.unprivileged import Account, may_reach

Running = Callable[..., DevelopmentStack]


@contextmanager
def connected(stack: DevelopmentStack) -> Iterator[Connection]:
    engine = create_engine(stack.settings().database_url)
    with engine.begin() as connection:
        yield connection
    engine.dispose()


def test_it_is_utf8_safe_and_reached_by_its_socket_only(running: Running) -> None:
    stack = running({"postgres"})

    with connected(stack) as connection:

        def shown(name: str) -> str:
            return str(connection.scalar(text(f"SHOW {name}")))

        assert shown("server_encoding") == "UTF8"
        assert connection.scalar(text("SELECT upper('é')")) == "É"
        assert [shown(name) for name in ("fsync", "full_page_writes", "synchronous_commit")] == [
            "on"
        ] * 3
        assert (shown("listen_addresses"), shown("jit")) == ("", "off")
        assert (shown("shared_buffers"), shown("max_wal_size")) == ("256MB", "1GB")
    assert listeners(stack.supervisor.pid_of("postgres") or 0) == []


def test_a_killed_server_comes_back_with_every_committed_row(running: Running) -> None:
    stack = running({"postgres"})
    with connected(stack) as connection:
        connection.execute(text("CREATE TABLE kept AS SELECT generate_series(1, 1000) AS number"))
    killed = stack.supervisor.pid_of("postgres")
    assert killed is not None

    os.kill(killed, signal.SIGKILL)
    stack.supervisor.wait_restarted("postgres", killed)

    with connected(stack) as connection:
        assert connection.scalar(text("SELECT count(*) FROM kept")) == 1000


def test_a_backend_that_computes_on_after_its_server_was_killed_is_ended(running: Running) -> None:
    stack = running({"postgres"})
    killed = stack.supervisor.pid_of("postgres")
    assert killed is not None
    url = stack.settings().database_url
    busy = "import sys, sqlalchemy as s; s.create_engine(sys.argv[1]).connect().exec_driver_sql(sys.argv[2])"
    query = "DO $$ BEGIN LOOP NULL; END LOOP; END $$"
    client = subprocess.Popen([sys.executable, "-c", busy, url, query], stderr=subprocess.DEVNULL)
    backend = wait_for_busy_backend(stack)

    os.kill(killed, signal.SIGKILL)
    stack.supervisor.wait_restarted("postgres", killed)

    assert not psutil.pid_exists(backend)
    client.wait(10)


def test_a_killed_backend_alone_does_not_end_the_server(running: Running) -> None:
    stack = running({"postgres"})
    server = stack.supervisor.pid_of("postgres")
    kill_own_backend(stack)

    until_it_answers(stack)

    assert stack.supervisor.pid_of("postgres") == server


def until_it_answers(stack: DevelopmentStack) -> None:
    """Wait for the recovery that follows a killed backend; it syncs files, which takes its time."""
    end = time.monotonic() + 60
    while True:
        try:
            with connected(stack) as connection:
                assert connection.scalar(text("SELECT 1")) == 1
                return
        except OperationalError:
            assert time.monotonic() < end
            time.sleep(0.1)


def test_a_stale_pid_file_that_names_a_stranger_is_dropped(running: Running) -> None:
    stack = running({"postgres"})
    folder = place_of(stack.settings().data_dir, 0).folder
    lines = (folder / "postmaster.pid").read_text().splitlines()
    stack.stop()
    stranger = subprocess.Popen(["sleep", "60"])
    lines[0] = str(stranger.pid)
    (folder / "postmaster.pid").write_text("\n".join(lines))

    stack.start()

    assert stranger.poll() is None
    stranger.kill()
    stranger.wait()


def test_a_killed_initdb_costs_nothing(running: Running, data_dir: Path) -> None:
    (data_dir / "postgres.new" / "base").mkdir(parents=True)

    stack = running({"postgres"})

    with connected(stack) as connection:
        assert connection.scalar(text("SELECT current_database()")) == "carillon"


def test_a_folder_too_deep_for_a_socket_gets_a_short_one_elsewhere(
    running: Running, data_dir: Path
) -> None:
    deep = data_dir / ("long" * 20) / "data"

    stack = running({"postgres"}, deep)

    place = place_of(deep, stack.settings().postgres_port)
    assert place.socket_dir != place.folder
    assert len(str(place.socket_dir)) < LONGEST_SOCKET_PATH
    assert place.socket_dir.stat().st_mode & 0o777 == 0o700
    with connected(stack) as connection:
        assert connection.scalar(text("SELECT 1")) == 1
    stack.stop()
    place.socket_dir.rmdir()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root starts PostgreSQL as another user")
def test_root_keeps_the_cluster_where_its_user_reaches_it(
    running: Running, data_dir: Path, said: list[str]
) -> None:
    data_dir.mkdir(mode=0o700)

    stack = running({"postgres"})

    assert (data_dir / "postgres").is_symlink()
    assert [sentence for sentence in said if "its data is in /var/tmp/carillon-" in sentence]
    assert len(processes_of(data_dir / "postgres")) > 1
    with connected(stack) as connection:
        assert connection.scalar(text("SELECT 1")) == 1


def test_a_closed_folder_on_the_way_is_out_of_reach(tmp_path: Path) -> None:
    stranger = Account(name="stranger", uid=54321, gid=54321)
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)

    assert not may_reach(closed / "data" / "postgres", stranger)
    assert may_reach(Path("/tmp/anything"), stranger)


def test_a_server_asked_to_stop_while_it_recovers_ends(running: Running) -> None:
    stack = running({"postgres"})
    kill_own_backend(stack)
    time.sleep(0.01)
    began = time.monotonic()

    stack.stop()

    assert time.monotonic() - began < 60
    assert processes_of(place_of(stack.settings().data_dir, 0).folder) == []


def kill_own_backend(stack: DevelopmentStack) -> None:
    engine = create_engine(stack.settings().database_url, poolclass=NullPool)
    with pytest.raises(OperationalError), engine.connect() as connection:
        os.kill(connection.scalar(text("SELECT pg_backend_pid()")) or 0, signal.SIGKILL)
        connection.execute(text("SELECT 1"))


def wait_for_busy_backend(stack: DevelopmentStack) -> int:
    for _ in range(200):
        with connected(stack) as connection:
            found = connection.scalar(
                text("SELECT pid FROM pg_stat_activity WHERE query LIKE 'DO $$ BEGIN LOOP%'")
            )
        if found:
            return int(found)
        time.sleep(0.05)
    raise AssertionError("the query did not start")


def listeners(pid: int) -> list[int]:
    return [each.laddr.port for each in psutil.Process(pid).net_connections("tcp") if each.laddr]

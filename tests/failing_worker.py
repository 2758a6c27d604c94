"""A real worker that kills itself (SIGKILL) when a fail point is reached for the n-th time."""

from __future__ import annotations

import argparse
import asyncio
import itertools
import os
import signal

import settings as settings_module
from activities.fail_points import FailPoint
from observability import log_to_stderr
from observability.tracing import trace_to
from worker import run_roles


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--roles", required=True)
    parser.add_argument("--fail-at", type=FailPoint)
    parser.add_argument("--times", type=int, default=1)
    given = parser.parse_args()
    seen = itertools.count(1)

    def reached(point: FailPoint) -> None:
        if point is given.fail_at and next(seen) == given.times:
            os.kill(os.getpid(), signal.SIGKILL)

    settings = settings_module.load()
    log_to_stderr(settings.log_level, settings.log_format)
    trace_to(settings.otlp_endpoint, "carillon-worker")
    asyncio.run(run_roles(settings, given.roles.split(","), reached))


if __name__ == "__main__":
    main()

"""`make bench`: campaigns in four modes and single messages under three loads; see README.md here.

python -m benchmarks [--people 200000] [--rounds 5] [--modes merge_simple,…] [--loads calm,…]
                     [--contention under_campaign,under_campaign_limited,two_teams]
                     [--api single,bulk,event] [--api-seconds 10]
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import settings as settings_module
from benchmarks.api import REQUESTS, ApiBench
from benchmarks.campaign import MODES, Bench, Round
from benchmarks.contention import ContentionBench
from benchmarks.single_messages import LOADS, SingleBench, SingleRound, single_summary
from stack.development import DevelopmentStack
from workflows.contract import SEARCH_ATTRIBUTES

CONTENTION: dict[str, Callable[[ContentionBench, float], object]] = {
    "under_campaign": lambda bench, seconds: bench.under_campaign(seconds),
    "under_campaign_limited": lambda bench, seconds: bench.under_campaign(seconds, 5000.0),
    "two_teams": lambda bench, _: bench.two_teams(),
}
RESULTS = Path(__file__).parent / "results" / "latest.json"


def main() -> None:
    """Run the rounds, print the table, write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--people", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--modes", default=",".join(MODES))
    parser.add_argument("--loads", default=",".join(LOADS), help="none: campaigns alone")
    parser.add_argument("--contention", default=",".join(CONTENTION), help="none: leave it out")
    parser.add_argument("--seconds", type=float, default=60, help="of critical messages")
    parser.add_argument("--api", default=",".join(REQUESTS), help="none: leave it out")
    parser.add_argument("--api-seconds", type=float, default=10, help="of each kind of request")
    given = parser.parse_args()
    modes = [mode for mode in given.modes.split(",") if mode in MODES]
    loads = [load for load in given.loads.split(",") if load in LOADS]
    rounds: dict[str, list[Round]] = {}
    singles: dict[str, list[SingleRound]] = {}
    if modes or loads:
        with tempfile.TemporaryDirectory(prefix="carillon-bench-") as folder:
            Path(folder).chmod(0o755)
            rounds, singles = _run(Path(folder), modes, loads, given.people, given.rounds)
    contention = [name for name in given.contention.split(",") if name in CONTENTION]
    if contention:
        with tempfile.TemporaryDirectory(prefix="carillon-bench-") as folder:
            Path(folder).chmod(0o755)
            _contend(Path(folder), contention, given.people, given.seconds)
    requests = [name for name in given.api.split(",") if name in REQUESTS]
    if requests:
        with tempfile.TemporaryDirectory(prefix="carillon-bench-") as folder:
            Path(folder).chmod(0o755)
            _ask(Path(folder), requests, given.people, given.api_seconds)
    results: dict[str, dict[str, object]] = {mode: _summary(rounds[mode]) for mode in modes}
    _print(results)
    single = {load: single_summary(singles[load]) for load in loads}
    for load, made in single.items():
        print(f"\nsingle messages, {load}: {made}")
    if set(modes) == set(MODES) and set(loads) == set(LOADS):
        results |= {f"single_messages_{load}": made for load, made in single.items()}
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(json.dumps(results, indent=1) + "\n")


def _contend(folder: Path, names: list[str], people: int, seconds: float) -> None:
    """Print what came of each contention."""
    settings = settings_module.load(data_dir=folder, _env_file=None)
    attributes = [attribute.name for attribute in SEARCH_ATTRIBUTES]
    parts = {"postgres", "temporal", "simulator", "migrations"}
    with DevelopmentStack(
        settings, parts=parts, isolated=True, search_attributes=attributes
    ) as stack:
        bench = Bench(stack, folder)
        bench.prepare(people)
        contention = ContentionBench(stack, folder, bench.engine, people)
        for name in names:
            made = CONTENTION[name](contention, seconds)
            print(f"{name}: {made}", flush=True)


def _ask(folder: Path, requests: list[str], people: int, seconds: float) -> None:
    """Print what came of requests over HTTP; neither Temporal nor a worker is up."""
    settings = settings_module.load(data_dir=folder, _env_file=None)
    with DevelopmentStack(settings, parts={"postgres", "migrations"}, isolated=True) as stack:
        bench = Bench(stack, folder)
        bench.prepare(people)
        for made in ApiBench(stack, folder, bench.engine, people).run(requests, seconds):
            print(
                f"api {made.request:<7} {made.processes} process(es) {made.callers:>2} callers"
                f" {made.per_second:>8,.1f}/s  p50 {made.p50_ms:.1f} ms, p99 {made.p99_ms:.1f} ms,"
                f" {made.web_cpu_ms:.2f} ms CPU of the web processes a request",
                flush=True,
            )


def _run(
    folder: Path, modes: list[str], loads: list[str], people: int, count: int
) -> tuple[dict[str, list[Round]], dict[str, list[SingleRound]]]:
    rounds: dict[str, list[Round]] = defaultdict(list)
    singles: dict[str, list[SingleRound]] = defaultdict(list)
    settings = settings_module.load(data_dir=folder, _env_file=None)
    names = [attribute.name for attribute in SEARCH_ATTRIBUTES]
    parts = {"postgres", "temporal", "simulator", "migrations"}
    with DevelopmentStack(settings, parts=parts, isolated=True, search_attributes=names) as stack:
        bench = Bench(stack, folder)
        bench.prepare(people)
        single = SingleBench(stack, folder, bench.engine, people)
        if modes:
            bench.run(modes[0], 20_000)  # warms every cache; not counted
        for number in range(1, count + 1):
            for mode in modes:
                made = bench.run(mode, people)
                rounds[mode].append(made)
                total = made.cpu_us["total"]
                print(f"round {number} {mode:<13} {made.per_second:>9,.0f}/s  {total:6.1f} µs CPU")
            for load in loads:
                one = single.run(LOADS[load])
                singles[load].append(one)
                print(
                    f"round {number} {load:<13} {one.per_second:>9,.0f}/s  p50 {one.p50_ms:.0f} ms,"
                    f" p99 {one.p99_ms:.0f} ms, {one.cpu_us['total']:.0f} µs CPU, {one.groups} groups"
                )
    return rounds, singles


def _summary(rounds: list[Round]) -> dict[str, object]:
    rates = [made.per_second for made in rounds]
    return {
        "median_per_s": round(statistics.median(rates)),
        "min_per_s": round(min(rates)),
        "max_per_s": round(max(rates)),
        "us_per_recipient": _medians([made.stage_us for made in rounds]),
        "cpu_us_per_recipient": _medians([made.cpu_us for made in rounds]),
        "peak_mb": round(max(made.peak_mb for made in rounds)),
    }


def _medians(rows: list[dict[str, float]]) -> dict[str, float]:
    return {key: round(statistics.median(row[key] for row in rows), 1) for key in rows[0]}


def _print(results: dict[str, dict[str, object]]) -> None:
    for mode, made in results.items():
        print(
            f"\n{mode}: {made['median_per_s']:,}/s ({made['min_per_s']:,} to {made['max_per_s']:,}),"
            f" workers' peak {made['peak_mb']} MB"
        )
        print("  µs a recipient by stage:", made["us_per_recipient"])
        print("  CPU µs a recipient by process:", made["cpu_us_per_recipient"])


if __name__ == "__main__":
    main()

"""The dashboard and the alert rules are well formed, and name only metrics that there are."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import yaml

from observability.metrics import PREFIX, REGISTRY
from observability.rows import FAMILIES, READABLE

FOLDER = Path(__file__).parents[2] / "docker/observability"
_NAME = re.compile(r"\b[a-z]+_[a-z_]+\b")
_OTHER = re.compile(r"\"[^\"]*\"|\bby \([^)]*\)|\bhistogram_quantile\b|\{[^}]*\}")

# Of Temporal's SDK, as its documentation names them with the suffixes that we ask for.
TEMPORAL = {
    "temporal_activity_schedule_to_start_latency_seconds_bucket",
    "temporal_worker_task_slots_available",
    "temporal_workflow_task_execution_failed_total",
}


def dashboard() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((FOLDER / "dashboard.json").read_text(encoding="utf-8"))
    return found


def rules() -> list[dict[str, Any]]:
    parsed = yaml.safe_load((FOLDER / "alerts.yml").read_text(encoding="utf-8"))
    return [rule for group in parsed["groups"] for rule in group["rules"]]


def expressions() -> list[str]:
    shown = [target["expr"] for panel in dashboard()["panels"] for target in panel["targets"]]
    return shown + [rule["expr"] for rule in rules()]


def exposed() -> set[str]:
    """Names of all series that our processes can show."""
    found = {f"{PREFIX}_{name}" for name in (*FAMILIES, READABLE)}
    for family in REGISTRY.collect():
        match family.type:
            case "counter":
                found.add(f"{family.name}_total")
            case "histogram":
                found |= {f"{family.name}_{end}" for end in ("bucket", "count", "sum")}
            case _:
                found.add(family.name)
    return found | TEMPORAL


def named(expression: str) -> set[str]:
    """The metrics of an expression."""
    return set(_NAME.findall(_OTHER.sub(" ", expression)))


def test_every_metric_of_dashboard_and_alerts_exists() -> None:
    used = {name for expression in expressions() for name in named(expression)}

    assert used - exposed() == set()
    assert len(used) > 20


def test_every_metric_of_ours_is_on_the_dashboard() -> None:
    used = {name for expression in expressions() for name in named(expression)}
    ours = {name for name in exposed() if name.startswith(PREFIX)}
    families = {re.sub("_(bucket|count|sum)$", "", name) for name in ours}

    missing = {family for family in families if not any(name.startswith(family) for name in used)}

    assert missing == set()


def test_labels_that_are_grouped_by_exist() -> None:
    known = {"le", "instance", "task_queue", "worker_type", "workflow_type"}
    known |= {label for _, labels in FAMILIES.values() for label in labels}
    known |= {"kind", "account", "answer", "refusal", "stage", "priority", "channel", "by"}
    known |= {"method", "route", "status"}

    grouped = {
        label.strip()
        for expression in expressions()
        for labels in re.findall(r"\bby \(([^)]*)\)", expression)
        for label in labels.split(",")
    }

    assert grouped - known == set()


def test_panels_have_their_own_ids_and_places() -> None:
    panels = dashboard()["panels"]
    places = {(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels}

    assert len({panel["id"] for panel in panels}) == len(places) == len(panels)
    assert all(panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24 for panel in panels)


def test_every_alert_says_what_it_is_and_how_much_it_matters() -> None:
    for rule in rules():
        assert rule["labels"]["severity"] in ("page", "warn"), rule["alert"]
        assert rule["annotations"].keys() == {"summary", "description"}, rule["alert"]
    assert len({rule["alert"] for rule in rules()}) == len(rules())


def test_prometheus_reads_the_rules_and_asks_every_service_of_ours() -> None:
    parsed = yaml.safe_load((FOLDER / "prometheus.yml").read_text(encoding="utf-8"))
    (job,) = parsed["scrape_configs"]
    targets = {target for config in job["static_configs"] for target in config["targets"]}
    compose = yaml.safe_load((FOLDER.parents[1] / "docker-compose.yml").read_text(encoding="utf-8"))

    assert parsed["rule_files"] == ["alerts.yml"]
    assert {target.partition(":")[0] for target in targets} <= compose["services"].keys()
    port = compose["x-carillon"]["environment"]["CARILLON_METRICS_PORT"]
    assert f"web:{port}" in targets

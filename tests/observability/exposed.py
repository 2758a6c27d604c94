"""The text of a /metrics page, read as Prometheus reads it."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families


def value(page: str, name: str, **labels: str) -> float:
    """The sum of a metric's series that have these labels."""
    return sum(
        sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    )


def names(page: str) -> set[str]:
    """Names of all series, and of what could be one."""
    return {
        sample.name for family in text_string_to_metric_families(page) for sample in family.samples
    }

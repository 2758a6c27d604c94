"""What a process counts. Every label has few values: accounts, classes of answers, routes.

Drivers count in dictionaries of their own and tell once a settle or pass (`activities.tally`):
nothing here is called for each recipient of a campaign.
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

PREFIX = "carillon"
REGISTRY = CollectorRegistry()
"""Ours: the library's own default would take in whatever others register."""

ProcessCollector(registry=REGISTRY)
PlatformCollector(registry=REGISTRY)

_LATENCIES = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 3600)
_REQUESTS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


def _counter(name: str, says: str, *labels: str) -> Counter:
    return Counter(name, says, labels, namespace=PREFIX, registry=REGISTRY)


def _histogram(name: str, says: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
    return Histogram(name, says, labels, namespace=PREFIX, registry=REGISTRY, buckets=buckets)


ATTEMPTS = _counter(
    "attempts", "Attempts whose calls were all answered, by kind of send", "kind", "account"
)
ANSWERED_MESSAGES = _counter(
    "answered_messages",
    "Messages that a provider's answer was about, by its class",
    "kind",
    "account",
    "answer",
)
PROVIDER_REQUESTS = _counter(
    "provider_requests", "Requests that a provider answered, by class", "kind", "account", "answer"
)
PROVIDER_SECONDS = _counter(
    "provider_seconds", "Seconds that requests waited for their answers", "kind", "account"
)
CLAIMS_REFUSED = _counter(
    "claims_refused", "Claims that a test of the ledger refused", "kind", "refusal"
)
PASSES = _counter("passes", "Passes over a batch or a group that ended", "kind")
STAGE_SECONDS = _counter("stage_seconds", "Seconds of passes over batches, by stage", "stage")
STAGE_CPU_SECONDS = _counter(
    "stage_cpu_seconds", "CPU seconds of passes over batches, by stage", "stage"
)
SEND_LATENCY = _histogram(
    "send_latency_seconds",
    "Single messages: from the request, or the time it is due, to the provider's acceptance",
    _LATENCIES,
    "priority",
    "channel",
)
REPEATS_SUPPRESSED = _counter(
    "repeats_suppressed", "What came again and was done once only, by what told so", "by"
)
HTTP_REQUESTS = _counter(
    "http_requests", "Requests answered, by route and status", "method", "route", "status"
)
HTTP_SECONDS = _histogram(
    "http_seconds", "Seconds until a request was answered", _REQUESTS, "route"
)

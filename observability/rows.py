"""Metrics that come from rows: one collector, in the processes of the role upkeep alone."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator, Sequence

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from models.database import in_transaction
from models.figures import Figure, read_figures
from observability.metrics import PREFIX

log = logging.getLogger(__name__)

KEPT_SECONDS = 5.0
"""Scrapes within this time share an answer: two Prometheus servers cost what one does."""

FAMILIES: dict[str, tuple[str, tuple[str, ...]]] = {
    "outbox_messages": ("Single messages that are due, up to 10,000", ("priority", "stage")),
    "queue_age_seconds": (
        "Age of the oldest single message that is due and not final",
        ("priority", "stage"),
    ),
    "outbox_parked_messages": ("Single messages that wait on purpose, up to 10,000", ()),
    "inbox_events": ("Events that are not folded, up to 10,000", ()),
    "event_lag_seconds": ("How long the oldest event that is due waits to be folded", ()),
    "open_campaigns": ("Campaigns under way, by state", ("state",)),
    "campaign_messages": ("Messages of campaigns under way, by outcome", ("outcome",)),
    "unknown_single_messages": ("Single messages whose answer was lost", ()),
    "account_up": ("Whether the provider takes the account", ("team", "account", "channel")),
    "account_breaker_open": (
        "Whether the account's breaker is open",
        ("team", "account", "channel"),
    ),
    "account_weight": ("The account's share now", ("team", "account", "channel")),
    "account_recent_answers": (
        "Answers of the last five minutes",
        ("team", "account", "channel"),
    ),
    "account_recent_errors": ("Errors among them", ("team", "account", "channel")),
    "account_recent_slow_answers": ("Slow ones among them", ("team", "account", "channel")),
    "open_holds": ("Holds that stand, by scope", ("scope",)),
    "confirmed_duplicates": ("People who got a message twice, in the kept months", ()),
}
READABLE = "rows_readable"


class RowCollector(Collector):
    """Asks PostgreSQL at a scrape; what it cannot learn is left out, and `rows_readable` says so."""

    def __init__(self, engine: Engine) -> None:
        """Nothing is asked yet."""
        self._engine = engine
        self._lock = threading.Lock()
        self._kept: Sequence[Figure] | None = None
        self._until = 0.0

    def describe(self) -> list[GaugeMetricFamily]:
        """The names, so that the registry need not ask the database for them."""
        return [_family(name) for name in FAMILIES]

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """The families with their numbers of now."""
        figures = self._figures()
        yield GaugeMetricFamily(
            f"{PREFIX}_{READABLE}",
            "Whether the figures that come from rows could be read",
            value=figures is not None,
        )
        if figures is None:
            return
        families = {name: _family(name) for name in FAMILIES}
        for figure in figures:
            families[figure.family].add_metric(figure.labels, float(figure.value))
        yield from families.values()

    def _figures(self) -> Sequence[Figure] | None:
        with self._lock:
            if time.monotonic() >= self._until:
                self._kept = self._read()
                self._until = time.monotonic() + KEPT_SECONDS
            return self._kept

    def _read(self) -> Sequence[Figure] | None:
        try:
            return in_transaction(self._engine, read_figures)
        except SQLAlchemyError as error:
            log.warning("figures.not_read", extra={"why": type(error).__name__})
            return None


def _family(name: str) -> GaugeMetricFamily:
    says, labels = FAMILIES[name]
    return GaugeMetricFamily(f"{PREFIX}_{name}", says, labels=labels)

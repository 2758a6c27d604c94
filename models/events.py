"""Recording events: committed in the inbox first, each once, then folded into their deliveries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

from sqlalchemy import Engine

from domain.event import ProviderEvent
from models.database import in_transaction
from models.event_fold import Folded, fold
from models.event_inbox import Received, due_events, receive

MOST_AT_ONCE = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """What came of events that were brought."""

    new: int
    """The others had been brought before."""
    folded: Folded


def record_events(engine: Engine, events: Sequence[ProviderEvent]) -> Recorded:
    """Keep the events that are new, and fold those whose message's row is there; the rest waits.

    Once this returns they are committed. It may be done again with the same events at any time:
    order, repeats and delay change nothing about where a delivery ends. Whoever has Temporal tells
    the groups and campaigns of the result; without it they look by themselves.
    """
    new = in_transaction(engine, lambda connection: receive(connection, events))
    return Recorded(new=len(new), folded=_fold_all(engine, new))


def fold_due(engine: Engine) -> Folded:
    """Fold the events that wait in the inbox and whose time has come, until none is left."""
    done = Folded()
    while due := in_transaction(engine, lambda connection: due_events(connection, MOST_AT_ONCE)):
        done = _sum(done, _fold_all(engine, due))
    return done


def _fold_all(engine: Engine, received: Sequence[Received]) -> Folded:
    # In key order, so that one transaction has few batches and groups.
    ordered = sorted(received, key=lambda event: event.reference)
    parts = [ordered[at : at + MOST_AT_ONCE] for at in range(0, len(ordered), MOST_AT_ONCE)]
    return reduce(_sum, (_fold_part(engine, part) for part in parts), Folded())


def _fold_part(engine: Engine, part: Sequence[Received]) -> Folded:
    return in_transaction(engine, lambda connection: fold(connection, part))


def _sum(one: Folded, other: Folded) -> Folded:
    return Folded(
        events=one.events + other.events,
        early=one.early + other.early,
        groups=one.groups | other.groups,
        campaigns=one.campaigns | other.campaigns,
        troubled=one.troubled | other.troubled,
    )

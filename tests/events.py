"""Events in tests, with defaults."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Engine, text

from domain.event import EventKind, ProviderEvent
from domain.identifier import Reference
from models.events import Recorded, record_events

_numbers = itertools.count(1)


def an_event(send_id: int, kind: EventKind, ordinal: int = 1, **given: Any) -> ProviderEvent:
    """An event about the first step of a message; each has an id of its own."""
    step = given.pop("step", 1)
    defaults: dict[str, Any] = {
        "account_id": 1,
        "provider_event_id": f"event-{next(_numbers)}",
        "at": datetime.now(UTC),
    }
    return ProviderEvent(
        reference=Reference(send_id, ordinal, step), kind=kind, **{**defaults, **given}
    )


def tell(engine: Engine, *events: ProviderEvent) -> Recorded:
    """Record these events."""
    return record_events(engine, events)


def history(engine: Engine, send_id: int, ordinal: int = 1) -> list[str]:
    """Kinds of what was appended to a message's history, in order."""
    with engine.connect() as connection:
        return list(
            connection.execute(
                text(
                    "SELECT kind FROM delivery_event WHERE send_id = :send AND ordinal = :ordinal"
                    " ORDER BY id"
                ),
                {"send": send_id, "ordinal": ordinal},
            ).scalars()
        )

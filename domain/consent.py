"""Consent: what holds when two recipients turn out to be one person."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from domain.send import SubscriptionState


class Consent(NamedTuple):
    """A recipient's standing on a topic and channel, and since when."""

    state: SubscriptionState
    since: datetime


def replaces(found: Consent, kept: Consent) -> bool:
    """Whether the consent `found` at who is merged holds instead of the one `kept` so far.

    Leaving is a wish: it holds against a subscription unless that is newer, and then somebody has
    joined again. A confirmed subscription holds against one that waits for its confirmation.
    """
    match (found.state, kept.state):
        case (SubscriptionState.LEFT, SubscriptionState.LEFT):
            return False
        case (SubscriptionState.LEFT, _):
            return found.since >= kept.since
        case (_, SubscriptionState.LEFT):
            return found.since > kept.since
        case (SubscriptionState.SUBSCRIBED, SubscriptionState.PENDING):
            return True
        case _:
            return False

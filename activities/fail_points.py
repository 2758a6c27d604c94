"""Named moments of the protocol at which tests kill the process; in production nothing happens."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum


class FailPoint(StrEnum):
    """Where a crash is most instructive."""

    FREEZING = "freezing"
    """The messages are inserted and not committed."""
    GATHERED = "gathered"
    """A group of single messages is committed, its workflow is not started."""
    BEFORE_CLAIM = "before_claim"
    CLAIMED = "claimed"
    """The claim is committed, nothing was written."""
    ANSWERED = "answered"
    """The provider has accepted, its answer was read, nothing is settled."""
    SETTLED = "settled"
    """A settle is committed."""
    RETURNING = "returning"
    """All is settled; the activity has not completed."""
    FINISHING = "finishing"
    """All of a group is settled; its outbox rows are still there."""
    CLOSING = "closing"
    """All messages are final; the send is not closed."""


Reached = Callable[[FailPoint], None]
"""Called with each point as it is reached."""


def pass_by(_: FailPoint) -> None:
    """What production does at a fail point."""

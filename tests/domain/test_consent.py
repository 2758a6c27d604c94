"""Whose consent holds when two recipients turn out to be one person."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from domain.consent import Consent, replaces
from domain.send import SubscriptionState as S

EARLY = datetime(2026, 1, 1, tzinfo=UTC)
LATE = datetime(2026, 2, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("found", "kept", "holds"),
    [
        (Consent(S.LEFT, LATE), Consent(S.SUBSCRIBED, EARLY), True),
        (Consent(S.LEFT, EARLY), Consent(S.SUBSCRIBED, EARLY), True),
        (Consent(S.LEFT, EARLY), Consent(S.SUBSCRIBED, LATE), False),
        (Consent(S.SUBSCRIBED, LATE), Consent(S.LEFT, EARLY), True),
        (Consent(S.SUBSCRIBED, EARLY), Consent(S.LEFT, EARLY), False),
        (Consent(S.SUBSCRIBED, EARLY), Consent(S.LEFT, LATE), False),
        (Consent(S.PENDING, LATE), Consent(S.LEFT, EARLY), True),
        (Consent(S.LEFT, LATE), Consent(S.PENDING, EARLY), True),
        (Consent(S.SUBSCRIBED, EARLY), Consent(S.PENDING, LATE), True),
        (Consent(S.PENDING, LATE), Consent(S.SUBSCRIBED, EARLY), False),
        (Consent(S.LEFT, LATE), Consent(S.LEFT, EARLY), False),
        (Consent(S.SUBSCRIBED, LATE), Consent(S.SUBSCRIBED, EARLY), False),
    ],
)
def test_leaving_holds_unless_somebody_joined_later_and_a_confirmation_holds(
    found: Consent, kept: Consent, holds: bool
) -> None:
    assert replaces(found, kept) is holds

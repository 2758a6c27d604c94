"""Channel plans: how they are written, and what cannot be one."""

from __future__ import annotations

from datetime import timedelta

import pytest

from domain.outcome import Progress
from domain.plan import PlanRefused, Step, parse_plan, plan_from_json
from domain.send import Channel


def test_a_plan_is_written_as_channels_with_what_each_waits_for() -> None:
    assert parse_plan("in_app:read/1h, sms:delivered/10m,email") == (
        Step(channel=Channel.IN_APP, wait_for=Progress.READ, within=timedelta(hours=1)),
        Step(channel=Channel.SMS, wait_for=Progress.DELIVERED, within=timedelta(minutes=10)),
        Step(channel=Channel.EMAIL),
    )


@pytest.mark.parametrize(
    "given", ["sms", "in_app:read/1h,email", "webhook,sms:delivered/90s,email"]
)
def test_a_stored_plan_is_read_as_it_was(given: str) -> None:
    plan = parse_plan(given)

    assert plan_from_json([step.as_json() for step in plan]) == plan


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ("", "no step"),
        ("pigeon", "no channel 'pigeon'"),
        ("sms:eaten/1h,email", "not for 'eaten'"),
        ("sms:delivered,email", "no step"),
        ("email,sms:delivered/1h", "last step"),
        ("sms,sms,sms,sms,sms,sms", "1 to 5 steps"),
    ],
)
def test_what_is_no_plan_is_refused_with_a_reason(given: str, why: str) -> None:
    with pytest.raises(PlanRefused, match=why):
        parse_plan(given)

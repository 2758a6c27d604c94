"""Timeouts and retries of activities, named; nothing is set inline."""

from __future__ import annotations

from datetime import timedelta
from typing import TypedDict

from temporalio.common import RetryPolicy
from temporalio.workflow import ActivityCancellationType

from workflows.contract import CAMPAIGN_QUEUE, TRANSACTIONAL_QUEUE, UPKEEP_QUEUE

# The rows are the truth and every activity may be repeated, so all are retried for ever; the waits
# stay short because what fails is mostly a database or worker that is being restarted.
_RETRY = RetryPolicy(
    initial_interval=timedelta(milliseconds=500),
    backoff_coefficient=2,
    maximum_interval=timedelta(seconds=10),
)


class ActivityOptions(TypedDict, total=False):
    """What `workflow.execute_activity` takes."""

    task_queue: str
    start_to_close_timeout: timedelta
    heartbeat_timeout: timedelta
    retry_policy: RetryPolicy
    cancellation_type: ActivityCancellationType


class LocalActivityOptions(TypedDict, total=False):
    """What `workflow.execute_local_activity` takes."""

    start_to_close_timeout: timedelta
    retry_policy: RetryPolicy
    local_retry_threshold: timedelta


QUICK: ActivityOptions = {
    "start_to_close_timeout": timedelta(seconds=10),
    "retry_policy": _RETRY,
}
"""A few rows read or written; runs beside the workflow, on its own queue. A worker that was killed
with one is noticed only after the ten seconds: heartbeats would cost more than they save."""


def freeze_options(heartbeat_timeout: timedelta) -> ActivityOptions:
    """About 4 µs a recipient; an hour holds any audience."""
    return {
        "start_to_close_timeout": timedelta(hours=1),
        "heartbeat_timeout": heartbeat_timeout,
        "retry_policy": _RETRY,
    }


def digest_options(heartbeat_timeout: timedelta) -> ActivityOptions:
    """One transaction, as the freeze is; a killed worker is noticed within the heartbeat timeout."""
    return freeze_options(heartbeat_timeout)


def batch_options(heartbeat_timeout: timedelta) -> ActivityOptions:
    """For a pass over a batch: a killed worker is noticed within the heartbeat timeout."""
    return {
        "task_queue": CAMPAIGN_QUEUE,
        "start_to_close_timeout": timedelta(hours=1),
        "heartbeat_timeout": heartbeat_timeout,
        "retry_policy": _RETRY,
        "cancellation_type": ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
    }


LOCAL_PASS: LocalActivityOptions = {
    "start_to_close_timeout": timedelta(minutes=5),
    "retry_policy": _RETRY,
    # Every retry is a durable timer: waiting inside the task would keep a worker from stopping.
    "local_retry_threshold": timedelta(milliseconds=1),
}
"""The first pass over a group, inside its first workflow task. A provider that hangs is waited for:
the worker keeps the task alive meanwhile."""


QUICK_GROUP_PASS = timedelta(seconds=30)
"""Heartbeat time-out of the later passes of a request whose caller knows nothing of our settings."""


def group_options(heartbeat_timeout: timedelta) -> ActivityOptions:
    """For the later passes over a group: they follow waits, so a round trip more does not matter."""
    return {
        "task_queue": TRANSACTIONAL_QUEUE,
        "start_to_close_timeout": timedelta(hours=1),
        "heartbeat_timeout": heartbeat_timeout,
        "retry_policy": _RETRY,
        "cancellation_type": ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
    }


def upkeep_options(heartbeat_timeout: timedelta) -> ActivityOptions:
    """For a long activity that goes on until its worker stops."""
    return {
        "task_queue": UPKEEP_QUEUE,
        "start_to_close_timeout": timedelta(days=1),
        "heartbeat_timeout": heartbeat_timeout,
        "retry_policy": _RETRY,
    }


def webhook_options(heartbeat_timeout: timedelta) -> ActivityOptions:
    """For a pass over an endpoint's events: half a minute, and the answer that is waited for then."""
    return {
        "task_queue": UPKEEP_QUEUE,
        "start_to_close_timeout": timedelta(minutes=5),
        "heartbeat_timeout": heartbeat_timeout,
        "retry_policy": _RETRY,
    }

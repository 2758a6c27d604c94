"""Committing a request that came as a workflow's input."""

from __future__ import annotations

from collections.abc import Callable

from temporalio import activity

from activities.contract import CommittedRequest, RequestInput
from activities.failures import permanent_errors

CommitRequest = Callable[[RequestInput], CommittedRequest]
"""Checks and commits; handed in by `worker.py`, as the use case lives in starter/. Raises RequestNotTaken."""


class RequestActivities:
    """`commit_request`, with what it needs."""

    def __init__(self, commit: CommitRequest) -> None:
        """Made once in `composition.py`."""
        self._commit = commit

    @activity.defn
    def commit_request(self, request: RequestInput) -> CommittedRequest:
        """The rows of the request, with a group of their own, so that no lane takes them."""
        with permanent_errors():
            return self._commit(request)

"""Errors on their way into Temporal's histories: without the people whom they may quote."""

from __future__ import annotations

from temporalio.api.failure.v1 import Failure
from temporalio.converter import DefaultFailureConverter, PayloadConverter

from observability.logs import without_people


class FailureWithoutPeople(DefaultFailureConverter):
    """The SDK's converter; PostgreSQL's errors, for one, quote the key that they are about."""

    def to_failure(
        self, exception: BaseException, payload_converter: PayloadConverter, failure: Failure
    ) -> None:
        """As the SDK's, which calls this for causes, too."""
        super().to_failure(exception, payload_converter, failure)
        failure.message = without_people(failure.message)
        failure.stack_trace = without_people(failure.stack_trace)

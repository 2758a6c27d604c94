"""Where an error of ours becomes one that Temporal must not retry; nowhere else."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from temporalio.exceptions import ApplicationError

from models.campaign import UnknownCampaign, WrongState


class RequestNotTaken(Exception):
    """A request cannot be taken as it is; nothing was written. The message is one sentence."""


PERMANENT = (UnknownCampaign, WrongState, RequestNotTaken)


@contextmanager
def permanent_errors() -> Iterator[None]:
    """Errors that asking again cannot mend reach the workflow at once, with their sentence."""
    try:
        yield
    except PERMANENT as error:
        raise ApplicationError(str(error), type=type(error).__name__, non_retryable=True) from error

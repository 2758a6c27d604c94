"""The times and sizes that activities work by; values from settings, made once in `composition.py`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from domain.trip_wire import Wires


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """See the settings of the same names for what each means."""

    lease: timedelta
    lease_renewal: timedelta
    no_progress: timedelta
    call_within: timedelta
    request_timeout: timedelta
    unknown_wait: timedelta
    transactional_unknown_wait: timedelta
    settle_every: timedelta
    resume_grid: timedelta
    backoff_first: timedelta
    backoff_most: timedelta
    max_tries: int
    batch_size: int
    shard_size: int
    reconcile_every: timedelta
    reconcile_send_every: timedelta
    fold_every: timedelta
    look_up_every: timedelta
    wires: Wires

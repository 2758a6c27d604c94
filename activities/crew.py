"""What every driver of a worker works with."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Engine

from activities.fail_points import Reached
from activities.health_log import HealthLog
from activities.limit_book import LimitBook
from activities.pace import Pace
from models.claim import AttemptIds


@dataclass(frozen=True, slots=True, kw_only=True)
class Crew:
    """Made once in `composition.py`."""

    engine: Engine
    pace: Pace
    attempt_ids: AttemptIds
    worker: str
    reached: Reached
    limits: LimitBook
    health: HealthLog

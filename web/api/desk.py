"""What handlers work with: the database, and the use cases of a caller's team."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Annotated, TypeVar

from fastapi import Depends, Request
from sqlalchemy import Connection, Engine

from models.database import in_transaction
from settings import Settings
from starter.audits import in_snapshot
from starter.hints import Hints
from starter.joining import JoinDesk
from starter.messages import Carillon
from web.api.rate import Rates

T = TypeVar("T")


class Desk:
    """Made once a process; nothing is asked of the database before a request comes."""

    def __init__(self, engine: Engine, settings: Settings) -> None:
        """`engine`: its pool bounds how many requests work at once."""
        self.engine = engine
        self.settings = settings
        self.secret = settings.api_secret.get_secret_value().encode()
        self.rates = Rates(processes=settings.api_processes)
        self.hints = Hints(settings)

        @lru_cache(maxsize=64)
        def carillon(team_id: int) -> Carillon:
            return Carillon(settings, engine, team_id=team_id)

        @lru_cache(maxsize=64)
        def joining(team_id: int) -> JoinDesk:
            return JoinDesk(engine, settings, team_id=team_id)

        self._carillon = carillon
        self._joining = joining

    def carillon(self, team_id: int) -> Carillon:
        """The client for single messages of the team."""
        return self._carillon(team_id)

    def joining(self, team_id: int) -> JoinDesk:
        """Who takes those that join the team's topics."""
        return self._joining(team_id)

    def read(self, work: Callable[[Connection], T]) -> T:
        """What `work` reads."""
        with self.engine.connect() as connection:
            return work(connection)

    def read_at_once(self, work: Callable[[Connection], T]) -> T:
        """What `work` reads, of one moment."""
        return in_snapshot(self.engine, work)

    def write(self, work: Callable[[Connection], T]) -> T:
        """What `work` returns, committed."""
        return in_transaction(self.engine, work)


def _desk(request: Request) -> Desk:
    desk: Desk = request.app.state.desk
    return desk


AtDesk = Annotated[Desk, Depends(_desk)]

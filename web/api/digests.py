"""/v1/digests: the days and weeks whose events go out as one message a person."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter
from pydantic import BaseModel, Field

from domain.api_key import Scope
from domain.digest import Cadence
from models.digest import PeriodSummary, list_periods
from web.api.access import Caller, needs
from web.api.desk import AtDesk
from web.api.paging import Page, Paged
from web.api.route import ApiRoute

router = APIRouter(prefix="/v1/digests", tags=["digests"], route_class=ApiRoute)

Reader = Annotated[Caller, needs(Scope.TOPICS_READ)]


class DigestPeriodResponse(BaseModel):
    """A day or week, and what came of it."""

    cadence: Cadence
    period: str = Field(description="2026-11-28, or 2026-W48 by ISO 8601.")
    ends_at: datetime
    written_at: datetime | None = Field(description="Null: not yet.")
    send: str | None = Field(description="The send with its messages, snd_…")
    items: int = Field(description="Of all members together, as long as it is not written.")
    messages: int

    @staticmethod
    def of(period: PeriodSummary) -> DigestPeriodResponse:
        """Of a row of the list."""
        return DigestPeriodResponse(
            cadence=Cadence(period.cadence),
            period=period.period,
            ends_at=period.ends_at,
            written_at=period.written_at,
            send=period.send,
            items=period.items,
            messages=period.messages,
        )


@router.get("")
def list_(caller: Reader, desk: AtDesk, paging: Paged) -> Page[DigestPeriodResponse]:
    """The team's periods, those that end last first."""
    before = (paging.after[0], paging.after[1]) if paging.after else None
    rows = desk.read(lambda c: list_periods(c, caller.team_id, before=before, most=paging.fetch))
    return paging.page(
        rows, DigestPeriodResponse.of, lambda row: [int(row.ends_at.timestamp()), row.id]
    )

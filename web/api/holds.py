"""/v1/holds: stops on a send, topic, template, account, team or everything."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import Connection

from domain.api_key import Scope
from domain.identifier import HOLD_PREFIX, SEND_PREFIX, key_of, public_id
from domain.send import HoldScope
from models.hold import StandingHold, find_hold, list_holds
from models.team import default_team_id
from starter.holds import MAX_REASON_LENGTH, HoldWish, place_of_team, release_of_team
from web.api.access import Caller, needs
from web.api.desk import AtDesk
from web.api.idempotency import IdempotencyKey, once
from web.api.paging import Page, Paged
from web.api.route import ApiRoute

router = APIRouter(prefix="/v1/holds", tags=["holds"], route_class=ApiRoute)

Reader = Annotated[Caller, needs(Scope.HOLDS_READ)]
Writer = Annotated[Caller, needs(Scope.HOLDS_WRITE)]


class PlaceHoldRequest(BaseModel):
    """What is to be stopped, and why."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"scope": "topic", "key": "newsletter", "reason": "wrong link"}]
        },
    )

    scope: HoldScope
    key: str = Field(
        "",
        max_length=200,
        description="snd_… of a send; key of a topic, template, account or team; none for"
        " everything, and for the team of the API key.",
    )
    reason: str = Field(
        min_length=1,
        max_length=MAX_REASON_LENGTH,
        description="Shown wherever it stops something.",
    )


class HoldResponse(BaseModel):
    """A stop, with reason and author."""

    id: str
    scope: HoldScope
    key: str
    reason: str
    author: str
    created_at: datetime
    released_at: datetime | None


@router.post("", status_code=201, response_model=HoldResponse)
def place(
    body: PlaceHoldRequest, caller: Writer, desk: AtDesk, key: IdempotencyKey, request: Request
) -> Response:
    """Send nothing under the scope until this hold, and every other on it, is released.

    Everything, and other teams, are held by a key of the team `default` with the scope admin alone.
    """
    wish = HoldWish(scope=body.scope, key=body.key, reason=body.reason, author=caller.name)

    def effect(connection: Connection) -> HoldResponse:
        is_operator = Scope.ADMIN in caller.scopes and (
            caller.team_id == default_team_id(connection)
        )
        return _shown(place_of_team(connection, caller.team_id, wish, is_operator=is_operator))

    return once(desk, caller, key, request, body, 201, effect)


@router.get("")
def list_(
    caller: Reader,
    desk: AtDesk,
    paging: Paged,
    released: Annotated[bool, Query(description="Also those that were released.")] = False,
) -> Page[HoldResponse]:
    """The team's holds that stand, oldest first."""
    after = paging.after[0] if paging.after else 0
    rows = desk.read(
        lambda c: list_holds(
            c, caller.team_id, with_released=released, after=after, limit=paging.fetch
        )
    )
    return paging.page(rows, _shown, lambda row: [row.id])


@router.get("/{id}")
def get(id: str, caller: Reader, desk: AtDesk) -> HoldResponse:
    """One hold, hld_…"""
    return _shown(desk.read(lambda c: find_hold(c, caller.team_id, key_of(HOLD_PREFIX, id))))


@router.post("/{id}/release")
def release(id: str, caller: Writer, desk: AtDesk) -> HoldResponse:
    """Release this hold; others on the same scope stand. What waited goes on. Again is harmless."""
    done = desk.write(lambda c: release_of_team(c, caller.team_id, key_of(HOLD_PREFIX, id)))
    desk.hints.wake(done.sends, done.groups)
    return _shown(done.hold)


def _shown(hold: StandingHold) -> HoldResponse:
    return HoldResponse(
        id=public_id(HOLD_PREFIX, hold.id),
        scope=hold.scope,
        key=public_id(SEND_PREFIX, hold.scope_id) if hold.scope is HoldScope.SEND else hold.key,
        reason=hold.reason,
        author=hold.author,
        created_at=hold.created_at,
        released_at=hold.released_at,
    )

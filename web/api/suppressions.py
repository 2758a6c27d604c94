"""/v1/suppressions: addresses that are not sent to."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import Connection

from domain.api_key import Scope
from domain.contact import MAX_ADDRESS_CHARACTERS, normalise_address
from domain.identifier import SUPPRESSION_PREFIX, key_of, public_id
from domain.send import Channel
from models.audit_entry import record_audit
from models.idempotent_answer import StillRunning
from models.suppression import suppress
from models.suppression_list import (
    ListedSuppression,
    SuppressionFilter,
    find_suppression,
    list_suppressions,
    remove_suppression,
    unsuppress,
)
from starter.suppressions_import import DEFAULT_REASON, MAX_REASON_LENGTH
from web.api.access import Caller, needs
from web.api.desk import AtDesk
from web.api.idempotency import IdempotencyKey, once
from web.api.paging import Page, Paged
from web.api.route import ApiRoute

router = APIRouter(prefix="/v1/suppressions", tags=["suppressions"], route_class=ApiRoute)

Reader = Annotated[Caller, needs(Scope.SUPPRESSIONS_READ)]
Writer = Annotated[Caller, needs(Scope.SUPPRESSIONS_WRITE)]

Address = Annotated[str, Field(min_length=1, max_length=MAX_ADDRESS_CHARACTERS)]


class AddSuppressionRequest(BaseModel):
    """An address that is not to be sent to."""

    model_config = ConfigDict(extra="forbid")

    channel: Channel = Channel.EMAIL
    address: Address
    reason: str = Field(
        DEFAULT_REASON,
        min_length=1,
        max_length=MAX_REASON_LENGTH,
        description="What begins with `complaint` stops marketing only.",
    )


class RemoveSuppressionRequest(BaseModel):
    """An address that may be sent to again."""

    model_config = ConfigDict(extra="forbid")

    channel: Channel = Channel.EMAIL
    address: Address


class SuppressionResponse(BaseModel):
    """An address that is not sent to, and why."""

    id: str
    channel: str
    address: str | None = Field(
        description="In its normal form; null: of a person who was erased, a hash is left."
    )
    reason: str
    source: str
    created_at: datetime


class RemovedResponse(BaseModel):
    """What was taken away."""

    removed: int


@router.post("", status_code=201, response_model=SuppressionResponse)
def add(
    body: AddSuppressionRequest, caller: Writer, desk: AtDesk, key: IdempotencyKey, request: Request
) -> Response:
    """Suppress an address: nothing is sent to it any more. One that stands keeps its reason."""
    address = normalise_address(body.channel, body.address)
    wanted = SuppressionFilter(channel=body.channel, address=address)

    def effect(connection: Connection) -> SuppressionResponse:
        suppress(
            connection,
            caller.team_id,
            {address: body.reason},
            channel=body.channel,
            source=caller.name,
        )
        found = list_suppressions(connection, caller.team_id, wanted, limit=1)
        if not found:
            raise StillRunning("The address's suppression is just being taken away.")
        return _shown(found[0])

    return once(desk, caller, key, request, body, 201, effect)


@router.get("")
def list_(
    caller: Reader,
    desk: AtDesk,
    paging: Paged,
    channel: Channel | None = None,
    address: Annotated[
        str | None,
        Query(
            min_length=1,
            max_length=MAX_ADDRESS_CHARACTERS,
            description="Of the channel, or else an e-mail address.",
        ),
    ] = None,
    reason: Annotated[str | None, Query(max_length=MAX_REASON_LENGTH)] = None,
) -> Page[SuppressionResponse]:
    """Suppressed addresses, newest first."""
    of_channel = channel or (Channel.EMAIL if address is not None else None)
    wanted = SuppressionFilter(
        channel=of_channel,
        address=normalise_address(of_channel, address) if of_channel and address else None,
        reason=reason,
    )
    before = paging.after[0] if paging.after else None
    rows = desk.read(
        lambda c: list_suppressions(c, caller.team_id, wanted, before=before, limit=paging.fetch)
    )
    return paging.page(rows, _shown, lambda row: [row.id])


@router.get("/{id}")
def get(id: str, caller: Reader, desk: AtDesk) -> SuppressionResponse:
    """One suppression, sup_…"""
    key = key_of(SUPPRESSION_PREFIX, id)
    return _shown(desk.read(lambda c: find_suppression(c, caller.team_id, key)))


@router.delete("/{id}", status_code=204)
def remove(id: str, caller: Writer, desk: AtDesk) -> None:
    """Take it away: what is sent to the address from now on goes to it."""
    key = key_of(SUPPRESSION_PREFIX, id)

    def work(connection: Connection) -> None:
        remove_suppression(connection, caller.team_id, key)
        _record_removal(connection, caller, key)

    desk.write(work)


@router.post("/remove")
def remove_by_address(
    body: RemoveSuppressionRequest, caller: Writer, desk: AtDesk
) -> RemovedResponse:
    """The same by the address, which is how that of an erased person is found. Again is harmless."""
    address = normalise_address(body.channel, body.address)

    def work(connection: Connection) -> Sequence[int]:
        keys = unsuppress(connection, caller.team_id, body.channel, address)
        for key in keys:
            _record_removal(connection, caller, key)
        return keys

    return RemovedResponse(removed=len(desk.write(work)))


def _record_removal(connection: Connection, caller: Caller, key: int) -> None:
    record_audit(
        connection,
        caller.team_id,
        actor=caller.name,
        action="suppression.removed",
        subject=public_id(SUPPRESSION_PREFIX, key),
    )


def _shown(found: ListedSuppression) -> SuppressionResponse:
    return SuppressionResponse(
        id=public_id(SUPPRESSION_PREFIX, found.id),
        channel=found.channel,
        address=found.address,
        reason=found.reason,
        source=found.source,
        created_at=found.created_at,
    )

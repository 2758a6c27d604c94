"""Below /v1/recipients/…: contact points, push tokens, subscriptions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter, Request, Response
from sqlalchemy import Connection

from domain.api_key import Scope
from domain.identifier import RECIPIENT_PREFIX, public_id
from domain.send import Channel
from models.recipient_identity import find_recipient
from models.recipient_list import read_recipient, subscriptions_of
from starter.person_changes import (
    add_point,
    change_point,
    join,
    leave,
    register_token,
    remove_point,
    renew_token,
    replace_point,
)
from web.api.access import Caller, needs
from web.api.desk import AtDesk, Desk
from web.api.idempotency import IdempotencyKey, once
from web.api.paging import Page
from web.api.recipient_bodies import (
    AddContactPointRequest,
    ChangeContactPointRequest,
    ContactPointResponse,
    JoinedResponse,
    LeftResponse,
    RegisterTokenRequest,
    RenewTokenRequest,
    ReplaceContactPointRequest,
    SubscriptionRequest,
    SubscriptionResponse,
    points,
)
from web.api.route import ApiRoute

router = APIRouter(prefix="/v1/recipients/{id}", tags=["recipients"], route_class=ApiRoute)

Reader = Annotated[Caller, needs(Scope.RECIPIENTS_READ)]
Writer = Annotated[Caller, needs(Scope.RECIPIENTS_WRITE)]


@router.get("/contact-points")
def list_contact_points(id: str, caller: Reader, desk: AtDesk) -> Page[ContactPointResponse]:
    """All addresses of the recipient, by channel and rank; of each, what is known of it."""
    return desk.read(lambda c: _points(c, caller.team_id, find_recipient(c, caller.team_id, id)))


@router.post("/contact-points", status_code=201, response_model=ContactPointResponse)
def add_contact_point(
    id: str,
    body: AddContactPointRequest,
    caller: Writer,
    desk: AtDesk,
    key: IdempotencyKey,
    request: Request,
) -> Response:
    """Add an address behind the others of its channel, or before them."""

    def effect(connection: Connection) -> ContactPointResponse:
        recipient_id, point = add_point(
            connection, caller.team_id, id, body.channel, body.address, first=body.first
        )
        return _point(connection, caller.team_id, recipient_id, point)

    return once(desk, caller, key, request, body, 201, effect)


@router.put("/contact-points")
def replace_contact_point(
    id: str, body: ReplaceContactPointRequest, caller: Writer, desk: AtDesk
) -> Page[ContactPointResponse]:
    """Use this address on the channel in the place of the one used so far."""
    return _after(
        desk, caller, lambda c: replace_point(c, caller.team_id, id, body.channel, body.address)
    )


@router.patch("/contact-points/{contact_point}")
def change_contact_point(
    id: str, contact_point: str, body: ChangeContactPointRequest, caller: Writer, desk: AtDesk
) -> Page[ContactPointResponse]:
    """Note that the address, cpt_…, is verified, bounced or gone; or use it first."""
    return _after(
        desk,
        caller,
        lambda c: change_point(
            c, caller.team_id, id, contact_point, state=body.state, first=body.first
        ),
    )


@router.delete("/contact-points/{contact_point}")
def remove_contact_point(
    id: str, contact_point: str, caller: Writer, desk: AtDesk
) -> Page[ContactPointResponse]:
    """Remove the address, cpt_…; where it was the one in use, the next one is."""
    return _after(desk, caller, lambda c: remove_point(c, caller.team_id, id, contact_point))


@router.post("/push-tokens", status_code=201, response_model=ContactPointResponse)
def register_push_token(
    id: str,
    body: RegisterTokenRequest,
    caller: Writer,
    desk: AtDesk,
    key: IdempotencyKey,
    request: Request,
) -> Response:
    """Register the token of an app on a device. Whoever had it before has it no more."""

    def effect(connection: Connection) -> ContactPointResponse:
        recipient_id, point = register_token(
            connection, caller.team_id, id, Channel(body.channel), body.token
        )
        return _point(connection, caller.team_id, recipient_id, point)

    return once(desk, caller, key, request, body, 201, effect)


@router.post("/push-tokens/renew", response_model=Page[ContactPointResponse])
def renew_push_token(
    id: str,
    body: RenewTokenRequest,
    caller: Writer,
    desk: AtDesk,
    key: IdempotencyKey,
    request: Request,
) -> Response:
    """Put the new token in the place of the old one."""

    def effect(connection: Connection) -> Page[ContactPointResponse]:
        recipient_id = renew_token(
            connection, caller.team_id, id, Channel(body.channel), body.old, body.new
        )
        return _points(connection, caller.team_id, recipient_id)

    return once(desk, caller, key, request, body, 200, effect)


@router.get("/subscriptions")
def list_subscriptions(id: str, caller: Reader, desk: AtDesk) -> Page[SubscriptionResponse]:
    """How the recipient stands to each topic that they ever joined, by channel."""

    def read(connection: Connection) -> Page[SubscriptionResponse]:
        lines = subscriptions_of(connection, find_recipient(connection, caller.team_id, id))
        return Page(data=[SubscriptionResponse.of(line) for line in lines], has_more=False)

    return desk.read(read)


@router.post("/subscriptions", response_model=JoinedResponse)
def join_topic(
    id: str,
    body: SubscriptionRequest,
    caller: Writer,
    desk: AtDesk,
    key: IdempotencyKey,
    request: Request,
) -> Response:
    """Subscribe the recipient, also one who had left: you say that they asked for it."""

    def effect(connection: Connection) -> JoinedResponse:
        recipient_id, state = join(
            connection, caller.team_id, id, body.topic, body.channel, source=caller.name
        )
        return JoinedResponse(
            recipient=public_id(RECIPIENT_PREFIX, recipient_id),
            topic=body.topic,
            channel=body.channel,
            state=state,
        )

    return once(desk, caller, key, request, body, 200, effect)


@router.post("/subscriptions/leave")
def leave_topic(id: str, body: SubscriptionRequest, caller: Writer, desk: AtDesk) -> LeftResponse:
    """End the recipient's subscription. Again is harmless, so it needs no idempotency key."""
    recipient_id, has_ended = desk.write(
        lambda c: leave(c, caller.team_id, id, body.topic, body.channel, source=caller.name)
    )
    return LeftResponse(
        recipient=public_id(RECIPIENT_PREFIX, recipient_id),
        topic=body.topic,
        channel=body.channel,
        ended=has_ended,
    )


def _after(
    desk: Desk, caller: Caller, change: Callable[[Connection], int]
) -> Page[ContactPointResponse]:
    """The contact points as they are after the change."""
    return desk.write(lambda c: _points(c, caller.team_id, change(c)))


def _points(connection: Connection, team_id: int, recipient_id: int) -> Page[ContactPointResponse]:
    line = read_recipient(connection, team_id, recipient_id)
    return Page(data=points(line), has_more=False)


def _point(
    connection: Connection, team_id: int, recipient_id: int, point_id: int
) -> ContactPointResponse:
    line = read_recipient(connection, team_id, recipient_id)
    return next(
        ContactPointResponse.of(one) for one in line.contact_points if one["id"] == point_id
    )

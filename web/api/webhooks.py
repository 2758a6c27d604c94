"""/v1/webhooks: endpoints of the team that are told what happened."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import Connection

from domain.api_key import Scope
from domain.identifier import WEBHOOK_DELIVERY_PREFIX, WEBHOOK_PREFIX, key_of, public_id
from domain.webhook_address import MAX_CHARACTERS
from domain.webhook_event import WebhookEvent, event_data
from models.webhook_delivery import ListedDelivery, list_deliveries
from models.webhook_endpoint import Endpoint, EndpointChange, find_endpoint, list_endpoints
from starter.webhooks import WebhookDesk, WebhookWish, signing
from web.api.access import Caller, needs
from web.api.desk import AtDesk, Desk
from web.api.idempotency import IdempotencyKey, once
from web.api.paging import Page, Paged
from web.api.route import ApiRoute

router = APIRouter(prefix="/v1/webhooks", tags=["webhooks"], route_class=ApiRoute)

Reader = Annotated[Caller, needs(Scope.WEBHOOKS_READ)]
Writer = Annotated[Caller, needs(Scope.WEBHOOKS_WRITE)]

Url = Annotated[str, Field(min_length=1, max_length=MAX_CHARACTERS, description="https://…")]
Events = Annotated[
    list[WebhookEvent], Field(max_length=50, description="What it is told; empty: everything.")
]
Description = Annotated[str, Field(max_length=500)]


class AddWebhookRequest(BaseModel):
    """An endpoint that is to be told what happens from now on."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"url": "https://hooks.example.com/carillon", "events": []}]
        },
    )

    url: Url
    events: Events = []
    description: Description = ""


class ChangeWebhookRequest(BaseModel):
    """What is to be different; what is left out stays."""

    model_config = ConfigDict(extra="forbid")

    url: Url | None = None
    events: Events | None = None
    description: Description | None = None
    is_enabled: bool | None = Field(
        None, description="True: it is told again, what it was owed first."
    )


class WebhookResponse(BaseModel):
    """An endpoint, without its secret."""

    id: str = Field(description="whk_…")
    url: str
    events: list[str]
    description: str
    is_enabled: bool
    disabled_reason: str | None
    failing_since: datetime | None = Field(
        description="Since when it has taken nothing, though it was tried."
    )
    secret_rotated_at: datetime | None
    created_at: datetime


class WebhookSecretsResponse(BaseModel):
    """What signatures are verified with."""

    secrets: list[str] = Field(
        description="The newest first; several while one is replaced: each signs."
    )


class WebhookDeliveryResponse(BaseModel):
    """One event for one endpoint."""

    id: str = Field(description="whd_…, the webhook-id of its requests.")
    type: str
    data: dict[str, Any]
    created_at: datetime
    delivered_at: datetime | None
    tries: int
    next_at: datetime | None = Field(description="When it is tried again.")
    last_error: str | None


@router.post("", status_code=201, response_model=WebhookResponse)
def add(
    body: AddWebhookRequest, caller: Writer, desk: AtDesk, key: IdempotencyKey, request: Request
) -> Response:
    """Register an endpoint. Its secret is at `/v1/webhooks/{id}/secret`."""
    wish = WebhookWish(url=body.url, events=body.events, description=body.description)
    desk_of_team = _desk_of(desk, caller)
    return once(desk, caller, key, request, body, 201, lambda c: _shown(desk_of_team.add(c, wish)))


@router.get("")
def list_(caller: Reader, desk: AtDesk, paging: Paged) -> Page[WebhookResponse]:
    """The team's endpoints, newest first."""
    before = paging.after[0] if paging.after else None
    rows = desk.read(lambda c: list_endpoints(c, caller.team_id, before=before, limit=paging.fetch))
    return paging.page(rows, _shown, lambda row: [row.id])


@router.get("/{id}")
def get(id: str, caller: Reader, desk: AtDesk) -> WebhookResponse:
    """One endpoint."""
    key = key_of(WEBHOOK_PREFIX, id)
    return _shown(desk.read(lambda c: find_endpoint(c, caller.team_id, key)))


@router.patch("/{id}")
def change(id: str, body: ChangeWebhookRequest, caller: Writer, desk: AtDesk) -> WebhookResponse:
    """Change an endpoint. Where its URL changes, or it is enabled, what it is owed is tried at once."""
    key = key_of(WEBHOOK_PREFIX, id)
    wanted = EndpointChange(
        url=body.url,
        events=body.events,
        description=body.description,
        is_enabled=body.is_enabled,
    )
    return _shown(desk.write(lambda c: _desk_of(desk, caller).change(c, key, wanted)))


@router.delete("/{id}", status_code=204)
def remove(id: str, caller: Writer, desk: AtDesk) -> None:
    """Take it away: it is told nothing more, not even what it is owed."""
    key = key_of(WEBHOOK_PREFIX, id)
    desk.write(lambda c: _desk_of(desk, caller).remove(c, key))


@router.get("/{id}/secret")
def secret(id: str, caller: Writer, desk: AtDesk) -> WebhookSecretsResponse:
    """What its owner verifies signatures with (Standard Webhooks)."""
    key = key_of(WEBHOOK_PREFIX, id)
    return WebhookSecretsResponse(
        secrets=desk.read(lambda c: _desk_of(desk, caller).secrets(c, key))
    )


@router.post("/{id}/secret/rotate", response_model=WebhookResponse)
def rotate(
    id: str, caller: Writer, desk: AtDesk, key: IdempotencyKey, request: Request
) -> Response:
    """A new secret; for 24 hours the one before signs beside it."""
    endpoint = key_of(WEBHOOK_PREFIX, id)
    desk_of_team = _desk_of(desk, caller)
    return once(
        desk, caller, key, request, None, 200, lambda c: _shown(desk_of_team.rotate(c, endpoint))
    )


@router.post("/{id}/test", status_code=202, response_model=WebhookDeliveryResponse)
def test(id: str, caller: Writer, desk: AtDesk, key: IdempotencyKey, request: Request) -> Response:
    """Have a `webhook.test` event delivered, after all that is owed to the endpoint already."""
    endpoint = key_of(WEBHOOK_PREFIX, id)
    desk_of_team = _desk_of(desk, caller)

    def effect(connection: Connection) -> WebhookDeliveryResponse:
        return _delivery(desk_of_team.test(connection, endpoint))

    return once(desk, caller, key, request, None, 202, effect)


@router.get("/{id}/deliveries")
def deliveries(
    id: str, caller: Reader, desk: AtDesk, paging: Paged
) -> Page[WebhookDeliveryResponse]:
    """What it was told and is owed, newest first; delivered events are kept for a week by default."""
    endpoint = key_of(WEBHOOK_PREFIX, id)
    before = paging.after[0] if paging.after else None

    def read(connection: Connection) -> list[ListedDelivery]:
        find_endpoint(connection, caller.team_id, endpoint)
        return list_deliveries(connection, endpoint, before=before, limit=paging.fetch)

    return paging.page(desk.read(read), _delivery, lambda row: [row.id])


def _desk_of(desk: Desk, caller: Caller) -> WebhookDesk:
    return WebhookDesk(team_id=caller.team_id, actor=caller.name, config=signing(desk.settings))


def _shown(endpoint: Endpoint) -> WebhookResponse:
    return WebhookResponse(
        id=public_id(WEBHOOK_PREFIX, endpoint.id),
        url=endpoint.url,
        events=endpoint.events,
        description=endpoint.description,
        is_enabled=endpoint.is_enabled,
        disabled_reason=endpoint.disabled_reason or None,
        failing_since=endpoint.failing_since,
        secret_rotated_at=endpoint.rotated_at,
        created_at=endpoint.created_at,
    )


def _delivery(row: ListedDelivery) -> WebhookDeliveryResponse:
    return WebhookDeliveryResponse(
        id=public_id(WEBHOOK_DELIVERY_PREFIX, row.id),
        type=row.event,
        data=event_data(row.payload),
        created_at=row.created_at,
        delivered_at=row.delivered_at,
        tries=row.tries,
        next_at=row.next_at,
        last_error=row.last_error or None,
    )

"""/v1/events: say what happened, and everybody who joined the topic is told."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Response
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from domain.api_key import Scope
from domain.identifier import EVENT_PREFIX, SEND_PREFIX, key_of, public_id
from models.topic_event import Event, StoredEvent, read_event
from web.api.access import Caller, needs
from web.api.desk import AtDesk
from web.api.idempotency import GivenKey, answered, checked_key, one_key
from web.api.route import ApiRoute

router = APIRouter(prefix="/v1/events", tags=["events"], route_class=ApiRoute)

Reader = Annotated[Caller, needs(Scope.EVENTS_READ)]
Writer = Annotated[Caller, needs(Scope.EVENTS_WRITE)]


class RaiseEventRequest(BaseModel):
    """What happened."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"topic": "orders", "key": "order-A-17", "data": {"order": "A-17"}}]
        },
    )

    topic: Annotated[str, StringConstraints(min_length=1, max_length=200)] = Field(
        description="Its key: who has joined it is told."
    )
    key: Annotated[str, StringConstraints(pattern=r"^[ -~]{1,200}$")] | None = Field(
        None, description="The event's own: the same again tells nobody again. Or the header."
    )
    data: dict[str, Any] = Field({}, description="For the topic's template; up to 100 kB.")


class EventResponse(BaseModel):
    """An event that is committed: its messages will go, whatever fails."""

    id: str = Field(description="evt_…")
    topic: str
    key: str
    send: str | None = Field(description="Of those who are told at once, snd_…; null: nobody is.")
    messages: int = Field(description="Members who are told at once.")
    digest_items: int = Field(description="Members who find it in their next digest.")
    joined: int = Field(description="Recipients whom rules made members of other topics.")


class EventDetailResponse(EventResponse):
    """An event with what it said."""

    data: dict[str, Any]
    created_at: datetime


@router.post("", status_code=202, response_model=EventResponse)
def raise_event(
    body: RaiseEventRequest, caller: Writer, desk: AtDesk, idempotency_key: GivenKey = None
) -> Response:
    """Tell everybody who joined the topic, at once or in their digest, as soon as it is committed.

    Topic and key are the event, for ever. The key may stand in the header instead.
    """
    key = checked_key(one_key(idempotency_key, body.key, "/key"))
    carillon = desk.carillon(caller.team_id)
    raised = carillon.event_blocking(body.topic, key, body.data, is_test=caller.is_test)
    shown = EventResponse(topic=body.topic, key=key, **_counts(raised))
    return answered(shown.model_dump_json(), 202, is_replay=raised.is_repeat)


@router.get("/{id}")
def get(id: str, caller: Reader, desk: AtDesk) -> EventDetailResponse:
    """One event, evt_…, with how many were told in which way."""
    found = desk.read(lambda c: read_event(c, caller.team_id, key_of(EVENT_PREFIX, id)))
    return EventDetailResponse(
        topic=found.topic,
        key=found.key,
        data=found.data,
        created_at=found.created_at,
        **_counts(found),
    )


def _counts(event: Event | StoredEvent) -> dict[str, Any]:
    return {
        "id": public_id(EVENT_PREFIX, event.event_id),
        "send": None if event.send_id is None else public_id(SEND_PREFIX, event.send_id),
        "messages": event.messages,
        "digest_items": event.digest_items,
        "joined": event.joined,
    }

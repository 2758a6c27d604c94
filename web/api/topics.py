"""/v1/topics: what people join and leave. One call makes a topic; its members and rules lie below it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Response
from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from sqlalchemy import Connection

from domain.api_key import Scope
from domain.cap import Over
from domain.digest import Cadence
from domain.send import MessageClass, OptIn
from models.topic import StoredTopic, list_stored_topics
from settings import Settings
from starter.accounts import public_url
from starter.memberships import named_topic
from starter.topics import TopicWish, create_topic
from web.api.access import Caller, needs
from web.api.desk import AtDesk
from web.api.paging import Page, Paged
from web.api.route import ApiRoute

router = APIRouter(prefix="/v1/topics", tags=["topics"], route_class=ApiRoute)

Reader = Annotated[Caller, needs(Scope.TOPICS_READ)]
Writer = Annotated[Caller, needs(Scope.TOPICS_WRITE)]


class PutTopicRequest(BaseModel):
    """All that the topic is to be."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"name": "New orders", "template": "order-shipped"}]},
    )

    name: Annotated[str, StringConstraints(min_length=1, max_length=200)] = Field(
        description="As people see it."
    )
    template: Annotated[str, StringConstraints(min_length=1, max_length=200)] | None = Field(
        None, description="KEY or KEY@N: what an event sends; null: for campaigns alone."
    )
    message_class: MessageClass | None = Field(None, description="Null: the template's.")
    plan: Annotated[str, StringConstraints(min_length=1, max_length=500)] | None = Field(
        None, description="Channel plan, as in_app:read/1h,email; null: the template's channel."
    )
    cadence: Cadence = Field(
        Cadence.IMMEDIATE, description="Of members by e-mail who say nothing else."
    )
    opt_in: OptIn = OptIn.EXPLICIT
    form: bool = Field(False, description="Anybody may ask to join on a public page.")
    over_cap: Literal["defer", "skip", "cap"] | None = Field(
        None, description="What becomes of a message over a frequency cap; null: as it was."
    )

    def wish(self, key: str) -> TopicWish:
        """What the layers below call it."""
        return TopicWish(
            key=key,
            name=self.name,
            template=self.template,
            message_class=self.message_class,
            plan=self.plan or "",
            cadence=self.cadence,
            opt_in=self.opt_in,
            has_form=self.form,
            over_cap=self.over_cap,
        )


class TopicResponse(BaseModel):
    """A topic."""

    key: str
    name: str
    template: str | None
    message_class: MessageClass
    plan: list[dict[str, Any]] = Field(description="Steps; none: the template's one channel.")
    cadence: Cadence
    opt_in: OptIn
    over_cap: Over | None = Field(description="Null: as each cap says.")
    form_url: str | None = Field(description="The public page to join it; null: it has none.")


_MADE: dict[int | str, dict[str, Any]] = {
    201: {"model": TopicResponse, "description": "The topic is new."}
}


@router.put("/{key}", response_model=TopicResponse, responses=_MADE)
def put(
    key: str, body: PutTopicRequest, caller: Writer, desk: AtDesk, response: Response
) -> TopicResponse:
    """Make the topic, or change the one that is there into this; its members stay. Again is harmless."""

    def work(connection: Connection) -> tuple[bool, StoredTopic]:
        is_new = create_topic(connection, caller.team_id, body.wish(key))
        return is_new, named_topic(connection, caller.team_id, key)

    is_new, stored = desk.write(work)
    response.status_code = 201 if is_new else 200
    return _shown(stored, desk.settings)


@router.get("")
def list_(caller: Reader, desk: AtDesk, paging: Paged) -> Page[TopicResponse]:
    """The team's topics, oldest first."""
    after = paging.after[0] if paging.after else 0
    rows = desk.read(
        lambda c: list_stored_topics(c, caller.team_id, after=after, most=paging.fetch)
    )
    return paging.page(rows, lambda row: _shown(row, desk.settings), lambda row: [row.id])


@router.get("/{key}")
def get(key: str, caller: Reader, desk: AtDesk) -> TopicResponse:
    """One topic."""
    return _shown(desk.read(lambda c: named_topic(c, caller.team_id, key)), desk.settings)


def _shown(topic: StoredTopic, settings: Settings) -> TopicResponse:
    said = topic.settings
    return TopicResponse(
        key=said.key,
        name=said.name,
        template=said.template,
        message_class=said.message_class,
        plan=[step.as_json() for step in said.plan],
        cadence=said.cadence,
        opt_in=said.opt_in,
        over_cap=topic.over_cap,
        form_url=f"{public_url(settings)}/join/{said.key}" if said.has_form else None,
    )

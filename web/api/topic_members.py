"""/v1/topics/…/members: who has joined, how they stand, and how often they are told."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from itertools import groupby
from typing import Annotated, Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from sqlalchemy import Connection

from domain.api_key import Scope
from domain.digest import Cadence
from domain.send import Channel, SubscriptionState
from models.membership import Member, list_members
from starter.memberships import (
    Joiner,
    change_member,
    join_by_name,
    leave_by_name,
    link_by_name,
    memberships_of,
    named_membership,
    named_topic,
)
from starter.topics import JoinWish
from web.api.access import Caller, needs
from web.api.desk import AtDesk
from web.api.idempotency import IdempotencyKey, once
from web.api.paging import Page, Paged
from web.api.route import ApiRoute

router = APIRouter(prefix="/v1/topics/{key}/members", tags=["topic members"], route_class=ApiRoute)

Reader = Annotated[Caller, needs(Scope.TOPICS_READ)]
# Not of the topic, but of people, who are the same for test keys and live ones.
Writer = Annotated[Caller, needs(Scope.TOPICS_WRITE, is_open_to_tests=True)]


class JoinTopicRequest(BaseModel):
    """Who joins, and how."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"recipient": "ada@example.org"}]}
    )

    recipient: Annotated[str, StringConstraints(min_length=1, max_length=500)] = Field(
        description="rcp_…, an external id, or an address, which may be nobody's yet."
    )
    channel: Channel = Channel.EMAIL
    cadence: Cadence | None = Field(None, description="Null: the topic's, or as it was.")
    data: dict[str, Any] | None = Field(
        None, description="`member` in templates, up to 10 kB; null: none, or as it was."
    )


class ChangeMemberRequest(BaseModel):
    """What is to be different."""

    model_config = ConfigDict(extra="forbid")

    channel: Channel = Channel.EMAIL
    cadence: Cadence | None = Field(None, description="Null: as it was.")
    data: dict[str, Any] | None = Field(None, description="Null: as it was.")


class SubscriptionResponse(BaseModel):
    """A membership by one channel."""

    channel: Channel
    state: SubscriptionState
    cadence: Cadence
    data: dict[str, Any]
    source: str
    changed_at: datetime


class MemberResponse(BaseModel):
    """How somebody stands to the topic."""

    recipient: str = Field(description="rcp_…")
    external_id: str | None
    subscriptions: list[SubscriptionResponse]

    @staticmethod
    def of(rows: Sequence[Member]) -> MemberResponse:
        """Of all rows of one recipient."""
        return MemberResponse(
            recipient=rows[0].recipient,
            external_id=rows[0].external_id,
            subscriptions=[
                SubscriptionResponse(
                    channel=Channel(row.channel),
                    state=SubscriptionState(row.state),
                    cadence=Cadence(row.cadence),
                    data=row.details,
                    source=row.source,
                    changed_at=row.changed_at,
                )
                for row in rows
            ],
        )


class JoinLinkRequest(BaseModel):
    """Who is to join by the link."""

    model_config = ConfigDict(extra="forbid")

    recipient: Annotated[str, StringConstraints(min_length=1, max_length=500)] = Field(
        description="rcp_…, an external id, or an address, which may be nobody's yet."
    )
    channel: Channel = Channel.EMAIL


class JoinLinkResponse(BaseModel):
    """A link for this recipient alone."""

    url: str = Field(description="Opening it changes nothing; its button joins.")


class LeftResponse(BaseModel):
    """They are no member now."""

    changed: bool = Field(description="Whether they were.")


@router.post("", status_code=201, response_model=MemberResponse)
def join(
    key: str,
    body: JoinTopicRequest,
    caller: Writer,
    desk: AtDesk,
    idempotency_key: IdempotencyKey,
    request: Request,
) -> Response:
    """Make somebody a member, also one who had left.

    Pending where the topic asks for double opt-in: they get a mail to confirm.
    """
    joining = desk.joining(caller.team_id)
    joiner = Joiner(
        topic=key,
        who=body.recipient,
        wish=JoinWish(
            channel=body.channel,
            cadence=body.cadence,
            details=body.data,
            source=caller.name,
            is_test=caller.is_test,
        ),
    )

    def effect(connection: Connection) -> MemberResponse:
        made = join_by_name(connection, joining, caller.team_id, joiner)
        return MemberResponse.of(memberships_of(connection, made))

    answer = once(desk, caller, idempotency_key, request, body, 201, effect)
    joining.announce()
    return answer


@router.post("/link")
def link(key: str, body: JoinLinkRequest, caller: Writer, desk: AtDesk) -> JoinLinkResponse:
    """A link by which this recipient joins, for a message to them. It is the same each time."""
    joiner = Joiner(topic=key, who=body.recipient, wish=JoinWish(channel=body.channel))
    joining = desk.joining(caller.team_id)
    return JoinLinkResponse(
        url=desk.write(lambda c: link_by_name(c, joining, caller.team_id, joiner))
    )


@router.get("")
def list_(key: str, caller: Reader, desk: AtDesk, paging: Paged) -> Page[MemberResponse]:
    """Who has joined, also those who left since or have not confirmed, by recipient."""
    after = paging.after[0] if paging.after else 0

    def read(connection: Connection) -> list[list[Member]]:
        topic = named_topic(connection, caller.team_id, key)
        rows = list_members(connection, topic.id, after=after, most=paging.fetch)
        return [list(each) for _, each in groupby(rows, lambda row: row.recipient_id)]

    return paging.page(desk.read(read), MemberResponse.of, lambda rows: [rows[0].recipient_id])


@router.get("/{id}")
def get(key: str, id: str, caller: Reader, desk: AtDesk) -> MemberResponse:
    """How one recipient stands: rcp_…, an external id, or an address that one person has."""
    return desk.read(
        lambda c: MemberResponse.of(memberships_of(c, named_membership(c, caller.team_id, key, id)))
    )


@router.patch("/{id}")
def change(
    key: str, id: str, body: ChangeMemberRequest, caller: Writer, desk: AtDesk
) -> MemberResponse:
    """Tell a member at each event, daily or weekly from now on; change the membership's own data."""

    def work(connection: Connection) -> MemberResponse:
        membership = named_membership(connection, caller.team_id, key, id)
        wish = JoinWish(
            channel=body.channel, cadence=body.cadence, details=body.data, source=caller.name
        )
        change_member(connection, membership, wish)
        return MemberResponse.of(memberships_of(connection, membership))

    return desk.write(work)


@router.delete("/{id}")
def leave(
    key: str, id: str, caller: Writer, desk: AtDesk, channel: Channel = Channel.EMAIL
) -> LeftResponse:
    """End a membership by one channel. Again is harmless."""

    def work(connection: Connection) -> bool:
        membership = named_membership(connection, caller.team_id, key, id)
        return leave_by_name(connection, membership, channel, caller.name)

    return LeftResponse(changed=desk.write(work))

"""/v1/topics/…/rules: an event whose data says so makes its recipient a member of another topic."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from sqlalchemy import Connection

from domain.api_key import Scope
from domain.identifier import RULE_PREFIX, key_of, public_id
from models.topic_rule import Rule, rules_of
from starter.memberships import add_named_rule, named_topic, remove_named_rule
from starter.topics import RuleWish
from web.api.access import Caller, needs
from web.api.desk import AtDesk
from web.api.idempotency import IdempotencyKey, once
from web.api.paging import Page, Paged
from web.api.route import ApiRoute

router = APIRouter(prefix="/v1/topics/{key}/rules", tags=["topic rules"], route_class=ApiRoute)

Reader = Annotated[Caller, needs(Scope.TOPICS_READ)]
Writer = Annotated[Caller, needs(Scope.TOPICS_WRITE)]


class AddRuleRequest(BaseModel):
    """What an event's data must say, and what its recipient joins then."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"field": "plan", "value": "gold", "joins": "vips"}]},
    )

    field: Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,99}$")]
    value: Annotated[str, StringConstraints(min_length=1, max_length=500)] = Field(
        description="As text; numbers, true and false as JSON writes them."
    )
    joins: Annotated[str, StringConstraints(min_length=1, max_length=200)] = Field(
        description="Key of the topic that the recipient named by the event's `recipient` joins."
    )


class RuleResponse(BaseModel):
    """A rule."""

    id: str = Field(description="rul_…")
    field: str
    value: str
    joins: str


class RemovedRuleResponse(BaseModel):
    """It is no rule any more; who joined by it stays a member."""

    id: str


@router.post("", status_code=201, response_model=RuleResponse)
def add(
    key: str,
    body: AddRuleRequest,
    caller: Writer,
    desk: AtDesk,
    idempotency_key: IdempotencyKey,
    request: Request,
) -> Response:
    """Add a rule on the topic's events; one that is there already is the answer, too."""
    wish = RuleWish(topic=key, when=f"{body.field}={body.value}", joins=body.joins)
    return once(
        desk,
        caller,
        idempotency_key,
        request,
        body,
        201,
        lambda connection: _shown(add_named_rule(connection, caller.team_id, wish)),
    )


@router.get("")
def list_(key: str, caller: Reader, desk: AtDesk, paging: Paged) -> Page[RuleResponse]:
    """The rules on the topic's events, oldest first."""
    after = paging.after[0] if paging.after else 0

    def read(connection: Connection) -> list[Rule]:
        topic = named_topic(connection, caller.team_id, key)
        return list(rules_of(connection, topic.id, after=after, most=paging.fetch))

    return paging.page(desk.read(read), _shown, lambda rule: [rule.id])


@router.delete("/{id}")
def remove(key: str, id: str, caller: Writer, desk: AtDesk) -> RemovedRuleResponse:
    """Remove a rule, rul_…"""
    rule_id = key_of(RULE_PREFIX, id)
    desk.write(lambda c: remove_named_rule(c, caller.team_id, key, rule_id))
    return RemovedRuleResponse(id=id)


def _shown(rule: Rule) -> RuleResponse:
    return RuleResponse(
        id=public_id(RULE_PREFIX, rule.id), field=rule.field, value=rule.value, joins=rule.joins
    )

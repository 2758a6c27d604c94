"""/v1/messages: send one or many, see what became of them, cancel."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from sqlalchemy import Connection

from domain.api_key import Scope
from domain.identifier import SEND_PREFIX, key_of, message_of, public_id
from domain.outcome import Outcome
from domain.send import Priority
from models.database import clock
from models.message_list import MessageFilter, list_messages
from models.request import Request as Committed
from models.request import send_of_key
from models.request_progress import request_status
from models.trace import trace_message
from starter.bulk import Answer, request_many
from starter.messages import REFUSALS
from starter.requests import cancel_of_team, cancel_single
from starter.trace import trace_of
from starter.wish import RequestRefused, Wish
from web.api.access import Caller, needs
from web.api.desk import AtDesk
from web.api.idempotency import GivenKey, IdempotencyKey, answered, checked_key, once, one_key
from web.api.message_bodies import (
    OUTCOMES,
    BulkItem,
    BulkRequest,
    BulkResponse,
    CancelByKeyRequest,
    CancelledResponse,
    DryRunResponse,
    MessageDetailResponse,
    MessageResponse,
    SendMessageRequest,
    SendResponse,
    SentResponse,
)
from web.api.moment import Moment
from web.api.paging import Page, Paged
from web.api.problem import FieldError, Problem, ProblemAnswer, problem_document
from web.api.refusals import problem_of
from web.api.route import ApiRoute, BulkRoute

router = APIRouter(tags=["messages"], route_class=ApiRoute)
bulk_router = APIRouter(tags=["messages"], route_class=BulkRoute)

Reader = Annotated[Caller, needs(Scope.MESSAGES_READ)]
Sender = Annotated[Caller, needs(Scope.MESSAGES_SEND)]

OutcomeWord = StrEnum("OutcomeWord", {outcome.name: outcome.word for outcome in Outcome})  # type: ignore[misc]  # made of our own enum
_DRY_RUN: dict[int | str, dict[str, Any]] = {
    200: {"model": DryRunResponse, "description": "A dry run: nothing was written."}
}


@router.post("/v1/messages", status_code=202, response_model=SentResponse, responses=_DRY_RUN)
@router.post(
    "/api/v1/send_notification",
    status_code=202,
    response_model=SentResponse,
    responses=_DRY_RUN,
    operation_id="send_notification",
)
def send(
    body: SendMessageRequest, caller: Sender, desk: AtDesk, idempotency_key: GivenKey = None
) -> Response:
    """Send a message. The answer comes when it is committed; neither Temporal nor a worker is needed.

    The idempotency key holds for all sends of the team, whichever way they are asked for.
    """
    carillon = desk.carillon(caller.team_id)
    if body.dry_run:
        ready = carillon.check(body.wish(None, is_test=caller.is_test))
        return answered(DryRunResponse.of(ready).model_dump_json(), 200, is_replay=False)
    key = checked_key(one_key(idempotency_key, body.idempotency_key, "/idempotency_key"))
    made = carillon.request(body.wish(key, is_test=caller.is_test))
    return answered(SentResponse.of(made).model_dump_json(), 202, is_replay=made.is_repeat)


@bulk_router.post("/v1/messages/bulk", status_code=202, response_model=BulkResponse)
def send_bulk(
    body: BulkRequest, caller: Sender, desk: AtDesk, key: IdempotencyKey, request: Request
) -> Response:
    """Send up to 1,000 messages in one transaction. Each is taken or refused for itself."""
    wishes = [_wish(item, caller) for item in body.messages]
    carillon = desk.carillon(caller.team_id)
    request_id: str = request.state.request_id

    def effect(connection: Connection) -> BulkResponse:
        answers = request_many(carillon, connection, wishes)
        return _bulk(answers, request_id, request.url.path)

    answer = once(desk, caller, key, request, body, 202, effect)
    carillon.announce()
    return answer


@router.get("/v1/messages")
def list_(  # noqa: PLR0913  a handler's filters
    caller: Reader,
    desk: AtDesk,
    paging: Paged,
    send: Annotated[str | None, Query(max_length=50, description="snd_…")] = None,
    recipient: Annotated[str | None, Query(max_length=500, description="External id.")] = None,
    template: Annotated[str | None, Query(max_length=200, description="Its key.")] = None,
    topic: Annotated[str | None, Query(max_length=200, description="Its key.")] = None,
    idempotency_key: Annotated[str | None, Query(max_length=200)] = None,
    outcome: OutcomeWord | None = None,
    since: Moment | None = None,
    until: Moment | None = None,
) -> Page[MessageResponse]:
    """Messages, newest first: those of campaigns, too."""
    wanted = MessageFilter(
        send_id=None if send is None else key_of(SEND_PREFIX, send),
        recipient=recipient,
        template=template,
        topic=topic,
        idempotency_key=idempotency_key,
        outcome=None if outcome is None else OUTCOMES[outcome.value],
        since=_in_range(since, "since"),
        until=_in_range(until, "until"),
    )
    after = None if paging.after is None else (paging.after[0], paging.after[1])
    rows = desk.read(
        lambda c: list_messages(c, caller.team_id, wanted, after=after, limit=paging.fetch)
    )
    return paging.page(rows, MessageResponse.of, lambda row: [row.send_id, row.ordinal])


@router.get("/v1/messages/{id}")
def get(id: str, caller: Reader, desk: AtDesk) -> MessageDetailResponse:
    """One message, msg_…, with its deliveries and all that happened to it."""
    send_id, ordinal = message_of(id)

    def read(connection: Connection) -> MessageDetailResponse:
        found = trace_message(connection, caller.team_id, send_id, ordinal)
        return MessageDetailResponse.of(found, trace_of(found, desk.settings, clock(connection)))

    return desk.read(read)


@router.post("/v1/messages/cancel")
def cancel_by_key(body: CancelByKeyRequest, caller: Sender, desk: AtDesk) -> CancelledResponse:
    """Cancel the send that was asked for with this idempotency key. Again is harmless."""

    def work(connection: Connection) -> int:
        send_id = send_of_key(connection, caller.team_id, body.idempotency_key)
        cancel_of_team(connection, caller.team_id, send_id, by_test_key=caller.is_test)
        return send_id

    return _cancelled(desk.write(work))


@router.post("/v1/messages/{id}/cancel")
def cancel(id: str, caller: Sender, desk: AtDesk) -> CancelledResponse:
    """Cancel one message, msg_…, that is all of its send. Again is harmless."""
    send_id, ordinal = message_of(id)
    desk.write(
        lambda c: cancel_single(c, caller.team_id, send_id, ordinal, by_test_key=caller.is_test)
    )
    return _cancelled(send_id)


@router.get("/v1/sends/{id}")
def get_send(id: str, caller: Reader, desk: AtDesk) -> SendResponse:
    """How far a send of single messages is, snd_…"""
    found = desk.read(lambda c: request_status(c, caller.team_id, key_of(SEND_PREFIX, id)))
    return SendResponse(
        id=found.id,
        state=found.state,
        template=found.template,
        priority=Priority(found.priority).word,
        messages=found.messages,
        counts=dict(found.counts),
        due_at=found.due_at,
        expires_at=found.expires_at,
        created_at=found.created_at,
        closed_at=found.closed_at,
    )


@router.post("/v1/sends/{id}/cancel")
def cancel_send(id: str, caller: Sender, desk: AtDesk) -> CancelledResponse:
    """Cancel a send of single messages: who was not tried yet gets nothing. Again is harmless."""
    send_id = key_of(SEND_PREFIX, id)
    desk.write(lambda c: cancel_of_team(c, caller.team_id, send_id, by_test_key=caller.is_test))
    return _cancelled(send_id)


def _wish(item: SendMessageRequest, caller: Caller) -> Wish | Exception:
    if item.dry_run:
        return RequestRefused("A bulk has no dry run; send the item by itself.")
    try:
        return item.wish(item.idempotency_key, is_test=caller.is_test)
    except REFUSALS as error:
        return error


def _bulk(answers: list[Answer], request_id: str, path: str) -> BulkResponse:
    items = []
    for index, answer in enumerate(answers):
        if isinstance(answer, Committed):
            items.append(BulkItem(index=index, status=202, sent=SentResponse.of(answer)))
            continue
        problem = problem_of(answer)
        if problem is None:
            raise answer
        shown = problem_document(problem, instance=path, request_id=request_id)
        items.append(
            BulkItem(
                index=index, status=problem.status_code, problem=ProblemAnswer.model_validate(shown)
            )
        )
    accepted = sum(item.sent is not None for item in items)
    return BulkResponse(accepted=accepted, refused=len(items) - accepted, items=items)


def _cancelled(send_id: int) -> CancelledResponse:
    return CancelledResponse(id=public_id(SEND_PREFIX, send_id), state="cancelled")


def _in_range(given: datetime | None, name: str) -> datetime | None:
    """Raises Problem for times that no send can have."""
    if given is not None and not 1970 <= given.year <= 2200:
        sentence = f"`{name}` lies between 1970 and 2200."
        raise Problem(
            422, "out-of-range", sentence, errors=[FieldError(pointer=name, detail=sentence)]
        )
    return given

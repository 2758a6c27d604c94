"""/v1/recipients: people are added and changed, looked up, merged, exported, erased."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import ValidationError
from sqlalchemy import Connection

from domain.api_key import Scope
from domain.identifier import RECIPIENT_PREFIX, public_id
from domain.person import InvalidValue
from models.recipient_identity import find_recipient
from models.recipient_list import list_recipients, read_recipient
from starter.person_changes import erase_whom, merge_into
from starter.person_roster import ReadyPerson
from starter.person_upsert import (
    UpsertedPerson,
    ready,
    spellings,
    upsert_many,
    upsert_one,
)
from starter.recipient_export import export_pieces
from web.api.access import Caller, needs
from web.api.desk import AtDesk
from web.api.idempotency import IdempotencyKey, once
from web.api.paging import Page, Paged
from web.api.problem import FieldError, Problem, ProblemAnswer, problem_document
from web.api.recipient_bodies import (
    BulkRecipientItem,
    BulkRecipientsRequest,
    BulkRecipientsResponse,
    ErasedResponse,
    MergedResponse,
    MergeRequest,
    RecipientResponse,
    UpsertedResponse,
    UpsertRecipientRequest,
)
from web.api.refusals import problem_of
from web.api.route import ApiRoute, BulkRoute

router = APIRouter(prefix="/v1/recipients", tags=["recipients"], route_class=ApiRoute)
bulk_router = APIRouter(prefix="/v1/recipients", tags=["recipients"], route_class=BulkRoute)

Reader = Annotated[Caller, needs(Scope.RECIPIENTS_READ)]
Writer = Annotated[Caller, needs(Scope.RECIPIENTS_WRITE)]
Ender = Annotated[Caller, needs(Scope.RECIPIENTS_WRITE, is_open_to_tests=False)]
"""Who does what nobody can take back."""


@router.post("", response_model=UpsertedResponse)
def upsert(
    body: UpsertRecipientRequest,
    caller: Writer,
    desk: AtDesk,
    key: IdempotencyKey,
    request: Request,
) -> Response:
    """Add a person, or change the one of this external id or e-mail address."""
    person = ready(body.given())

    def effect(connection: Connection) -> UpsertedResponse:
        made = upsert_one(connection, caller.team_id, person)
        return UpsertedResponse(
            created=made.is_new, recipient=_shown(connection, caller.team_id, made.id)
        )

    return once(desk, caller, key, request, body, 200, effect)


@bulk_router.post("/bulk", response_model=BulkRecipientsResponse)
def upsert_bulk(
    body: BulkRecipientsRequest,
    caller: Writer,
    desk: AtDesk,
    key: IdempotencyKey,
    request: Request,
) -> Response:
    """Add or change up to 1,000 people in one transaction. Each is taken or refused for itself."""
    people = [_ready(item) for item in body.recipients]
    request_id: str = request.state.request_id

    def effect(connection: Connection) -> BulkRecipientsResponse:
        answers = upsert_many(connection, caller.team_id, people)
        return _bulk(people, answers, request_id, request.url.path)

    return once(desk, caller, key, request, body, 200, effect)


@router.get("")
def list_(
    caller: Reader,
    desk: AtDesk,
    paging: Paged,
    external_id: Annotated[str | None, Query(max_length=500)] = None,
    address: Annotated[
        str | None, Query(max_length=2_500, description="Who has it, on any channel.")
    ] = None,
) -> Page[RecipientResponse]:
    """Recipients, newest first; without those who are erased or were merged into others."""
    before = paging.after[0] if paging.after else None
    rows = desk.read(
        lambda c: list_recipients(
            c,
            caller.team_id,
            external_id=external_id,
            addresses=[] if address is None else spellings(address),
            before=before,
            limit=paging.fetch,
        )
    )
    return paging.page(rows, RecipientResponse.of, lambda row: [row.id])


@router.get("/{id}")
def get(id: str, caller: Reader, desk: AtDesk) -> RecipientResponse:
    """One recipient: rcp_…, an external id, or an address that one person has."""
    return desk.read(lambda c: _shown(c, caller.team_id, find_recipient(c, caller.team_id, id)))


@router.delete("/{id}")
def erase(id: str, caller: Ender, desk: AtDesk) -> ErasedResponse:
    """Erase the person, for good: only numbers and hashes stay. Again is harmless."""
    recipient_id, erased = desk.write(lambda c: erase_whom(c, caller.team_id, id))
    return ErasedResponse(id=public_id(RECIPIENT_PREFIX, recipient_id), **asdict(erased))


@router.post("/{id}/merge", response_model=MergedResponse)
def merge(
    id: str,
    body: MergeRequest,
    caller: Ender,
    desk: AtDesk,
    key: IdempotencyKey,
    request: Request,
) -> Response:
    """Make this recipient and another one: addresses and consent go to the one that is left."""

    def effect(connection: Connection) -> MergedResponse:
        kept, moved = merge_into(connection, caller.team_id, id, body.into)
        return MergedResponse(
            contact_points=moved.contact_points,
            subscriptions=moved.subscriptions,
            recipient=_shown(connection, caller.team_id, kept),
        )

    return once(desk, caller, key, request, body, 200, effect)


@router.get(
    "/{id}/export",
    response_class=StreamingResponse,
    responses={200: {"content": {"application/json": {"schema": {"type": "object"}}}}},
)
def export(id: str, caller: Reader, desk: AtDesk) -> Response:
    """Everything stored about the person, as one JSON document."""
    recipient_id = desk.read(lambda c: find_recipient(c, caller.team_id, id))
    name = f"{public_id(RECIPIENT_PREFIX, recipient_id)}.json"
    return StreamingResponse(
        export_pieces(desk.engine, recipient_id),
        media_type="application/json",
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


def _shown(connection: Connection, team_id: int, recipient_id: int) -> RecipientResponse:
    return RecipientResponse.of(read_recipient(connection, team_id, recipient_id))


def _ready(item: dict[str, Any]) -> ReadyPerson | Exception:
    """One item of a bulk, or why it is none."""
    try:
        return ready(UpsertRecipientRequest.model_validate(item).given())
    except ValidationError as error:
        errors = [
            FieldError(pointer="".join(f"/{part}" for part in said["loc"]), detail=said["msg"])
            for said in error.errors()
        ]
        return Problem(422, "invalid", "The item is not understood.", errors=errors[:20])
    except InvalidValue as error:
        return error


def _bulk(
    people: list[ReadyPerson | Exception],
    answers: list[UpsertedPerson | Exception],
    request_id: str,
    path: str,
) -> BulkRecipientsResponse:
    items = []
    for index, (person, answer) in enumerate(zip(people, answers, strict=True)):
        if isinstance(answer, UpsertedPerson):
            items.append(
                BulkRecipientItem(
                    index=index,
                    status=201 if answer.is_new else 200,
                    id=public_id(RECIPIENT_PREFIX, answer.id),
                    external_id=person.external_id if isinstance(person, ReadyPerson) else None,
                    created=answer.is_new,
                )
            )
            continue
        problem = answer if isinstance(answer, Problem) else problem_of(answer)
        if problem is None:
            raise answer
        shown = problem_document(problem, instance=path, request_id=request_id)
        items.append(
            BulkRecipientItem(
                index=index,
                status=problem.status_code,
                problem=ProblemAnswer.model_validate(shown),
            )
        )
    return BulkRecipientsResponse(
        created=sum(item.created is True for item in items),
        updated=sum(item.created is False for item in items),
        refused=sum(item.problem is not None for item in items),
        items=items,
    )

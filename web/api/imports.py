"""/v1/recipients/imports: a CSV file becomes a job; its progress, its counts, what it rejected."""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from domain.api_key import Scope
from domain.identifier import IMPORT_PREFIX, key_of, public_id
from models.import_job import JobLine, JobState, NewJob, find_job, list_jobs, rejects_of
from starter.import_jobs import submit
from web.api.access import Caller, needs
from web.api.desk import AtDesk
from web.api.idempotency import IdempotencyKey, once
from web.api.paging import Page, Paged
from web.api.problem import Problem
from web.api.route import BulkRoute

router = APIRouter(prefix="/v1/recipients/imports", tags=["imports"], route_class=BulkRoute)

Reader = Annotated[Caller, needs(Scope.RECIPIENTS_READ)]
Writer = Annotated[Caller, needs(Scope.RECIPIENTS_WRITE)]
TopicKey = Annotated[str, StringConstraints(min_length=1, max_length=200)]

_CSV = "text/csv"


class ImportRequest(BaseModel):
    """A CSV file as a text, and what its people join."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"csv": "email,first_name\nada@example.org,Ada\n", "topic": "news"}]
        },
    )

    csv: str = Field(
        max_length=BulkRoute.max_body_bytes,
        description="With a header; a column `email` is needed. Known are external_id, first_name,"
        " last_name, locale, time_zone, phone and subscribed (yes or no); others become attributes.",
    )
    topic: TopicKey | None = Field(None, description="The people are subscribed to it.")
    resubscribe: bool = Field(False, description="Also those who have left the topic.")


class ImportResponse(BaseModel):
    """How far an import is. rows = added + updated + unchanged + merged + rejected, at its end."""

    id: str
    state: JobState
    progress: float = Field(description="From 0 to 1.")
    topic: str | None
    resubscribe: bool
    size_bytes: int
    rows: int | None = Field(description="Null until it has ended, as the next four.")
    unchanged: int | None
    merged: int | None = Field(description="Rows that meant a person of an earlier row.")
    rejected: int | None
    stayed_left: int | None = Field(description="Had left the topic and were not asked back.")
    added: int
    updated: int
    subscribed: int
    pending: int
    left: int
    error: str | None = Field(description="Why it failed.")
    has_rejects: bool = Field(description="There is a file of what was rejected, for a week.")
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


class _Given(BaseModel):
    """The same by either type of body; the key of the request is held to this."""

    sha256: str
    topic: str | None
    resubscribe: bool


async def _given(
    request: Request,
    topic: Annotated[TopicKey | None, Query(description="Where the body is a CSV file.")] = None,
    resubscribe: Annotated[bool, Query(description="Where the body is a CSV file.")] = False,
) -> NewJob:
    """The file, as text/csv with its options in the address, or inside JSON."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == _CSV:
        content = await request.body()
    elif kind == "application/json":
        try:
            # A body of 20 MB is a while's work: not for the loop that serves everybody.
            read = await run_in_threadpool(ImportRequest.model_validate, await request.json())
        except ValidationError as error:
            said = [{**each, "loc": ("body", *each["loc"])} for each in error.errors()]
            raise RequestValidationError(said) from error
        content, topic, resubscribe = read.csv.encode(), read.topic, read.resubscribe
    else:
        raise Problem(
            415,
            "unsupported-media-type",
            "The body must be a file of the type text/csv, or application/json.",
        )
    return NewJob(author="", topic=topic, resubscribe=resubscribe, content=content)


_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": ImportRequest.model_json_schema()},
            _CSV: {"schema": {"type": "string"}},
        },
    }
}


@router.post("", status_code=202, response_model=ImportResponse, openapi_extra=_BODY)
def create(
    caller: Writer,  # first: nobody's file is read before it is known whose it is
    given: Annotated[NewJob, Depends(_given)],
    desk: AtDesk,
    key: IdempotencyKey,
    request: Request,
) -> Response:
    """Import the people of a CSV file, up to 20 MB. Bad rows are rejected and stop nothing."""
    new = NewJob(
        author=caller.name,
        topic=given.topic,
        resubscribe=given.resubscribe,
        content=given.content,
    )
    said = _Given(
        sha256=hashlib.sha256(new.content).hexdigest(),
        topic=new.topic,
        resubscribe=new.resubscribe,
    )
    return once(
        desk, caller, key, request, said, 202, lambda c: _shown(submit(c, caller.team_id, new))
    )


@router.get("")
def list_(caller: Reader, desk: AtDesk, paging: Paged) -> Page[ImportResponse]:
    """The team's imports, newest first."""
    before = paging.after[0] if paging.after else None
    rows = desk.read(lambda c: list_jobs(c, caller.team_id, before=before, limit=paging.fetch))
    return paging.page(rows, _shown, lambda row: [row.id])


@router.get("/{id}")
def get(id: str, caller: Reader, desk: AtDesk) -> ImportResponse:
    """One import, imp_…: how far it is, and what came of its rows."""
    return _shown(desk.read(lambda c: find_job(c, caller.team_id, key_of(IMPORT_PREFIX, id))))


@router.get(
    "/{id}/rejects",
    response_class=Response,
    responses={200: {"content": {_CSV: {"schema": {"type": "string"}}}}},
)
def rejects(id: str, caller: Reader, desk: AtDesk) -> Response:
    """The rejected rows as a CSV file: line, reason, and the columns of yours; kept for a week."""
    found = desk.read(lambda c: rejects_of(c, caller.team_id, key_of(IMPORT_PREFIX, id)))
    return Response(
        found,
        media_type=f"{_CSV}; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{id}.rejects.csv"'},
    )


def _shown(line: JobLine) -> ImportResponse:
    counts = line.counts
    return ImportResponse(
        id=public_id(IMPORT_PREFIX, line.id),
        state=line.state,
        progress=round(line.bytes_done / line.size_bytes, 3) if line.size_bytes else 0.0,
        topic=line.topic,
        resubscribe=line.resubscribe,
        size_bytes=line.size_bytes,
        rows=counts.get("rows"),
        unchanged=counts.get("unchanged"),
        merged=counts.get("merged"),
        rejected=counts.get("rejected"),
        stayed_left=counts.get("stayed_left"),
        added=counts.get("added", 0),
        updated=counts.get("updated", 0),
        subscribed=counts.get("subscribed", 0),
        pending=counts.get("pending", 0),
        left=counts.get("left", 0),
        error=line.error or None,
        has_rejects=line.has_rejects,
        created_at=line.created_at,
        started_at=line.started_at,
        finished_at=line.finished_at,
    )

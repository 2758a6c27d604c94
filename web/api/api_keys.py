"""/v1/api-keys: keys are made, rotated and revoked; shown once, and never read back."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import Connection

from domain.api_key import Scope, shown_prefix
from domain.identifier import KEY_PREFIX, key_of, public_id
from models.api_key import KeyLine, find_key, list_keys, revoke_key
from starter.api_keys import DEFAULT_OVERLAP, KeyWish, MadeKey, create_key, rotate_key
from web.api.access import Caller, needs
from web.api.desk import AtDesk
from web.api.idempotency import IdempotencyKey, once
from web.api.paging import Page, Paged
from web.api.problem import Problem
from web.api.route import ApiRoute

router = APIRouter(prefix="/v1/api-keys", tags=["api keys"], route_class=ApiRoute)

Reader = Annotated[Caller, needs(Scope.KEYS_READ)]
Writer = Annotated[Caller, needs(Scope.KEYS_WRITE)]


class CreateApiKeyRequest(BaseModel):
    """A key to be made."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(min_length=1, max_length=100, description="Who uses it.")
    scopes: list[Scope] = Field(min_length=1, max_length=50)
    test: bool = Field(
        False, description="What it sends goes through everything and ends in a log."
    )
    expires_in_seconds: int | None = Field(None, ge=1, le=10 * 366 * 86400)
    requests_per_second: float | None = Field(None, gt=0, le=1e6)


class RotateApiKeyRequest(BaseModel):
    """How long the old key stays good beside the new one."""

    model_config = ConfigDict(extra="forbid")

    overlap_seconds: int = Field(int(DEFAULT_OVERLAP.total_seconds()), ge=0, le=90 * 86400)


class ApiKeyResponse(BaseModel):
    """A key, without its secret."""

    id: str
    name: str
    prefix: str
    scopes: list[str]
    test: bool
    requests_per_second: float | None
    rotated_from: str | None
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None
    is_good: bool


class CreatedApiKeyResponse(ApiKeyResponse):
    """A new key."""

    key: str | None = Field(
        description="The key in full. It is shown this once: null where the answer is given again."
    )


@router.post("", status_code=201, response_model=CreatedApiKeyResponse)
def create(
    body: CreateApiKeyRequest, caller: Writer, desk: AtDesk, key: IdempotencyKey, request: Request
) -> Response:
    """Make a key. It has no more rights than the one that makes it."""
    _check_rights(caller, body.scopes)
    wish = KeyWish(
        name=body.name,
        scopes=[scope.value for scope in body.scopes],
        is_test=body.test,
        expires_in=timedelta(seconds=body.expires_in_seconds) if body.expires_in_seconds else None,
        rate=body.requests_per_second,
    )
    return once(
        desk,
        caller,
        key,
        request,
        body,
        201,
        lambda connection: _made(create_key(connection, desk.secret, caller.team_id, wish)),
        keeps=_without_secret,
    )


@router.get("")
def list_(caller: Reader, desk: AtDesk, paging: Paged) -> Page[ApiKeyResponse]:
    """The team's keys, newest first."""
    before = paging.after[0] if paging.after else None
    rows = desk.read(lambda c: list_keys(c, caller.team_id, before=before, limit=paging.fetch))
    return paging.page(rows, _shown, lambda row: [row.id])


@router.get("/{id}")
def get(id: str, caller: Reader, desk: AtDesk) -> ApiKeyResponse:
    """One key."""
    return _shown(desk.read(lambda c: find_key(c, caller.team_id, key_of(KEY_PREFIX, id))))


@router.post("/{id}/rotate", status_code=201, response_model=CreatedApiKeyResponse)
def rotate(
    id: str,
    body: RotateApiKeyRequest,
    caller: Writer,
    desk: AtDesk,
    key: IdempotencyKey,
    request: Request,
) -> Response:
    """A new key in the place of this one, which stays good for a while."""
    key_id = key_of(KEY_PREFIX, id)
    overlap = timedelta(seconds=body.overlap_seconds)

    def effect(connection: Connection) -> CreatedApiKeyResponse:
        before = find_key(connection, caller.team_id, key_id)
        _check_rights(caller, before.scopes)
        return _made(rotate_key(connection, desk.secret, caller.team_id, key_id, overlap=overlap))

    return once(desk, caller, key, request, body, 201, effect, keeps=_without_secret)


@router.post("/{id}/revoke")
def revoke(id: str, caller: Writer, desk: AtDesk) -> ApiKeyResponse:
    """End the key now. Again is harmless, so it needs no idempotency key."""
    return _shown(desk.write(lambda c: revoke_key(c, caller.team_id, key_of(KEY_PREFIX, id))))


def _check_rights(caller: Caller, scopes: Sequence[str]) -> None:
    """Nobody makes a key that may more than their own."""
    beyond = sorted(set(scopes) - caller.scopes)
    if beyond and Scope.ADMIN not in caller.scopes:
        raise Problem(
            403, "scope-missing", f"This API key lacks the scope {beyond[0]}, so it cannot give it."
        )


def _shown(line: KeyLine) -> ApiKeyResponse:
    return ApiKeyResponse(
        id=public_id(KEY_PREFIX, line.id),
        name=line.name,
        prefix=shown_prefix(line.locator, is_test=line.is_test),
        scopes=line.scopes,
        test=line.is_test,
        requests_per_second=line.rate,
        rotated_from=public_id(KEY_PREFIX, line.rotated_from) if line.rotated_from else None,
        created_at=line.created_at,
        expires_at=line.expires_at,
        revoked_at=line.revoked_at,
        last_used_at=line.last_used_at,
        is_good=line.is_good,
    )


def _made(made: MadeKey) -> CreatedApiKeyResponse:
    return CreatedApiKeyResponse(**_shown(made.line).model_dump(), key=made.text)


def _without_secret(made: BaseModel) -> BaseModel:
    """Of a key only its hash is stored, so not in the kept answer either."""
    return made.model_copy(update={"key": None})

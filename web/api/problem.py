"""Problems as RFC 9457 says them: one shape for everything that is not done."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import HTTPException
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

MEDIA_TYPE = "application/problem+json"
_TYPE = "urn:carillon:problem:"


class FieldError(BaseModel):
    """What is wrong with one part of a request."""

    pointer: str = Field(
        description="JSON pointer (RFC 6901) into the body; a parameter's name else."
    )
    detail: str


class ProblemAnswer(BaseModel):
    """Why a request was not done (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    instance: str = Field(description="Path of the request.")
    request_id: str
    errors: list[FieldError] = []


class Problem(HTTPException):
    """Raise it to answer with a problem."""

    def __init__(
        self,
        status: int,
        kind: str,
        detail: str,
        *,
        errors: Sequence[FieldError] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """`kind`: short and stable, for programs; `detail`: one sentence, for people."""
        super().__init__(status, detail, dict(headers or {}))
        self.kind = kind
        self.errors = list(errors)


def problem_document(problem: Problem, *, instance: str, request_id: str) -> dict[str, Any]:
    """The problem as JSON."""
    made = ProblemAnswer(
        type=_TYPE + problem.kind,
        title=HTTPStatus(problem.status_code).phrase,
        status=problem.status_code,
        detail=problem.detail,
        instance=instance,
        request_id=request_id,
        errors=problem.errors,
    ).model_dump(exclude_none=True)
    if not problem.errors:
        del made["errors"]
    return made


def problem_response(problem: Problem, *, instance: str, request_id: str) -> JSONResponse:
    """The answer that says the problem."""
    return JSONResponse(
        problem_document(problem, instance=instance, request_id=request_id),
        problem.status_code,
        headers=dict(problem.headers or {}),
        media_type=MEDIA_TYPE,
    )

"""The API as one application: its routers, its problems, its OpenAPI document."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractContextManager, ExitStack, asynccontextmanager
from http import HTTPStatus
from typing import Any

import anyio.to_thread
from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException
from starlette.routing import Match

from models.database import DatabaseUnreachable
from observability.web import Observed
from web.api import (
    account_credentials,
    accounts,
    api_keys,
    audit,
    campaigns,
    digests,
    events,
    holds,
    imports,
    messages,
    recipient_parts,
    recipients,
    suppressions,
    templates,
    topic_members,
    topic_rules,
    topics,
    webhooks,
)
from web.api.desk import Desk
from web.api.frame import Frame
from web.api.idempotency import HEADER, missing_key
from web.api.problem import (
    MEDIA_TYPE,
    FieldError,
    Problem,
    problem_response,
)
from web.api.reference import add_reference
from web.api.refusals import REFUSALS, problem_of

ROUTERS: Sequence[APIRouter] = (
    messages.bulk_router,
    messages.router,
    api_keys.router,
    imports.router,
    recipients.bulk_router,
    recipients.router,
    recipient_parts.router,
    templates.router,
    events.router,
    topics.router,
    topic_members.router,
    topic_rules.router,
    digests.router,
    campaigns.router,
    suppressions.router,
    accounts.router,
    account_credentials.router,
    holds.router,
    webhooks.router,
    audit.router,
)
"""A new resource adds its router here."""

PREFIXES = ("/v1", "/api")
"""The paths that are the API's."""
OPENAPI = "/v1/openapi.json"
REFERENCE = "/v1/docs"

_KINDS = {404: "not-found", 405: "method-not-allowed", 400: "malformed"}


def create_api(desk: Desk, beside: Sequence[AbstractContextManager[object]] = ()) -> FastAPI:
    """The application; it asks nothing of the database before a request comes.

    `beside`: contexts that are open as long as it serves.
    """

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        # As many handlers at once as connections: more would only wait for one.
        limiter = anyio.to_thread.current_default_thread_limiter()
        limiter.total_tokens = desk.settings.api_connections
        with ExitStack() as stack:
            for context in beside:
                stack.enter_context(context)
            yield

    app = FastAPI(
        title="Carillon",
        version="1",
        summary="Campaigns and single messages, each durable.",
        openapi_url=OPENAPI,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=lifespan,
        responses={"default": _problem_schema()},
        generate_unique_id_function=_operation_id,
        separate_input_output_schemas=False,
    )
    app.state.desk = desk
    for router in ROUTERS:
        app.include_router(router)
    add_reference(app, REFERENCE)
    app.add_middleware(Frame)
    app.add_middleware(Observed)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(RequestValidationError, _invalid)
    for kind in (*REFUSALS, SQLAlchemyError, DatabaseUnreachable):
        app.add_exception_handler(kind, _foreseen)
    return app


def _operation_id(route: APIRoute) -> str:
    """As clients' generated functions are called: messages_list, api_keys_revoke."""
    return f"{route.tags[0]} {route.name}".replace(" ", "_").rstrip("_")


def _problem_schema() -> dict[str, Any]:
    return {
        "description": "Why it was not done (RFC 9457).",
        "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemAnswer"}}},
    }


def _answer(request: Request, problem: Problem) -> Response:
    return problem_response(problem, instance=request.url.path, request_id=request.state.request_id)


async def _foreseen(request: Request, error: Exception) -> Response:
    problem = problem_of(error)
    if problem is None:
        raise error
    return _answer(request, problem)


async def _http(request: Request, error: Exception) -> Response:
    """Problems of ours, and what the framework itself refuses: an unknown path or method."""
    assert isinstance(error, HTTPException)  # noqa: S101  what it is registered for
    if isinstance(error, Problem):
        return _answer(request, error)
    kind = _KINDS.get(error.status_code, "refused")
    headers = dict(error.headers or {})
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        headers["Allow"] = _allowed(request)
    return _answer(request, Problem(error.status_code, kind, f"{error.detail}.", headers=headers))


def _allowed(request: Request) -> str:
    """All methods of the path: each is a route of its own, and the framework names the first's."""
    methods: dict[str, set[str]] = {}
    for router in ROUTERS:
        for route in router.routes:
            if isinstance(route, APIRoute) and route.matches(request.scope)[0] is not Match.NONE:
                methods.setdefault(route.path, set()).update(route.methods or ())
    # /v1/messages/cancel is a place of its own, though /v1/messages/{id} fits it, too.
    path = min(methods, key=lambda one: one.count("{"), default="")
    return ", ".join(sorted(methods.get(path, ())))


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101  what it is registered for
    if any(said["loc"] == ("header", HEADER) for said in error.errors()):
        return _answer(request, missing_key())
    # What `ApiRoute` found in the body stands for what the framework says of it.
    of_body = getattr(request.state, "body_errors", None)
    said = [one for one in error.errors() if of_body is None or one["loc"] != ("body",)]
    said += [{**one, "loc": ("body", *one["loc"])} for one in of_body or ()]
    errors = [FieldError(pointer=_pointer(one["loc"]), detail=one["msg"]) for one in said]
    sentence = "The request is not understood; `errors` says which parts."
    return _answer(request, Problem(422, "invalid", sentence, errors=errors[:100]))


def _pointer(loc: Sequence[str | int]) -> str:
    """A JSON pointer into the body; of a parameter its name."""
    where, *parts = loc
    if where != "body":
        return str(parts[0]) if parts else str(where)
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in parts)

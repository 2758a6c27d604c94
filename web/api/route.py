"""What holds for every route before its handler runs: the body's size, its type, and clean JSON."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import orjson
from fastapi import Request, Response
from fastapi.routing import APIRoute
from pydantic import TypeAdapter, ValidationError
from pydantic_core import from_json
from starlette.types import Message, Receive, Scope

from web.api.problem import Problem

MAX_DEPTH = 32
"""Levels of lists and objects in a body."""
BODY_WITHIN_SECONDS = 30.0
_BITS = 1 << 63


class ApiRoute(APIRoute):
    """The route class of every router of the API. A larger body has a subclass of its own."""

    max_body_bytes = 1_000_000

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """FastAPI's handler, behind our checks."""
        handle = super().get_route_handler()
        field = self.body_field
        kind: Any = field.field_info.annotation if field is not None else None
        adapter: TypeAdapter[Any] | None = TypeAdapter(kind) if field is not None else None

        async def checked(request: Request) -> Response:
            _check_address(request)
            _check_length(request, self.max_body_bytes)
            if adapter is not None:
                _check_type(request)
            limited = _limited(request.receive, self.max_body_bytes)
            return await handle(_CleanRequest(request.scope, limited, adapter))

        return checked


class BulkRoute(ApiRoute):
    """For bodies with a thousand items."""

    max_body_bytes = 20_000_000


class _CleanRequest(Request):
    def __init__(self, scope: Scope, receive: Receive, adapter: TypeAdapter[Any] | None) -> None:
        super().__init__(scope, receive)
        self._adapter = adapter

    async def json(self) -> Any:
        """The body, read strictly: "yes" is no boolean, 5 no text, "5" no number.

        orjson refuses lone surrogates, NaN and what is no JSON. What does not fit waits in
        `state.body_errors`, for who has no key is told that first: FastAPI looks at the keys, then
        refuses the ellipsis as it refuses everything that is no JSON.
        """
        text = await self.body()
        try:
            orjson.loads(text)
            # What pydantic reads: of an integer beyond 64 bits orjson makes a float.
            found = from_json(text)
        except ValueError as error:
            raise Problem(400, "malformed-json", "The body is not JSON in UTF-8.") from error
        _check_value(found, MAX_DEPTH)
        if self._adapter is None:
            return found
        try:
            return self._adapter.validate_json(text, strict=True)
        except ValidationError as error:
            self.state.body_errors = error.errors(
                include_url=False, include_input=False, include_context=False
            )
            return ...


def _check_address(request: Request) -> None:
    if "\0" in request.url.path or any(
        "\0" in part for pair in request.query_params.multi_items() for part in pair
    ):
        raise Problem(400, "malformed-address", "The address holds a NUL character.")


def _check_type(request: Request) -> None:
    given = request.headers.get("content-type", "")
    kind, _, parameters = given.partition(";")
    charset = parameters.strip().lower()
    if kind.strip().lower() != "application/json" or charset not in ("", "charset=utf-8"):
        raise Problem(
            415, "unsupported-media-type", "The body must be of the type application/json."
        )


def _check_length(request: Request, most: int) -> None:
    length = request.headers.get("content-length", "0")
    if not length.isdecimal() or len(length) > 15:
        raise Problem(400, "malformed-length", "The Content-Length is no number.")
    if int(length) > most:
        raise _too_large(most)


def _limited(receive: Receive, most: int) -> Receive:
    """The same body, as long as it is small and comes soon."""
    left, is_whole = most, False
    until = asyncio.get_running_loop().time() + BODY_WITHIN_SECONDS

    async def limited() -> Message:
        nonlocal left, is_whole
        if is_whole:  # what comes now is that the caller has gone
            return await receive()
        try:
            async with asyncio.timeout_at(until):
                message = await receive()
        except TimeoutError:
            raise Problem(408, "body-too-slow", "The body did not come in time.") from None
        left -= len(message.get("body", b""))
        if left < 0:
            raise _too_large(most)
        is_whole = not message.get("more_body", False)
        return message

    return limited


def _too_large(most: int) -> Problem:
    return Problem(413, "body-too-large", f"The body is larger than {most:,} bytes.")


def _check_value(value: Any, depth: int) -> None:
    """Raises Problem for what PostgreSQL or other readers of JSON cannot hold."""
    if isinstance(value, str):
        if "\0" in value:
            raise Problem(400, "malformed-json", "The body holds a NUL character.")
    elif isinstance(value, int):
        if not -_BITS <= value < _BITS:
            raise Problem(400, "malformed-json", "The body holds a number beyond 64 bits.")
    elif isinstance(value, list | dict):
        if depth == 0:
            raise Problem(400, "malformed-json", f"The body is nested deeper than {MAX_DEPTH}.")
        for inner in value if isinstance(value, list) else (*value.keys(), *value.values()):
            _check_value(inner, depth - 1)

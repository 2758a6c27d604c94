"""Idempotency-Key: what was done once under a key is answered again, not done again.

For a POST that acts and has no key of its own in the rows:

    def create(body: NewTopic, caller: …, desk: AtDesk, key: IdempotencyKey, request: Request) -> Response:
        return once(desk, caller, key, request, body, 201, lambda connection: make(connection, body))

The effect runs in one transaction with the keeping of its answer, so a process that is killed
between them leaves neither. A refusal is not kept: the same key may be tried again.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from typing import Annotated, TypeVar, cast

from fastapi import Depends, Header, Request, Response
from pydantic import BaseModel
from sqlalchemy import Connection

from models.idempotent_answer import Asked, KeptAnswer, StillRunning, begin, keep
from web.api.access import Caller
from web.api.desk import Desk
from web.api.problem import FieldError, Problem

T = TypeVar("T")

HEADER = "Idempotency-Key"
REPLAYED = "Idempotency-Replayed"
_MOST = 200
_PURPOSE = b"carillon/idempotent-body/1"

_header = Header(
    alias=HEADER,
    description="1 to 200 printable characters, new for each wish and the same on every retry.",
    json_schema_extra={"maxLength": _MOST, "minLength": 1},
)
GivenKey = Annotated[str | None, _header]


def missing_key() -> Problem:
    """What is said where the header is missing."""
    return Problem(
        400, "idempotency-key-missing", f"This request acts: give it an {HEADER} header."
    )


def checked_key(given: str | None) -> str:
    """The key. Raises Problem where there is none, or it cannot be one."""
    if given is None:
        raise missing_key()
    if not 1 <= len(given) <= _MOST or not given.isascii() or not given.isprintable():
        sentence = f"An idempotency key has 1 to {_MOST} printable ASCII characters."
        raise Problem(
            400,
            "idempotency-key-malformed",
            sentence,
            errors=[FieldError(pointer=HEADER, detail=sentence)],
        )
    return given


def one_key(header: str | None, body: str | None, pointer: str) -> str | None:
    """The key of a body that has one of its own, at `pointer`. Raises Problem where the two differ."""
    if header is not None and body is not None and header != body:
        sentence = "The header and the body name different idempotency keys."
        raise Problem(
            422,
            "idempotency-keys-differ",
            sentence,
            errors=[FieldError(pointer=pointer, detail=sentence)],
        )
    return header if header is not None else body


def _required(given: Annotated[str, _header]) -> str:
    return checked_key(given)


IdempotencyKey = Annotated[str, Depends(_required)]


def once(  # noqa: PLR0913  who asks what under which key, and how it is done and answered
    desk: Desk,
    caller: Caller,
    key: str,
    request: Request,
    body: BaseModel | None,
    status: int,
    effect: Callable[[Connection], BaseModel],
    *,
    keeps: Callable[[BaseModel], BaseModel] = lambda made: made,
) -> Response:
    """The answer of `effect`, which runs unless the same request was answered within 24 hours.

    `effect` writes through the connection it is given, and commits nothing itself. `keeps`: what of
    the answer is kept, where it holds a secret.
    Raises StillRunning, OtherRequest, and what `effect` raises.
    """
    asked = _asked(desk, caller, key, request, body)

    def work(connection: Connection) -> tuple[KeptAnswer, bool]:
        kept = begin(connection, asked)
        if kept is not None:
            return kept, True
        made = effect(connection)
        keep(connection, asked, KeptAnswer(status=status, body=keeps(made).model_dump_json()))
        return KeptAnswer(status=status, body=made.model_dump_json()), False

    answer, is_replay = desk.write(work)
    return answered(answer.body, answer.status, is_replay=is_replay)


def once_outside(  # noqa: PLR0913  as `once`
    desk: Desk,
    caller: Caller,
    key: str,
    request: Request,
    body: BaseModel | None,
    prepare: Callable[[Connection], T],
    act: Callable[[T], BaseModel],
) -> Response:
    """The same for what goes out, for which no transaction stays open: 200 with the answer of `act`.

    `prepare` checks, and writes down that it begins; what it returns `act` gets once that is
    committed. Begun and never ended, it is not begun again under the same key: nobody knows what
    went out. Raises StillRunning, OtherRequest, and what `prepare` raises.
    """
    asked = _asked(desk, caller, key, request, body)

    def begun(connection: Connection) -> tuple[KeptAnswer | None, T | None]:
        kept = begin(connection, asked)
        if kept is not None:
            return kept, None
        prepared = prepare(connection)
        keep(connection, asked, KeptAnswer(status=_BEGUN, body=""))
        return None, prepared

    kept, prepared = desk.write(begun)
    if kept is None:
        made = act(cast("T", prepared)).model_dump_json()
        desk.write(lambda c: keep(c, asked, KeptAnswer(status=200, body=made)))
        return answered(made, 200, is_replay=False)
    if kept.status == _BEGUN:
        raise StillRunning(
            "The first request with this idempotency key is still being worked on, or its process"
            " ended before it could say what came of it; another key does it anew."
        )
    return answered(kept.body, kept.status, is_replay=True)


_BEGUN = 0


def answered(body: str, status: int, *, is_replay: bool) -> Response:
    """A JSON answer that says whether it is given again."""
    headers = {REPLAYED: "true"} if is_replay else {}
    return Response(body, status, headers=headers, media_type="application/json")


def _asked(desk: Desk, caller: Caller, key: str, request: Request, body: BaseModel | None) -> Asked:
    return Asked(
        team_id=caller.team_id,
        # The path too: the same key on another thing is another request.
        route=f"{request.method} {request.url.path}",
        key=key,
        body_hash=_hash(desk.secret, body, caller),
    )


def _hash(secret: bytes, body: BaseModel | None, caller: Caller) -> str:
    """Keyed: bodies hold passwords, and who has only the rows cannot try some against it."""
    said = body.model_dump_json() if body is not None else ""
    hash_key = hmac.digest(secret, _PURPOSE, "sha256")
    return hmac.digest(hash_key, f"{caller.is_test}\n{said}".encode(), "sha256").hex()

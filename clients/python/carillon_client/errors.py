"""What a call that was not done raises, by what the caller must do about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

_TYPE = "urn:carillon:problem:"


@dataclass(frozen=True, slots=True)
class FieldError:
    """What is wrong with one part of a request."""

    pointer: str
    """JSON pointer into the body; a parameter's name else."""
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Why the API did not do it, as its problem document says (RFC 9457)."""

    status: int
    kind: str
    """Short and stable, for programs: "unknown-template". Empty: no problem document came."""
    detail: str
    """One sentence, for people."""
    errors: tuple[FieldError, ...] = ()
    request_id: str | None = None
    """It stands in the server's log."""
    idempotency_key: str | None = None
    """Under which it was asked for: the same call with this key cannot be done twice."""
    retry_after: timedelta | None = None
    """When asking again makes sense, where the server said so."""


class CarillonError(Exception):
    """Everything that this package raises; `str` of it is a sentence."""


class NotConfigured(CarillonError):
    """The client has no usable address or key. Nothing was asked."""


class Unreachable(CarillonError):
    """No answer came, however often it was tried. It may have been done all the same: call again with
    the same `idempotency_key`, and it is not done twice."""

    def __init__(self, sentence: str, idempotency_key: str | None = None) -> None:
        """`idempotency_key`: under which it was asked for."""
        super().__init__(sentence, idempotency_key)
        self.idempotency_key = idempotency_key

    def __str__(self) -> str:
        """The sentence."""
        return str(self.args[0])


class ApiError(CarillonError):
    """The API answered that it was not done."""

    def __init__(self, problem: Problem) -> None:
        """`problem`: all that is known about it."""
        super().__init__(problem)
        self.problem = problem

    def __str__(self) -> str:
        """The sentence, then status, pointers and request id."""
        problem = self.problem
        facts = [str(problem.status)]
        facts += [
            f"{error.pointer}: {error.detail}" if error.detail != problem.detail else error.pointer
            for error in problem.errors
        ]
        if problem.request_id:
            facts.append(f"request {problem.request_id}")
        return f"{problem.detail} ({'; '.join(facts)})"

    @property
    def status(self) -> int:
        """The HTTP status."""
        return self.problem.status

    @property
    def kind(self) -> str:
        """Short and stable, for programs: "unknown-template"."""
        return self.problem.kind

    @property
    def detail(self) -> str:
        """The API's sentence."""
        return self.problem.detail

    @property
    def errors(self) -> tuple[FieldError, ...]:
        """Which parts of the request are wrong."""
        return self.problem.errors

    @property
    def request_id(self) -> str | None:
        """Stands in the server's log."""
        return self.problem.request_id

    @property
    def idempotency_key(self) -> str | None:
        """Under which it was asked for."""
        return self.problem.idempotency_key

    @property
    def retry_after(self) -> timedelta | None:
        """When asking again makes sense, where the server said so."""
        return self.problem.retry_after


class BadRequest(ApiError):
    """400, 405, 413, 415 and the like: not what the API takes."""


class Unauthorized(ApiError):
    """401: the API key is missing, unknown, expired or revoked."""


class Forbidden(ApiError):
    """403: the API key lacks the scope."""


class NotFound(ApiError):
    """404: not there, or not yours."""


class Conflict(ApiError):
    """409: too late, or still running; `kind` tells."""


class Invalid(ApiError):
    """422: understood, but wrong; `errors` says where."""


class TooManyRequests(ApiError):
    """429, also after the retries; `retry_after` says when."""


class ServerError(ApiError):
    """5xx: it failed there."""


class Unavailable(ServerError):
    """502, 503 or 504, also after the retries: the service is away."""


class UnexpectedAnswer(ApiError):
    """An answer that is none of Carillon's API: look at the address."""


_BY_STATUS: Mapping[int, type[ApiError]] = {
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    422: Invalid,
    429: TooManyRequests,
    502: Unavailable,
    503: Unavailable,
    504: Unavailable,
}


def error_of(problem: Problem) -> ApiError:
    """The exception for a problem, by its status."""
    found = _BY_STATUS.get(problem.status)
    if found is not None:
        return found(problem)
    if problem.status >= 500:
        return ServerError(problem)
    return BadRequest(problem) if problem.status >= 400 else UnexpectedAnswer(problem)


def kind_of(document: Any) -> str:
    """The short kind of a problem document; empty for anything else."""
    given = document.get("type") if isinstance(document, dict) else None
    return given.removeprefix(_TYPE) if isinstance(given, str) and given.startswith(_TYPE) else ""


def field_errors(document: Mapping[str, Any]) -> tuple[FieldError, ...]:
    """The parts of the request that a problem document points at."""
    return tuple(
        FieldError(str(each.get("pointer", "")), str(each.get("detail", "")))
        for each in document.get("errors") or ()
    )

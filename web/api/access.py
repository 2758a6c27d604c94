"""Who calls: the key in the Authorization header, its scopes, and how often it may."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Request, Security
from fastapi.security import HTTPBearer

from domain.api_key import OF_LIVE_KEYS, Scope
from starter.api_keys import Known, who_holds
from web.api.desk import AtDesk, Desk
from web.api.problem import Problem
from web.api.rate import Allowance

WRONG_KEYS_PER_SECOND = 5.0
"""Of one address."""

_bearer = HTTPBearer(auto_error=False, scheme_name="apiKey", description="An API key, crl_…")


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who asks, as far as handlers must know."""

    team_id: int
    key_id: int
    scopes: frozenset[str]
    is_test: bool

    @property
    def name(self) -> str:
        """For the author of what is done."""
        return f"api key {self.key_id}"


def needs(scope: Scope, *, is_open_to_tests: bool | None = None) -> Any:
    """The dependency of a route: its caller, whose key has the scope.

    caller: Annotated[Caller, needs(Scope.TOPICS_READ)]

    `is_open_to_tests`: whether a test key may, too; None: as OF_LIVE_KEYS says of the scope.
    """
    is_open = scope not in OF_LIVE_KEYS if is_open_to_tests is None else is_open_to_tests

    def caller(
        request: Request,
        desk: AtDesk,
        _shown: Annotated[Any, Security(_bearer)] = None,
    ) -> Caller:
        known = _known(request, desk)
        request.state.key_id = known.key_id
        _check_rate(request, desk, known)
        if scope not in known.scopes and Scope.ADMIN not in known.scopes:
            raise Problem(403, "scope-missing", f"This API key lacks the scope {scope.value}.")
        if known.is_test and not is_open:
            raise of_live_keys("A test key changes nothing that real sending depends on.")
        return Caller(
            team_id=known.team_id,
            key_id=known.key_id,
            scopes=known.scopes,
            is_test=known.is_test,
        )

    return Depends(caller)


def of_live_keys(sentence: str) -> Problem:
    """What a test key is told where a live one is needed."""
    return Problem(403, "test-key", f"{sentence} Use a live key.")


def _known(request: Request, desk: Desk) -> Known:
    kind, _, given = request.headers.get("authorization", "").partition(" ")
    if kind.lower() != "bearer" or not given:
        raise _unknown("Give an API key in the header: Authorization: Bearer crl_…")
    address = f"address:{request.client.host if request.client else ''}"
    known = who_holds(desk.engine, desk.secret, given.strip())
    if known is None:
        allowance = desk.rates.take(address, WRONG_KEYS_PER_SECOND)
        if not allowance.is_granted:
            raise _too_often(allowance, "Too many wrong API keys came from this address.")
        raise _unknown("This API key is unknown, has expired or was revoked.")
    return known


def _unknown(sentence: str) -> Problem:
    return Problem(401, "no-key", sentence, headers={"WWW-Authenticate": "Bearer"})


def _check_rate(request: Request, desk: Desk, known: Known) -> None:
    settings = desk.settings
    of_key = desk.rates.take(f"key:{known.key_id}", known.rate or settings.api_rate_per_key)
    _show(request, of_key)
    if not of_key.is_granted:
        raise _too_often(of_key, "This API key asks too often.")
    of_team = desk.rates.take(f"team:{known.team_id}", settings.api_rate_per_team)
    if not of_team.is_granted:
        _show(request, of_team)
        raise _too_often(of_team, "This team's API keys ask too often together.")


def _show(request: Request, allowance: Allowance) -> None:
    request.state.answer_headers |= {
        "X-RateLimit-Limit": str(allowance.limit),
        "X-RateLimit-Remaining": str(allowance.remaining),
        "X-RateLimit-Reset": str(math.ceil(allowance.seconds)),
    }


def _too_often(allowance: Allowance, sentence: str) -> Problem:
    wait = max(1, math.ceil(allowance.seconds))
    return Problem(429, "too-many-requests", sentence, headers={"Retry-After": str(wait)})

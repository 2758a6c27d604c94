"""What a service asks for, from plain values to a wish that can be looked at."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

from domain.local_time import parse_local
from domain.plan import Step, check_plan, parse_plan
from domain.send import MessageClass, OnUnknown, Priority

MAX_RECIPIENTS = 1000
MAX_VARIABLES_BYTES = 100_000


class RequestRefused(Exception):
    """A request cannot be taken like this; nothing was written. The message is one sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What a service asks for."""

    template: str
    """KEY, which means its newest version now, or KEY@N."""
    to: Sequence[str]
    """External ids, or bare addresses: an e-mail address, +43…, https://…"""
    variables: Mapping[str, Any] = field(default_factory=dict)
    idempotency_key: str | None = None
    message_class: MessageClass | None = None
    """None: the template's."""
    priority: Priority = Priority.NORMAL
    topic: str | None = None
    plan: Sequence[Step] = ()
    """Empty: the one channel of the template, e-mail if it has several."""
    at: datetime | None = None
    """Not before then; aware."""
    local_at: datetime | None = None
    """When it is that time where each recipient is; naive. Instead of `at`."""
    expires_after: timedelta | None = None
    on_unknown: OnUnknown | None = None
    is_test: bool = False
    """It goes through everything and ends at an account that only logs."""


def wish_of(template: str, to: str | Sequence[str], wishes: Mapping[str, Any]) -> Wish:
    """The wish that plain values say: a plan and a priority may be words.

    Raises RequestRefused, PlanRefused.
    """
    given = dict(wishes)
    if isinstance(given.get("plan"), str):
        given["plan"] = parse_plan(given["plan"])
    elif given.get("plan"):
        given["plan"] = check_plan(given["plan"])
    try:
        if isinstance(given.get("local_at"), str):
            given["local_at"] = parse_local(given["local_at"])
        if isinstance(given.get("priority"), str):
            given["priority"] = Priority.parse(given["priority"])
        for name, kind in (("message_class", MessageClass), ("on_unknown", OnUnknown)):
            if given.get(name) is not None:
                given[name] = kind(given[name])
        return Wish(template=template, to=[to] if isinstance(to, str) else list(to), **given)
    except (TypeError, ValueError) as error:
        raise RequestRefused(_sentence(error)) from error


def _sentence(error: Exception) -> str:
    text = str(error)
    return text if text.endswith(".") else f"The request is not understood: {text}."


def check_sizes(wish: Wish) -> None:
    """Return if the wish can be taken as far as it tells by itself. Raises RequestRefused."""
    if not 1 <= len(wish.to) <= MAX_RECIPIENTS:
        raise RequestRefused(f"A request names 1 to {MAX_RECIPIENTS:,} recipients.")
    if len(orjson.dumps(dict(wish.variables))) > MAX_VARIABLES_BYTES:
        raise RequestRefused(f"The variables are larger than {MAX_VARIABLES_BYTES // 1000} kB.")
    if wish.at is not None and wish.at.tzinfo is None:
        raise RequestRefused("The time to send at needs a zone: 2026-12-24T18:00:00+01:00.")
    if wish.local_at is not None:
        _check_local_time(wish, wish.local_at)
    if wish.expires_after is not None and wish.expires_after <= timedelta(0):
        raise RequestRefused("A request must be given some time before it expires.")
    if wish.idempotency_key is not None and not 1 <= len(wish.idempotency_key) <= 200:
        raise RequestRefused("An idempotency key has 1 to 200 characters.")


def _check_local_time(wish: Wish, local_at: datetime) -> None:
    if wish.at is not None:
        raise RequestRefused("Say one of them: at, or a local time.")
    try:
        parse_local(local_at.isoformat())
    except ValueError as error:
        raise RequestRefused(str(error)) from error


def hash_of(wish: Wish) -> str:
    """SHA-256 over all that makes a request what it is."""
    said = {
        "template": wish.template,
        "to": list(wish.to),
        "variables": dict(wish.variables),
        "class": wish.message_class,
        "priority": int(wish.priority),
        "topic": wish.topic,
        "plan": [step.as_json() for step in wish.plan],
        "at": wish.at.astimezone(UTC).isoformat() if wish.at else None,
        "expires_after": wish.expires_after.total_seconds() if wish.expires_after else None,
        "on_unknown": wish.on_unknown,
    }
    if wish.local_at is not None:  # not always: the hashes of what was sent before stay as they are
        said["local_at"] = wish.local_at.isoformat()
    if wish.is_test:
        said["is_test"] = True
    return hashlib.sha256(orjson.dumps(said, option=orjson.OPT_SORT_KEYS)).hexdigest()

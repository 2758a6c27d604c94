"""The calls of the API as values: what both clients ask, and how they read the answer."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Generic, TypeVar
from uuid import uuid4

import httpx

from carillon_client.answers import Bulk, BulkItem, Cancelled, DryRun, Event, Message, Sent
from carillon_client.errors import Problem, UnexpectedAnswer, error_of, field_errors, kind_of
from carillon_client.new_message import NewMessage
from carillon_client.retries import retry_after

T = TypeVar("T")
_ID = re.compile(r"(msg|snd)_[0-9a-z]{1,40}")
_MOST_KEY = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An answer that it was done."""

    body: Mapping[str, Any]
    is_repeat: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Call(Generic[T]):
    """One request, the same on every attempt."""

    method: str
    path: str
    read: Callable[[Answer], T]
    body: bytes | None = None
    key: str | None = None
    """Idempotency key."""

    def headers(self) -> dict[str, str]:
        """What this call adds to the client's own."""
        headers = {"Content-Type": "application/json"} if self.body is not None else {}
        return headers | ({"Idempotency-Key": self.key} if self.key is not None else {})


def send_call(message: NewMessage) -> Call[Sent]:
    """Send a message. Raises ValueError for a key that cannot be one."""
    key = _key(message.idempotency_key)

    def read(answer: Answer) -> Sent:
        return _sent(answer.body, key, is_repeat=answer.is_repeat)

    return Call(
        method="POST", path="/v1/messages", body=_json(message.as_json()), key=key, read=read
    )


def dry_run_call(message: NewMessage) -> Call[DryRun]:
    """Check a message."""
    body = message.as_json() | {"dry_run": True}
    return Call(
        method="POST",
        path="/v1/messages",
        body=_json(body),
        read=lambda answer: DryRun.of(answer.body),
    )


def bulk_call(messages: Sequence[NewMessage], idempotency_key: str | None) -> Call[Bulk]:
    """Send up to 1,000 messages. Raises ValueError for a key that cannot be one."""
    key = _key(idempotency_key)
    keys = [message.idempotency_key for message in messages]
    bodies = [
        message.as_json() | ({} if own is None else {"idempotency_key": own})
        for message, own in zip(messages, keys, strict=True)
    ]

    def read(answer: Answer) -> Bulk:
        return Bulk(
            accepted=answer.body["accepted"],
            refused=answer.body["refused"],
            items=tuple(_item(each, keys[each["index"]]) for each in answer.body["items"]),
            idempotency_key=key,
            is_repeat=answer.is_repeat,
        )

    return Call(
        method="POST",
        path="/v1/messages/bulk",
        body=_json({"messages": bodies}),
        key=key,
        read=read,
    )


def event_call(topic: str, key: str, data: Mapping[str, Any] | None) -> Call[Event]:
    """Raise an event; topic and key say which one it is, so it needs no other key."""
    return Call(
        method="POST",
        path="/v1/events",
        body=_json({"topic": topic, "key": key, "data": dict(data or {})}),
        read=lambda answer: Event.of(answer.body, is_repeat=answer.is_repeat),
    )


def message_call(id: str) -> Call[Message]:
    """Get a message. Raises ValueError for what is no id of one."""
    return Call(
        method="GET",
        path=f"/v1/messages/{_checked_id(id, 'msg_')}",
        read=lambda answer: Message.of(answer.body),
    )


def cancel_call(id: str) -> Call[Cancelled]:
    """Cancel a message or a send. Raises ValueError for what is no id of either."""
    thing = "messages" if _checked_id(id, "msg_", "snd_").startswith("msg_") else "sends"
    return Call(
        method="POST",
        path=f"/v1/{thing}/{id}/cancel",
        read=lambda answer: Cancelled.of(answer.body),
    )


def cancel_by_key_call(idempotency_key: str) -> Call[Cancelled]:
    """Cancel the send that was asked for with a key."""
    return Call(
        method="POST",
        path="/v1/messages/cancel",
        body=_json({"idempotency_key": idempotency_key}),
        read=lambda answer: Cancelled.of(answer.body),
    )


def read_answer(call: Call[T], response: httpx.Response) -> T:
    """What the call returns. Raises ApiError."""
    document = _document(response)
    if response.status_code >= 300:
        raise error_of(_problem(response, document, call.key))
    try:
        is_repeat = response.headers.get("Idempotency-Replayed") == "true"
        return call.read(Answer(body=document, is_repeat=is_repeat))
    except (KeyError, TypeError, ValueError, IndexError) as error:
        sentence = f"The answer to {call.method} {call.path} is not one of Carillon's API."
        problem = Problem(
            status=response.status_code, kind="", detail=sentence, idempotency_key=call.key
        )
        raise UnexpectedAnswer(problem) from error


def _document(response: httpx.Response) -> Any:
    try:
        return response.json()
    except ValueError:
        return None


def _problem(response: httpx.Response, document: Any, key: str | None) -> Problem:
    kind = kind_of(document)
    phrase = f"{response.status_code} {response.reason_phrase}".strip()
    return Problem(
        status=response.status_code,
        kind=kind,
        detail=str(document.get("detail", phrase)) if kind else f"The answer was {phrase}.",
        errors=field_errors(document) if kind else (),
        request_id=response.headers.get("X-Request-Id"),
        idempotency_key=key,
        retry_after=retry_after(response),
    )


def _item(body: Mapping[str, Any], key: str | None) -> BulkItem:
    if body.get("sent") is not None:
        return BulkItem(index=body["index"], sent=_sent(body["sent"], key, is_repeat=False))
    said = body["problem"]
    problem = Problem(
        status=said["status"],
        kind=kind_of(said),
        detail=said.get("detail", HTTPStatus(said["status"]).phrase),
        errors=field_errors(said),
        request_id=said.get("request_id"),
        idempotency_key=key,
    )
    return BulkItem(index=body["index"], error=error_of(problem))


def _sent(body: Mapping[str, Any], key: str | None, *, is_repeat: bool) -> Sent:
    return Sent(
        id=body["id"],
        messages=tuple(body["messages"]),
        idempotency_key=key,
        is_repeat=is_repeat,
    )


def _json(value: Any) -> bytes:
    """Raises TypeError and ValueError for what JSON cannot say."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def _key(given: str | None) -> str:
    if given is None:
        return str(uuid4())
    if not 1 <= len(given) <= _MOST_KEY or not given.isascii() or not given.isprintable():
        raise ValueError(f"An idempotency key has 1 to {_MOST_KEY} printable ASCII characters.")
    return given


def _checked_id(given: str, *prefixes: str) -> str:
    if not _ID.fullmatch(given) or not given.startswith(prefixes):
        forms = " or ".join(f"{prefix}…" for prefix in prefixes)
        raise ValueError(f"'{given}' is not an id of the form {forms}")
    return given

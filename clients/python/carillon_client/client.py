"""The client for code without asyncio."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Self, TypeVar, Unpack

import httpx

from carillon_client import calls
from carillon_client.address import Address
from carillon_client.answers import Bulk, Cancelled, DryRun, Event, Message, Sent
from carillon_client.new_message import NewMessage, SendOptions
from carillon_client.retries import CONNECTION_ERRORS, DEFAULT_RETRIES, Retries, Turns

T = TypeVar("T")
DEFAULT_TIMEOUT = timedelta(seconds=30)


class Carillon:
    """A service's way to Carillon. Thread-safe; keep one for the life of the process.

    Every call is made again, with the same idempotency key, when the connection fails or the API says
    later (429, 503), as `retries` says. What it raises is a `CarillonError`, or a ValueError or
    TypeError for arguments that cannot be sent.
    """

    def __init__(
        self,
        base_url: str | None = None,
        api_key: str | None = None,
        *,
        timeout: timedelta = DEFAULT_TIMEOUT,
        retries: Retries = DEFAULT_RETRIES,
    ) -> None:
        """Without arguments: CARILLON_URL and CARILLON_API_KEY. Nothing is asked yet.

        `timeout`: of connecting, and of each wait for bytes, in one attempt. Raises NotConfigured.
        """
        self._address = Address.of(base_url, api_key)
        self._retries = retries
        self._http = httpx.Client(
            base_url=self._address.base_url,
            headers=self._address.headers(),
            timeout=timeout.total_seconds(),
        )

    def __repr__(self) -> str:
        """Its address; never its key."""
        return f"Carillon({self._address.base_url!r})"

    def __enter__(self) -> Self:
        """Itself; it is closed at the end of the block."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()

    def close(self) -> None:
        """Close its connections."""
        self._http.close()

    def send(
        self,
        template: str,
        to: str | Sequence[str],
        variables: Mapping[str, Any] | None = None,
        **options: Unpack[SendOptions],
    ) -> Sent:
        """Send a message to one or up to 1,000 recipients; returns when it is committed.

        `to`: your external ids, or bare addresses. The same `idempotency_key` again returns the first
        answer; with another message it raises Invalid. Invalid says in `errors` what is wrong.
        """
        return self._run(calls.send_call(NewMessage(template, to, variables or {}, **options)))

    def send_many(
        self, messages: Sequence[NewMessage], *, idempotency_key: str | None = None
    ) -> Bulk:
        """Send up to 1,000 messages in one transaction; each is taken or refused for itself.

        `idempotency_key` is the bulk's: the same again within 24 hours returns the first answer.
        """
        return self._run(calls.bulk_call(messages, idempotency_key))

    def dry_run(
        self,
        template: str,
        to: str | Sequence[str],
        variables: Mapping[str, Any] | None = None,
        **options: Unpack[SendOptions],
    ) -> DryRun:
        """What `send` would do, checked whole; nothing is written. Raises what `send` would."""
        return self._run(calls.dry_run_call(NewMessage(template, to, variables or {}, **options)))

    def event(self, topic: str, key: str, data: Mapping[str, Any] | None = None) -> Event:
        """Tell everybody who joined the topic, at once or in their digest.

        `key` says which event it is: the same topic and key again tell nobody again.
        """
        return self._run(calls.event_call(topic, key, data))

    def message(self, id: str) -> Message:
        """A message, msg_…, with its deliveries and all that happened to it. Raises NotFound."""
        return self._run(calls.message_call(id))

    def cancel(self, id: str) -> Cancelled:
        """Cancel a send, snd_…, or the message, msg_…, that is all of its send. Again is harmless.

        Raises NotFound, and Conflict where it is too late.
        """
        return self._run(calls.cancel_call(id))

    def cancel_by_key(self, idempotency_key: str) -> Cancelled:
        """Cancel the send that was asked for with this key. Again is harmless."""
        return self._run(calls.cancel_by_key_call(idempotency_key))

    def _run(self, call: calls.Call[T]) -> T:
        turns = Turns(self._retries)
        while True:
            try:
                response = self._http.request(
                    call.method, call.path, content=call.body, headers=call.headers()
                )
            except CONNECTION_ERRORS as error:
                seconds: float | None = turns.after_error(error, call.key)
            else:
                seconds = turns.after_answer(response)
            if seconds is None:
                return calls.read_answer(call, response)
            time.sleep(seconds)

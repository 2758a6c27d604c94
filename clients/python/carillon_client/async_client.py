"""The client for asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Self, TypeVar, Unpack

import httpx

from carillon_client import calls
from carillon_client.address import Address
from carillon_client.answers import Bulk, Cancelled, DryRun, Event, Message, Sent
from carillon_client.client import DEFAULT_TIMEOUT
from carillon_client.new_message import NewMessage, SendOptions
from carillon_client.retries import CONNECTION_ERRORS, DEFAULT_RETRIES, Retries, Turns

T = TypeVar("T")


class AsyncCarillon:
    """A service's way to Carillon in asyncio; keep one for the life of the event loop.

    It does and raises what `carillon_client.Carillon` does.
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
        self._http = httpx.AsyncClient(
            base_url=self._address.base_url,
            headers=self._address.headers(),
            timeout=timeout.total_seconds(),
        )

    def __repr__(self) -> str:
        """Its address; never its key."""
        return f"AsyncCarillon({self._address.base_url!r})"

    async def __aenter__(self) -> Self:
        """Itself; it is closed at the end of the block."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close it."""
        await self.close()

    async def close(self) -> None:
        """Close its connections."""
        await self._http.aclose()

    async def send(
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
        return await self._run(
            calls.send_call(NewMessage(template, to, variables or {}, **options))
        )

    async def send_many(
        self, messages: Sequence[NewMessage], *, idempotency_key: str | None = None
    ) -> Bulk:
        """Send up to 1,000 messages in one transaction; each is taken or refused for itself.

        `idempotency_key` is the bulk's: the same again within 24 hours returns the first answer.
        """
        return await self._run(calls.bulk_call(messages, idempotency_key))

    async def dry_run(
        self,
        template: str,
        to: str | Sequence[str],
        variables: Mapping[str, Any] | None = None,
        **options: Unpack[SendOptions],
    ) -> DryRun:
        """What `send` would do, checked whole; nothing is written. Raises what `send` would."""
        return await self._run(
            calls.dry_run_call(NewMessage(template, to, variables or {}, **options))
        )

    async def event(self, topic: str, key: str, data: Mapping[str, Any] | None = None) -> Event:
        """Tell everybody who joined the topic, at once or in their digest.

        `key` says which event it is: the same topic and key again tell nobody again.
        """
        return await self._run(calls.event_call(topic, key, data))

    async def message(self, id: str) -> Message:
        """A message, msg_…, with its deliveries and all that happened to it. Raises NotFound."""
        return await self._run(calls.message_call(id))

    async def cancel(self, id: str) -> Cancelled:
        """Cancel a send, snd_…, or the message, msg_…, that is all of its send. Again is harmless.

        Raises NotFound, and Conflict where it is too late.
        """
        return await self._run(calls.cancel_call(id))

    async def cancel_by_key(self, idempotency_key: str) -> Cancelled:
        """Cancel the send that was asked for with this key. Again is harmless."""
        return await self._run(calls.cancel_by_key_call(idempotency_key))

    async def _run(self, call: calls.Call[T]) -> T:
        turns = Turns(self._retries)
        while True:
            try:
                response = await self._http.request(
                    call.method, call.path, content=call.body, headers=call.headers()
                )
            except CONNECTION_ERRORS as error:
                seconds: float | None = turns.after_error(error, call.key)
            else:
                seconds = turns.after_answer(response)
            if seconds is None:
                return calls.read_answer(call, response)
            await asyncio.sleep(seconds)

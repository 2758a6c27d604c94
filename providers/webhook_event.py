"""One event at a time to endpoints that teams have registered: signed and guarded as messages are."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

from domain.answer import Answer, AnswerClass
from domain.webhook_address import why_refused
from domain.webhook_signature import event_secret
from providers.http_transport import Destination, HttpTransport
from providers.webhook import WebhookConfig, signed_headers, webhook_answer, webhook_target

_CONNECT_WITHIN_SECONDS = 10.0
_LOOK = timedelta(seconds=1)


def event_secrets(config: WebhookConfig, endpoint: str, generations: tuple[int, ...]) -> list[str]:
    """What the owner of an endpoint, whk_…, verifies with, the newest first; each signs now."""
    return [
        event_secret(master, endpoint, generation)
        for generation in generations
        for master in config.masters
    ]


class EventPoster:
    """A kept connection to one endpoint. Not thread-safe; never retries."""

    def __init__(self, config: WebhookConfig) -> None:
        """Connects when the first event is posted."""
        self._config = config
        self._transport = HttpTransport(webhook_target(config))

    def post(self, url: str, event_id: str, body: bytes, secrets: list[str]) -> Answer:
        """The endpoint's answer, or what its silence means; blocks for 15 seconds at most.

        `event_id` is the webhook-id, the same on every try.
        """
        refusal = why_refused(url, allow_private=self._config.allow_private)
        if refusal:
            return Answer(kind=AnswerClass.RECIPIENT_REFUSED, code="url", detail=refusal)
        headers = signed_headers(secrets, event_id, body, datetime.now(UTC))
        write_by = time.monotonic() + _CONNECT_WITHIN_SECONDS
        self._transport.post(1, body, write_by, Destination(url, headers))
        while not (finished := self._transport.poll(_LOOK)):
            pass
        return webhook_answer(finished[0], event_id)

    def close(self) -> None:
        """Close the connection."""
        self._transport.close()

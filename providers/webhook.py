"""Webhooks to endpoints of other people's, by Standard Webhooks 1.0.0.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
`webhook-id` is our reference, the same on every retry: a receiver that keeps the ids it has seen
takes a message once. So sending again after an UNKNOWN answer is harmless here.
The URL is a stranger's: domain/webhook_address.py says which are refused. It is asked of the URL, and
again of the very address that is connected to. No redirect is followed, no proxy asked, and of an
answer nothing but status and Retry-After is read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

from domain.answer import CALL_BY_MISSED, Answer, AnswerClass
from domain.rate_unit import RateUnit
from domain.send import Channel
from domain.webhook_address import PORTS, is_public, why_refused
from domain.webhook_signature import endpoint_secret, sign
from providers.account import AccountConfig, ProviderEntry, Wire
from providers.http_transport import Destination, HttpTransport, Target, Transfer
from providers.post_queue import Post, PostQueue
from providers.protocol import Capabilities, Mail, Reply, Request
from providers.retry_after import retry_after
from providers.unsendable import content_refused, recipient_refused

SIMULATOR_SECRET = "simulator-development"  # noqa: S105  # the stand-in's, the same everywhere
DEFAULT_KIND = "message"

_KIND_BY_STATUS = {
    408: AnswerClass.UNKNOWN,  # some proxies say it when the answer, not the request, was late
    429: AnswerClass.THROTTLED,
    502: AnswerClass.THROTTLED,
    503: AnswerClass.UNAVAILABLE,
    504: AnswerClass.THROTTLED,
}
_KIND_BY_HUNDRED = {
    2: AnswerClass.ACCEPTED,
    3: AnswerClass.RECIPIENT_REFUSED,  # the standard: no redirects
    4: AnswerClass.RECIPIENT_REFUSED,  # 410 among them: the caller disables the endpoint
    5: AnswerClass.UNKNOWN,
}
_WAITING_KINDS = (AnswerClass.THROTTLED, AnswerClass.UNAVAILABLE)

_EVENT_TYPE = re.compile(r"[a-zA-Z0-9_]+(?:\.[a-zA-Z0-9_]+)*")
_MAX_BODY_BYTES = 256 * 1024
_DEADLINE = timedelta(seconds=15)
_HEADERS = ("Content-Type: application/json", "User-Agent: Carillon")


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookSettings:
    """Of settings.py."""

    webhook_secret: str = field(default="", repr=False)
    simulator_webhook_url: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookConfig:
    """How webhooks are signed and sent. Raises ValueError if it cannot work."""

    masters: tuple[str, ...] = field(repr=False)
    """From which endpoints' secrets are derived, the newest first; several during a rotation."""
    allow_private: bool = False
    """For development alone: http, any port, any address."""
    connections: int = 8
    request_timeout: timedelta = _DEADLINE
    """At most 15 s."""
    resolve: Sequence[str] = ()
    """Fixed answers to name look-ups, "host:port:address"."""

    def __post_init__(self) -> None:
        if not self.masters or not all(self.masters):
            raise ValueError("The webhook secret is empty.")


def endpoint_secrets(config: WebhookConfig, url: str) -> list[str]:
    """What the owner of the endpoint at `url` verifies with, the newest first; each signs now."""
    return [endpoint_secret(master, url) for master in config.masters]


class WebhookSession:
    """Kept connections to whatever endpoints messages go to; see `protocol.Session`."""

    @classmethod
    def open(cls, config: WebhookConfig) -> WebhookSession:
        """A session; connects when a request is submitted."""
        return cls(config)

    def __init__(self, config: WebhookConfig) -> None:
        self._config = config
        self._references: dict[int, str] = {}
        self._queue = PostQueue(
            HttpTransport(webhook_target(config)), prepare=self._prepare, answer=self._answer
        )

    @property
    def capabilities(self) -> Capabilities:
        """What the driver of a batch must know."""
        return Capabilities(
            channel=Channel.WEBHOOK,
            merges=False,
            max_messages_per_request=1,
            max_request_bytes=_MAX_BODY_BYTES,
            max_slot_bytes=0,
            max_open_requests=self._config.connections,
            rate_unit=RateUnit.REQUESTS,
        )

    @property
    def open_requests(self) -> int:
        """Requests submitted and not yet answered."""
        return self._queue.open_requests

    def submit(self, request: Request) -> None:
        """Take a request of one message; begin it if a connection is free, else later."""
        self._queue.submit(request)

    def poll(self, timeout: timedelta) -> list[Reply]:
        """Replies that have come; waits for the first at most `timeout`."""
        return self._queue.poll(timeout)

    def check(self) -> Answer:
        """There is no server of the account's own: each endpoint shows itself when it is sent to."""
        return Answer(kind=AnswerClass.ACCEPTED, detail="Webhooks can be signed.")

    def close(self) -> None:
        """Close the connections; open requests are given up without a reply."""
        self._references.clear()
        self._queue.close()

    def _prepare(self, request: Request) -> Post:
        (mail,) = request.mails
        refusal = why_refused(mail.address, allow_private=self._config.allow_private)
        if refusal:
            raise recipient_refused("url", refusal)
        now = datetime.now(UTC)
        body = _body(mail, now)
        self._references[request.number] = mail.reference
        secrets = endpoint_secrets(self._config, mail.address)
        headers = signed_headers(secrets, mail.reference, body, now)
        return Post(body, Destination(mail.address, headers))

    def _answer(self, transfer: Transfer) -> Answer:
        return webhook_answer(transfer, self._references.pop(transfer.tag, ""))


def signed_headers(
    secrets: Sequence[str], message_id: str, body: bytes, now: datetime
) -> list[str]:
    """The header lines of a message that is sent now."""
    seconds = int(now.timestamp())
    return [
        *_HEADERS,
        f"webhook-id: {message_id}",
        f"webhook-timestamp: {seconds}",
        f"webhook-signature: {sign(secrets, message_id, seconds, body)}",
    ]


def webhook_target(config: WebhookConfig) -> Target:
    """How endpoints are reached: over TLS, at public addresses alone, and not for long."""
    return Target(
        url="",
        headers=(),
        connections=config.connections,
        request_timeout=min(config.request_timeout, _DEADLINE),
        may_connect=None if config.allow_private else _may_connect,
        resolve=config.resolve,
        cuts_answers=True,
    )


def _may_connect(address: str, port: int) -> bool:
    return port in PORTS and is_public(address)


def _body(mail: Mail, now: datetime) -> bytes:
    """`type`, `timestamp`, `data`. Raises Unsendable when they cannot be made of the message."""
    kind = (mail.kind or DEFAULT_KIND).replace("-", "_")
    if not _EVENT_TYPE.fullmatch(kind):
        raise content_refused("type", "An event type is words of letters, digits and _ with dots.")
    body = orjson.dumps(
        {
            "type": kind,
            "timestamp": now.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "data": _data(mail),
        }
    )
    if len(body) > _MAX_BODY_BYTES:
        raise content_refused("size", f"The body is larger than {_MAX_BODY_BYTES} bytes.")
    return body


def _data(mail: Mail) -> Any:
    if not mail.data:
        return {"subject": mail.subject, "text": mail.text}
    try:
        data = orjson.loads(mail.data)
    except orjson.JSONDecodeError:
        data = None
    if not isinstance(data, dict):
        raise content_refused("data", "The data of a webhook must be a JSON object.")
    return data


def webhook_answer(transfer: Transfer, reference: str) -> Answer:
    """What the endpoint's answer, or its silence, means."""
    status = transfer.status
    if not status:
        return _answer_of_silence(transfer)
    kind = _KIND_BY_STATUS.get(status) or _KIND_BY_HUNDRED.get(status // 100, AnswerClass.UNKNOWN)
    is_accepted = kind is AnswerClass.ACCEPTED
    return Answer(
        kind=kind,
        provider_message_id=reference if is_accepted else "",
        code=str(status),
        detail="" if is_accepted else f"The endpoint answered {status}.",
        retry_after=retry_after(transfer.headers) if kind in _WAITING_KINDS else None,
    )


def _answer_of_silence(transfer: Transfer) -> Answer:
    """libcurl's own words name the host, so they stay here."""
    if transfer.is_late:
        return CALL_BY_MISSED
    if transfer.was_begun:
        return Answer(
            kind=AnswerClass.UNKNOWN, code="connection", detail="The endpoint gave no answer."
        )
    if transfer.is_denied:
        return Answer(
            kind=AnswerClass.RECIPIENT_REFUSED,
            code="address",
            detail="The endpoint's host has an address that is not public.",
        )
    return Answer(
        kind=AnswerClass.UNAVAILABLE, code="connection", detail="The endpoint cannot be reached."
    )


def _accounts(settings: WebhookSettings, wire: Wire) -> Iterator[AccountConfig]:
    if settings.webhook_secret.split():
        yield _account("webhook", settings.webhook_secret.split(), wire, is_real=True)
    if settings.simulator_webhook_url:
        yield _account("simulator-webhook", [SIMULATOR_SECRET], wire, is_real=False)


def _account(key: str, masters: Sequence[str], wire: Wire, *, is_real: bool) -> AccountConfig:
    config = WebhookConfig(
        masters=tuple(masters),
        allow_private=not is_real,
        connections=wire.connections,
        request_timeout=wire.request_timeout,
    )
    return AccountConfig(
        key=key,
        provider="webhook",
        channel=Channel.WEBHOOK,
        is_real=is_real,
        config=config,
        open=WebhookSession.open,
    )


ENTRY = ProviderEntry(
    name="webhook", settings=WebhookSettings, accounts=_accounts, credentials=("webhook_secret",)
)

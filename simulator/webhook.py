"""A receiver of webhooks, as the owner of an endpoint would write it: it verifies, then takes."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import UTC, datetime

import orjson

from domain.webhook_signature import endpoint_secret, verify
from simulator.faults import Fault, FaultBoard, Provider
from simulator.http_faults import HttpFaults
from simulator.http_protocol import Head, Reply
from simulator.mailbox import Line, Mailbox, Rendered, utc_now

MAX_BODY_BYTES = 1024 * 1024
MASTER = "simulator-development"
"""What the account `simulator-webhook` derives the secrets of endpoints from."""
SIGNED = (b"webhook-id", b"webhook-timestamp", b"webhook-signature")
TEXT = ("Content-Type", "text/plain")


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One message that was verified."""

    url: str
    headers: tuple[str, str, str]
    body: bytes
    payload: dict[str, object]

    def line(self) -> Line:
        """The journal's line."""
        return Line(
            at=utc_now(),
            provider=Provider.WEBHOOK.value,
            account="",
            message_id=self.headers[0],
            to=self.url,
            request_id=secrets.token_urlsafe(16),
            subject=str(self.payload.get("type") or ""),
            size=len(self.body),
        )

    def rendered(self, _index: int) -> Rendered:
        """The JSON, indented."""
        return Rendered(
            headers=[
                (name.decode(), value) for name, value in zip(SIGNED, self.headers, strict=True)
            ],
            text=orjson.dumps(self.payload, option=orjson.OPT_INDENT_2).decode(),
            html="",
        )


class WebhookReceiver:
    """Takes POSTs to any path of its port; one instance for all connections."""

    max_body_bytes = MAX_BODY_BYTES

    def __init__(self, mailbox: Mailbox, board: FaultBoard) -> None:
        self._faults = HttpFaults(Provider.WEBHOOK, mailbox, board)

    def arrived(self, head: Head) -> Reply | None:
        """Count a message's request; a reset strikes before its body is read."""
        return self._faults.arrived(head) if head.method == "POST" else None

    def completed(self, head: Head, body: bytes | None) -> Reply:
        """The answer to a request whose body is read (None: it was too large)."""
        if head.method != "POST":
            return _said(405, "POST only")
        return self._faults.finished(head.faults, self._take(head, body))

    def _take(self, head: Head, body: bytes | None) -> Reply:
        if self._faults.is_revoked(head.faults):
            return _said(401, "revoked")
        rule = self._faults.over_rate(head.faults)
        if rule:
            return _said(429, "slow down", 1 if rule.retry_after is None else rule.retry_after)
        failure = self._faults.failing(head.faults)
        if failure:
            return _failure(failure)
        if body is None:
            return _said(413, "too large")
        event = _event(head, body)
        if event is None:
            return _said(400, "no Standard Webhooks message, or its signature is wrong")
        if self._faults.refuses(head.faults, event.url):
            return _said(410, "gone")
        return self._accept(head, event)

    def _accept(self, head: Head, event: Event) -> Reply:
        faults = self._faults.delivered(head.faults)
        failure = self._faults.failing(faults)
        if failure:
            return _failure(failure)
        said = self._faults.accept(event.line(), event, faults, Reply(204))
        return _failure(said) if isinstance(said, Fault) else said


def _event(head: Head, body: bytes) -> Event | None:
    """The message, if its signature is right for the URL it came to and its body is an object."""
    query = f"?{head.query}" if head.query else ""
    url = f"http://{head.headers.get(b'host', b'').decode('latin-1')}{head.path}{query}"
    message_id, timestamp, signature = (
        head.headers.get(name, b"").decode("latin-1") for name in SIGNED
    )
    headers = (message_id, timestamp, signature)
    if not verify([endpoint_secret(MASTER, url)], headers, body, now=datetime.now(UTC)):
        return None
    try:
        payload = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(payload, dict):
        return None
    return Event(url=url, headers=headers, body=body, payload=payload)


def _failure(rule: Fault) -> Reply:
    return _said(rule.status or 500, rule.body or "failed", rule.retry_after)


def _said(status: int, words: str, retry_after: int | None = None) -> Reply:
    waiting = () if retry_after is None else (("Retry-After", str(retry_after)),)
    return Reply(status, words.encode(), (TEXT, *waiting))

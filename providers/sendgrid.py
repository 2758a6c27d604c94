"""SendGrid, v3 mail/send: one message a request, or up to 1,000 people merged on their side.

Every class below is documented by SendGrid or follows from HTTP; there is no idempotency key, so a
request whose answer is lost stays UNKNOWN until its `processed` event comes (custom_args.mid).
https://www.twilio.com/docs/sendgrid/api-reference/mail-send/errors
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import orjson
import sendgrid as official

from domain.answer import CALL_BY_MISSED, Answer, AnswerClass
from domain.send import Channel
from providers.account import AccountConfig, ProviderEntry, Wire
from providers.http_transport import HttpTransport, Target, Transfer, header_value
from providers.post_queue import Post, PostQueue
from providers.protocol import Capabilities, Reply, Request
from providers.redaction import without_addresses
from providers.retry_after import retry_after
from providers.sendgrid_payload import MAX_REQUEST_BYTES, PayloadBuilder

SIMULATOR_KEY = "SG.simulator.development"
"""What the simulator takes for an API key; SendGrid would refuse it."""

_KIND_BY_STATUS = {
    200: AnswerClass.ACCEPTED,  # sandbox mode: validated, not sent
    202: AnswerClass.ACCEPTED,
    400: AnswerClass.CONTENT_REFUSED,
    401: AnswerClass.ACCOUNT_REFUSED,  # bad key; also "Maximum credits exceeded"
    403: AnswerClass.ACCOUNT_REFUSED,  # key without mail.send; sender identity not verified
    408: AnswerClass.UNKNOWN,  # some proxies say it when the answer, not the request, was late
    413: AnswerClass.CONTENT_REFUSED,
    429: AnswerClass.THROTTLED,
    503: AnswerClass.UNAVAILABLE,
}

_KIND_BY_HUNDRED = {
    2: AnswerClass.UNKNOWN,
    3: AnswerClass.ACCOUNT_REFUSED,  # we follow nothing: the URL is wrong
    4: AnswerClass.ACCOUNT_REFUSED,  # 404, 405 and what we do not know: stop rather than burn people
    5: AnswerClass.UNKNOWN,  # SendGrid may have queued it before it failed
}

_SENDER_FIELD = re.compile(r"(from|reply_to)\b")
_SENDER_WORDS = re.compile(r"verified sender identity|from address does not match", re.IGNORECASE)
_RECIPIENT_FIELD = re.compile(r"personalizations\.\d+\.to\b")
_RECIPIENT_WORDS = re.compile(r"should only be included once|should be unique", re.IGNORECASE)

_MAX_PERSONALIZATIONS = 1000
_MAX_SUBSTITUTION_BYTES = 50_000


@dataclass(frozen=True, slots=True, kw_only=True)
class SendGridSettings:
    """Of settings.py."""

    sendgrid_api_key: str = field(default="", repr=False)
    sendgrid_region: str = "global"
    sendgrid_rate: float = 0.0
    simulator_sendgrid_url: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SendGridConfig:
    """One SendGrid account. Raises ValueError if it cannot work."""

    api_key: str = field(repr=False)
    base_url: str = ""
    """Empty: SendGrid itself, in `region`. Else a stand-in's, such as http://127.0.0.1:8611."""
    region: str = "global"
    max_messages_per_request: int = 1
    """Above 1: requests merge, with a skeleton and substitutions."""
    connections: int = 8
    request_timeout: timedelta = timedelta(seconds=30)

    def __post_init__(self) -> None:
        if not self.api_key.isprintable() or not self.api_key.strip():
            # The official client would take SENDGRID_API_KEY from the environment instead.
            raise ValueError("The SendGrid API key is empty or holds control characters.")
        if self.base_url and not self.base_url.startswith(("http://", "https://")):
            raise ValueError("The SendGrid URL must start with http:// or https://.")
        if self.region not in ("global", "eu"):
            raise ValueError("The SendGrid region must be global or eu.")
        if not 1 <= self.max_messages_per_request <= _MAX_PERSONALIZATIONS:
            raise ValueError("SendGrid takes 1 to 1,000 messages in a request.")


class SendGridSession:
    """Kept connections to one SendGrid account; see `protocol.Session`."""

    @classmethod
    def open(cls, config: SendGridConfig) -> SendGridSession:
        """A session; connects when the first request is submitted."""
        return cls(config)

    def __init__(self, config: SendGridConfig) -> None:
        self._config = config
        self._transport = HttpTransport(_target(config, "/v3/mail/send", config.connections))
        payloads = PayloadBuilder()
        self._queue = PostQueue(
            self._transport,
            prepare=lambda request: Post(payloads.body(request)),
            answer=_answer,
        )

    @property
    def capabilities(self) -> Capabilities:
        """What the driver of a batch must know."""
        most = self._config.max_messages_per_request
        return Capabilities(
            channel=Channel.EMAIL,
            merges=most > 1,
            max_messages_per_request=most,
            max_request_bytes=MAX_REQUEST_BYTES,
            max_slot_bytes=_MAX_SUBSTITUTION_BYTES,
            max_open_requests=self._config.connections,
        )

    @property
    def open_requests(self) -> int:
        """Requests submitted and not yet answered."""
        return self._queue.open_requests

    def submit(self, request: Request) -> None:
        """Take a request; begin it if a connection is free, else keep it until one is.

        Raises ValueError for several mails without a skeleton.
        """
        self._queue.submit(request)

    def poll(self, timeout: timedelta) -> list[Reply]:
        """Replies that have come; waits for the first at most `timeout`."""
        return self._queue.poll(timeout)

    def check(self) -> Answer:
        """Asks for the key's scopes, on a connection of its own; at most the request time-out."""
        transport = HttpTransport(_target(self._config, "/v3/scopes", 1))
        try:
            transport.get(0)
            transfers = transport.poll(self._config.request_timeout + timedelta(seconds=1))
        finally:
            transport.close()
        return _answer_to_check(transfers)

    def close(self) -> None:
        """Close the connections; open requests are given up without a reply."""
        self._queue.close()


def _target(config: SendGridConfig, path: str, connections: int) -> Target:
    """Where to post, with the official client's host for the region and its headers."""
    client = official.SendGridAPIClient(config.api_key.strip())
    client.set_sendgrid_data_residency(config.region)
    headers = {**client.client.request_headers, "Content-Type": "application/json"}
    return Target(
        url=(config.base_url.rstrip("/") or client.host) + path,
        headers=[f"{name}: {value}" for name, value in headers.items()],
        connections=connections,
        request_timeout=config.request_timeout,
    )


def _answer(transfer: Transfer) -> Answer:
    """What SendGrid's answer, or its silence, means for every mail of the request."""
    status = transfer.status
    if status == 202 and not transfer.body:
        return Answer(
            kind=AnswerClass.ACCEPTED,
            provider_message_id=header_value(transfer.headers, "X-Message-Id"),
            code="202",
        )
    if transfer.is_late:
        return CALL_BY_MISSED
    if not status:
        kind = AnswerClass.UNKNOWN if transfer.was_begun else AnswerClass.UNAVAILABLE
        return Answer(kind=kind, code="connection", detail=without_addresses(transfer.error))
    if 200 <= status < 300:
        return _answer_of_success(transfer)
    return _answer_of_refusal(transfer)


def _answer_of_success(transfer: Transfer) -> Answer:
    if _is_page(transfer):
        return Answer(
            kind=AnswerClass.ACCOUNT_REFUSED,
            code=str(transfer.status),
            detail="A web page answered instead of SendGrid: the URL is wrong.",
        )
    return Answer(
        kind=_kind_by_status(transfer.status),
        provider_message_id=header_value(transfer.headers, "X-Message-Id"),
        code=str(transfer.status),
    )


def _is_page(transfer: Transfer) -> bool:
    kind = header_value(transfer.headers, "Content-Type").lower()
    return kind.startswith("text/html") or transfer.body.lstrip()[:1] == b"<"


def _answer_of_refusal(transfer: Transfer) -> Answer:
    kind, code, detail = _kind_by_status(transfer.status), str(transfer.status), ""
    errors = _errors(transfer.body)
    if errors:
        detail = without_addresses(errors[0][1])
    if transfer.status == 400:
        kind = _kind_of_bad_request(errors, is_whole=not transfer.error)
        code = errors[0][0] if errors and errors[0][0] else code
    return Answer(
        kind=kind,
        code=without_addresses(code),
        detail=detail or f"SendGrid answered {transfer.status}.",
        retry_after=retry_after(transfer.headers) if transfer.status in (429, 503) else None,
    )


def _kind_by_status(status: int) -> AnswerClass:
    kind = _KIND_BY_STATUS.get(status) or _KIND_BY_HUNDRED.get(status // 100)
    return kind or AnswerClass.UNKNOWN


def _kind_of_bad_request(errors: list[tuple[str, str]], *, is_whole: bool) -> AnswerClass:
    """A wrong sender is everybody's, so it wins; content wins over recipients, who are let off."""
    if not is_whole and not errors:
        return AnswerClass.UNAVAILABLE  # refused, but whose fault it is was lost on the way
    if any(_SENDER_FIELD.match(name) or _SENDER_WORDS.search(text) for name, text in errors):
        return AnswerClass.ACCOUNT_REFUSED
    if errors and all(
        _RECIPIENT_FIELD.match(name) or _RECIPIENT_WORDS.search(text) for name, text in errors
    ):
        return AnswerClass.RECIPIENT_REFUSED
    return AnswerClass.CONTENT_REFUSED


def _errors(body: bytes) -> list[tuple[str, str]]:
    """(field, message) of each documented error; nothing if the body is none of SendGrid's."""
    try:
        parsed: Any = orjson.loads(body)
    except orjson.JSONDecodeError:
        return []
    listed = parsed.get("errors") if isinstance(parsed, dict) else None
    if not isinstance(listed, list):
        return []
    return [
        (str(error.get("field") or ""), str(error.get("message") or ""))
        for error in listed
        if isinstance(error, dict)
    ]


def _answer_to_check(transfers: list[Transfer]) -> Answer:
    transfer = transfers[0] if transfers else None
    if transfer is None or not transfer.status or transfer.error:
        detail = without_addresses(transfer.error) if transfer else "no answer in time"
        return Answer(kind=AnswerClass.UNAVAILABLE, code="connection", detail=detail)
    if transfer.status != 200 or _is_page(transfer):
        refused = _answer_of_refusal if transfer.status >= 300 else _answer_of_success
        return refused(transfer)
    if _lacks_mail_send(transfer.body):
        return Answer(
            kind=AnswerClass.ACCOUNT_REFUSED,
            code="scopes",
            detail="The API key may not send mail: it lacks the scope mail.send.",
        )
    return Answer(kind=AnswerClass.ACCEPTED, code="200", detail="The API key may send mail.")


def _lacks_mail_send(body: bytes) -> bool:
    try:
        parsed: Any = orjson.loads(body)
    except orjson.JSONDecodeError:
        return False
    scopes = parsed.get("scopes") if isinstance(parsed, dict) else None
    return isinstance(scopes, list) and "mail.send" not in scopes


def _accounts(settings: SendGridSettings, wire: Wire) -> Iterator[AccountConfig]:
    if settings.sendgrid_api_key:
        config = _config(settings.sendgrid_api_key, wire, region=settings.sendgrid_region)
        yield _account("sendgrid", config, is_real=True, rate=settings.sendgrid_rate)
    if settings.simulator_sendgrid_url:
        config = _config(SIMULATOR_KEY, wire, base_url=settings.simulator_sendgrid_url)
        yield _account("simulator", config, is_real=False)


def _config(api_key: str, wire: Wire, **place: str) -> SendGridConfig:
    return SendGridConfig(
        api_key=api_key,
        max_messages_per_request=wire.messages_per_request,
        connections=wire.connections,
        request_timeout=wire.request_timeout,
        **place,
    )


def _account(
    key: str, config: SendGridConfig, *, is_real: bool, rate: float = 0.0
) -> AccountConfig:
    return AccountConfig(
        key=key,
        provider="sendgrid",
        channel=Channel.EMAIL,
        is_real=is_real,
        rate=rate,
        config=config,
        open=SendGridSession.open,
    )


ENTRY = ProviderEntry(
    name="sendgrid",
    settings=SendGridSettings,
    accounts=_accounts,
    credentials=("sendgrid_api_key", "sendgrid_region"),
)

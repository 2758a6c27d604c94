"""Twilio's Messages API: SMS and MMS, one message a request.

There is no idempotency key, and Twilio says that a POST is not idempotent: an answer that is lost
stays UNKNOWN until a status callback names our reference, or `find_message` finds the message.
https://www.twilio.com/docs/messaging/api/message-resource
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import orjson

from domain.answer import CALL_BY_MISSED, Answer, AnswerClass
from domain.rate_unit import RateUnit
from domain.send import Channel
from providers.account import AccountConfig, ProviderEntry, Wire
from providers.http_transport import HttpTransport, Target, Transfer
from providers.post_queue import Post, PostQueue
from providers.protocol import Capabilities, Mail, Reply, Request, Sender
from providers.redaction import without_addresses, without_numbers
from providers.retry_after import retry_after
from providers.twilio_client import answer_to_check, find_message, official_client
from providers.twilio_codes import kind_of
from providers.twilio_config import TwilioConfig, is_messaging_service, is_number
from providers.unsendable import content_refused, recipient_refused

__all__ = ["ENTRY", "TwilioConfig", "TwilioSession"]

SIMULATOR_SID = "AC" + "5" * 32
SIMULATOR_TOKEN = "simulator"  # noqa: S105  # the stand-in takes any
SIMULATOR_SENDER = "+15005550006"

MAX_BODY_CHARACTERS = 1600
_MAX_REQUEST_BYTES = 64 * 1024
_WAITING_KINDS = (AnswerClass.THROTTLED, AnswerClass.UNAVAILABLE)


@dataclass(frozen=True, slots=True, kw_only=True)
class TwilioSettings:
    """Of settings.py."""

    twilio_account_sid: str = ""
    twilio_auth_token: str = field(default="", repr=False)
    twilio_from: str = ""
    twilio_rate: float = 0.0
    simulator_twilio_url: str = ""


class TwilioSession:
    """Kept connections to one Twilio account; see `protocol.Session`."""

    @classmethod
    def open(cls, config: TwilioConfig) -> TwilioSession:
        """A session; connects when the first request is submitted."""
        return cls(config)

    def __init__(self, config: TwilioConfig) -> None:
        self._config = config
        self._queue = PostQueue(
            HttpTransport(_target(config)),
            prepare=lambda request: Post(form_of(config, request.sender, request.mails[0])),
            answer=_answer,
        )

    @property
    def capabilities(self) -> Capabilities:
        """What the driver of a batch must know."""
        return Capabilities(
            channel=Channel.SMS,
            merges=False,
            max_messages_per_request=1,
            max_request_bytes=_MAX_REQUEST_BYTES,
            max_slot_bytes=0,
            max_open_requests=self._config.connections,
            rate_unit=RateUnit.SEGMENTS,
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
        """Asks for the account, on a connection of its own."""
        return answer_to_check(self._config)

    def find_message(self, to: str, body: str, since: datetime) -> str | None:
        """The id of the message that Twilio took, if it shows one; see `twilio_client`."""
        return find_message(self._config, to, body, since)

    def close(self) -> None:
        """Close the connections; open requests are given up without a reply."""
        self._queue.close()


def form_of(config: TwilioConfig, sender: Sender, mail: Mail) -> bytes:
    """The body of the request. Raises Unsendable where Twilio would refuse it anyway."""
    if not is_number(mail.address):
        # "whatsapp:+1…" and the like would go out on another channel, at another price.
        raise recipient_refused("To", "The address is no phone number in international form.")
    if len(mail.text) > MAX_BODY_CHARACTERS:
        raise content_refused("21617", f"The text is over {MAX_BODY_CHARACTERS} characters.")
    if not mail.text and not mail.media:
        raise content_refused("21602", "The message has neither text nor media.")
    # A send over several channels names an e-mail address; then the account's own sender is meant.
    given = sender.address
    from_ = given if given and "@" not in given else config.sender
    fields = [("To", mail.address)]
    fields.append(("MessagingServiceSid" if is_messaging_service(from_) else "From", from_))
    if mail.text:
        fields.append(("Body", mail.text))
    fields += [("MediaUrl", url) for url in mail.media]
    if config.callback_url:
        fields.append(("StatusCallback", f"{config.callback_url}?mid={mail.reference}"))
    return urlencode(fields).encode()


def _target(config: TwilioConfig) -> Target:
    """Where to post, with the official client's headers."""
    headers: dict[str, str] = official_client(config).get_headers("POST", {})
    headers["Authorization"] = config.authorization
    return Target(
        url=config.account_url + "/Messages.json",
        headers=[f"{name}: {value}" for name, value in headers.items()],
        connections=config.connections,
        request_timeout=config.request_timeout,
    )


def _answer(transfer: Transfer) -> Answer:
    """What Twilio's answer, or its silence, means."""
    if transfer.is_late:
        return CALL_BY_MISSED
    status = transfer.status
    if not status:
        kind = AnswerClass.UNKNOWN if transfer.was_begun else AnswerClass.UNAVAILABLE
        return Answer(kind=kind, code="connection", detail=without_addresses(transfer.error))
    said = _object(transfer.body)
    if status == 201:
        return Answer(
            kind=AnswerClass.ACCEPTED, provider_message_id=str(said.get("sid") or ""), code="201"
        )
    return _answer_of_refusal(transfer, said)


def _answer_of_refusal(transfer: Transfer, said: dict[str, Any]) -> Answer:
    status = transfer.status
    code = said.get("code") if isinstance(said.get("code"), int) else 0
    kind = kind_of(code or 0, status)
    if status == 400 and not said and transfer.error:
        kind = AnswerClass.UNAVAILABLE  # refused, but whose fault it is was lost on the way
    words = without_numbers(without_addresses(str(said.get("message") or "")))
    return Answer(
        kind=kind,
        code=str(code or status),
        detail=words or f"Twilio answered {status}.",
        retry_after=retry_after(transfer.headers) if kind in _WAITING_KINDS else None,
    )


def _object(body: bytes) -> dict[str, Any]:
    try:
        parsed = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    return parsed if isinstance(parsed, dict) else {}


def _accounts(settings: TwilioSettings, wire: Wire) -> Iterator[AccountConfig]:
    if settings.twilio_account_sid:
        is_reachable = wire.public_url.startswith("https://")
        config = TwilioConfig(
            account_sid=settings.twilio_account_sid,
            auth_token=settings.twilio_auth_token,
            sender=settings.twilio_from,
            callback_url=_callback(wire.public_url, wire.account_key or "twilio")
            if is_reachable
            else "",
            connections=wire.connections,
            request_timeout=wire.request_timeout,
        )
        yield _account("twilio", config, is_real=True, rate=settings.twilio_rate)
    if settings.simulator_twilio_url:
        config = TwilioConfig(
            account_sid=SIMULATOR_SID,
            auth_token=SIMULATOR_TOKEN,
            sender=SIMULATOR_SENDER,
            # Always one: the stand-in's journal names messages by the reference in it.
            callback_url=_callback(
                wire.public_url or settings.simulator_twilio_url, "simulator-sms"
            ),
            base_url=settings.simulator_twilio_url,
            connections=wire.connections,
            request_timeout=wire.request_timeout,
        )
        yield _account("simulator-sms", config, is_real=False)


def _callback(public_url: str, account: str) -> str:
    return f"{public_url.rstrip('/')}/hooks/{account}"


def _account(key: str, config: TwilioConfig, *, is_real: bool, rate: float = 0.0) -> AccountConfig:
    return AccountConfig(
        key=key,
        provider="twilio",
        channel=Channel.SMS,
        is_real=is_real,
        rate=rate,
        config=config,
        open=TwilioSession.open,
    )


ENTRY = ProviderEntry(
    name="twilio",
    settings=TwilioSettings,
    accounts=_accounts,
    credentials=("twilio_account_sid", "twilio_auth_token", "twilio_from"),
)

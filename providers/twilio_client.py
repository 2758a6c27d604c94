"""Twilio's official client, for everything but sending: it looks up, checks and validates.

It cannot send without blocking its thread, and its own transport goes through proxies of the
environment and may be set to retry. So it gets a transport of ours that only asks, and `twilio.py`
writes the send itself; a test holds that payload to what this client would write.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from twilio.base.exceptions import TwilioException, TwilioRestException
from twilio.http.response import Response
from twilio.request_validator import RequestValidator
from twilio.rest import Client

from domain.answer import Answer, AnswerClass
from providers.http_transport import HttpTransport, Target
from providers.protocol import LookUpFailed
from providers.redaction import without_addresses, without_numbers
from providers.twilio_codes import kind_of
from providers.twilio_config import API_URL, TwilioConfig

# Else the client takes TWILIO_REGION and TWILIO_EDGE from the environment.
_NO_ENVIRONMENT = {"TWILIO_REGION": ""}
_CLOCKS_APART = timedelta(minutes=1)
_MOST_LOOKED_AT = 200


class AskingTransport:
    """What the official client calls: GETs over libcurl, each on a connection of its own."""

    def __init__(self, config: TwilioConfig) -> None:
        self._config = config

    def request(
        self,
        method: str,
        url: str,
        params: Mapping[str, object] | None = None,
        data: Mapping[str, object] | None = None,
        headers: Mapping[str, str] | None = None,
        **_: object,
    ) -> Any:
        """The answer. Raises LookUpFailed without one, ValueError for anything but a GET."""
        if method.upper() != "GET" or data:
            raise ValueError("this transport only asks")
        query = urlencode({name: str(value) for name, value in (params or {}).items()})
        lines = {**(headers or {}), "Authorization": self._config.authorization}
        transport = HttpTransport(
            Target(
                url=self._url(url) + (f"?{query}" if query else ""),
                headers=[f"{name}: {value}" for name, value in lines.items()],
                connections=1,
                request_timeout=self._config.request_timeout,
            )
        )
        try:
            transport.get(0)
            transfers = transport.poll(self._config.request_timeout + timedelta(seconds=1))
        finally:
            transport.close()
        if not transfers or not transfers[0].status or transfers[0].error:
            detail = transfers[0].error if transfers else "no answer in time"
            raise LookUpFailed(without_addresses(detail))
        return Response(transfers[0].status, transfers[0].body.decode("utf-8", "replace"))

    def _url(self, url: str) -> str:
        if url.startswith(API_URL + "/"):
            return self._config.base_url.rstrip("/") + url.removeprefix(API_URL)
        return url


def official_client(config: TwilioConfig, http_client: Any = None) -> Any:
    """Twilio's client for the account, over `http_client` or else a transport that only asks."""
    return Client(
        config.account_sid,
        config.auth_token.strip(),
        http_client=http_client or AskingTransport(config),
        environment=_NO_ENVIRONMENT,
    )


def find_message(config: TwilioConfig, to: str, body: str, since: datetime) -> str | None:
    """The id of the message with this text that Twilio took for `to` at `since` or later, if any.

    The earliest of several. None is no proof: Twilio lists a message once it has a time of sending.
    Blocks for a request time-out at most per page. Raises LookUpFailed.
    """
    earliest = since.astimezone(UTC) - _CLOCKS_APART
    try:
        listed = official_client(config).messages.list(
            to=to, date_sent_after=earliest.date(), limit=_MOST_LOOKED_AT
        )
    except (TwilioException, ValueError) as error:
        raise LookUpFailed(_sentence(error)) from error
    found = [
        message
        for message in listed
        if str(message.direction).startswith("outbound")
        and (message.body or "").strip() == body.strip()
        and message.date_created is not None
        and message.date_created >= earliest
    ]
    return str(min(found, key=lambda message: message.date_created).sid) if found else None


def answer_to_check(config: TwilioConfig) -> Answer:
    """Asks for the account: ACCEPTED when it is active, else what is wrong."""
    try:
        account = official_client(config).api.v2010.accounts(config.account_sid).fetch()
    except LookUpFailed as error:
        return Answer(kind=AnswerClass.UNAVAILABLE, code="connection", detail=str(error))
    except TwilioRestException as error:
        kind = kind_of(int(error.code or 0), int(error.status))
        return Answer(kind=kind, code=str(error.code or error.status), detail=_sentence(error))
    except (TwilioException, ValueError) as error:
        return Answer(kind=AnswerClass.ACCOUNT_REFUSED, code="answer", detail=_sentence(error))
    if account.status != "active":
        return Answer(
            kind=AnswerClass.ACCOUNT_REFUSED,
            code=without_addresses(str(account.status)),
            detail="The Twilio account is not active.",
        )
    return Answer(kind=AnswerClass.ACCEPTED, code="200", detail="The Twilio account is active.")


def is_signed_by_twilio(
    config: TwilioConfig, url: str, parameters: Mapping[str, str], signature: str
) -> bool:
    """Whether `X-Twilio-Signature` is right for a form that Twilio posted to `url`.

    `url`: as configured at Twilio, query included; never built from the Host header. It holds no
    time, so a repeat is told by message id and status alone.
    """
    validator = RequestValidator(config.auth_token.strip())
    return bool(validator.validate(url, dict(parameters), signature))


def _sentence(error: Exception) -> str:
    words = error.msg if isinstance(error, TwilioRestException) else str(error)
    return without_numbers(without_addresses(words))

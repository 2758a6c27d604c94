"""Twilio's API as far as a sender of text messages meets it: Messages and the account."""

from __future__ import annotations

import base64
import binascii
import re
import secrets
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from email.utils import format_datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

import orjson

from domain.sms import segments
from simulator.faults import Fault, FaultBoard, Provider
from simulator.http_faults import HttpFaults
from simulator.http_protocol import Head, Reply
from simulator.mailbox import Line, Mailbox, Rendered, utc_now
from simulator.rate import RateLimit
from simulator.twilio_rules import (
    FAILED,
    NO_METHOD,
    NOT_FOUND,
    TOO_LARGE,
    TOO_MANY,
    WRONG_CREDENTIALS,
    Problem,
    first,
    problem_of,
    refused_number,
)

MAX_BODY_BYTES = 256 * 1024
KEPT_MESSAGES = 10_000
"""That look-ups can find."""
SUBJECT_CHARACTERS = 60
JSON_HEADER = ("Content-Type", "application/json")
_PATH = re.compile(r"/2010-04-01/Accounts/(AC[0-9a-fA-F]{32})(/Messages)?\.json")

Form = dict[str, list[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class TextMessage:
    """One message that was accepted, as Twilio keeps it."""

    account_sid: str
    sid: str
    form: Form
    created: datetime

    @property
    def to(self) -> str:
        return first(self.form, "To")

    @property
    def body(self) -> str:
        return first(self.form, "Body")

    @property
    def reference(self) -> str:
        """The sender's own, from the query of its status callback."""
        query = parse_qs(urlsplit(first(self.form, "StatusCallback")).query)
        return first(query, "mid")

    def line(self) -> Line:
        """The journal's line."""
        return Line(
            at=utc_now(),
            provider=Provider.TWILIO.value,
            account=self.account_sid[-8:],
            message_id=self.reference,
            to=self.to,
            request_id=self.sid,
            subject=self.body.partition("\n")[0][:SUBJECT_CHARACTERS],
            size=len(self.body.encode()),
        )

    def rendered(self, _index: int) -> Rendered:
        """What the phone shows, with the form's fields as headers."""
        headers = [(name, value) for name, values in self.form.items() for value in values]
        headers.append(("segments", str(segments(self.body))))
        return Rendered(
            headers=[pair for pair in headers if pair[0] != "Body"],
            text=self.body,
            html="",
            attachments=self.form.get("MediaUrl", []),
        )

    def resource(self) -> dict[str, Any]:
        """The Message resource."""
        at = format_datetime(self.created)
        service = first(self.form, "MessagingServiceSid") or None
        uri = f"/2010-04-01/Accounts/{self.account_sid}/Messages/{self.sid}"
        return {
            "account_sid": self.account_sid,
            "api_version": "2010-04-01",
            "body": self.body,
            "date_created": at,
            "date_sent": at,
            "date_updated": at,
            "direction": "outbound-api",
            "error_code": None,
            "error_message": None,
            "from": first(self.form, "From") or None,
            "messaging_service_sid": service,
            "num_media": str(len(self.form.get("MediaUrl", []))),
            "num_segments": "0" if service else str(segments(self.body)),
            "price": None,
            "price_unit": "USD",
            "sid": self.sid,
            "status": "accepted" if service else "queued",
            "subresource_uris": {"media": f"{uri}/Media.json"},
            "to": self.to,
            "uri": f"{uri}.json",
        }


class TwilioEndpoint:
    """Answers the requests of one port; one instance for all connections."""

    max_body_bytes = MAX_BODY_BYTES

    def __init__(self, mailbox: Mailbox, board: FaultBoard, messages_per_second: int = 0) -> None:
        """`messages_per_second`: for all accounts together; 0: no limit."""
        self._faults = HttpFaults(Provider.TWILIO, mailbox, board)
        self._messages_per_second = messages_per_second
        self._rate = RateLimit()
        self._kept: deque[TextMessage] = deque(maxlen=KEPT_MESSAGES)

    def arrived(self, head: Head) -> Reply | None:
        """Count a message's request; a reset strikes before its body is read."""
        return self._faults.arrived(head) if head.method == "POST" else None

    def completed(self, head: Head, body: bytes | None) -> Reply:
        """The answer to a request whose body is read (None: it was too large)."""
        path = _PATH.fullmatch(head.path)
        if path is None:
            return _refusal(NOT_FOUND)
        account, collection = path.groups()
        if not _is_authorised(head, account) or self._faults.is_revoked(head.faults):
            return self._faults.finished(head.faults, _refusal(WRONG_CREDENTIALS))
        match head.method, collection:
            case "GET", None:
                return _json(200, {"sid": account, "status": "active", "type": "Full"})
            case "GET", _:
                return self._list(account, parse_qs(head.query))
            case "POST", "/Messages":
                return self._faults.finished(head.faults, self._create(head, account, body))
            case _:
                return _refusal(NO_METHOD)

    def _create(self, head: Head, account: str, body: bytes | None) -> Reply:
        """Rate, failures of the provider, form, number: in this order."""
        limit = self._messages_per_second
        if limit and not self._rate.take(limit).is_allowed:
            return _refusal(TOO_MANY, retry_after=1)
        rule = self._faults.over_rate(head.faults)
        if rule:
            seconds = 1 if rule.retry_after is None else rule.retry_after
            return _refusal(TOO_MANY, retry_after=seconds)
        failure = self._faults.failing(head.faults)
        if failure:
            return _failure(failure)
        if body is None:
            return _refusal(TOO_LARGE)
        form = parse_qs(body.decode("utf-8", "replace"), keep_blank_values=True)
        problem = problem_of(form)
        if problem is None and self._faults.refuses(head.faults, first(form, "To")):
            problem = refused_number(first(form, "To"))
        return _refusal(problem) if problem else self._accept(head, account, form)

    def _accept(self, head: Head, account: str, form: Form) -> Reply:
        faults = self._faults.delivered(head.faults)
        failure = self._faults.failing(faults)
        if failure:
            return _failure(failure)
        message = TextMessage(
            account_sid=account,
            sid=("MM" if form.get("MediaUrl") else "SM") + secrets.token_hex(16),
            form=form,
            created=datetime.now(UTC).replace(microsecond=0),
        )
        self._kept.append(message)
        said = self._faults.accept(message.line(), message, faults, _json(201, message.resource()))
        return _failure(said) if isinstance(said, Fault) else said

    def _list(self, account: str, query: Form) -> Reply:
        """The newest first, by `To`, `DateSent`, `DateSent>` and `DateSent<`; one page."""
        try:
            found = [message.resource() for message in self._matching(account, query)]
        except ValueError:
            return _refusal(Problem(400, 20001, "Invalid date"))
        size = int(first(query, "PageSize")) if first(query, "PageSize").isdigit() else 50
        page = {"messages": found[:size], "page": 0, "page_size": size, "next_page_uri": None}
        return _json(200, page)

    def _matching(self, account: str, query: Form) -> Iterator[TextMessage]:
        to = first(query, "To")
        since, until = _day(query, "DateSent>"), _day(query, "DateSent<")
        on = _day(query, "DateSent")
        for message in reversed(self._kept):
            day = message.created.date()
            is_in_time = (on or day) == day and (since or day) <= day <= (until or day)
            if is_in_time and message.account_sid == account and to in ("", message.to):
                yield message


def _day(query: Form, name: str) -> date | None:
    given = first(query, name)
    return date.fromisoformat(given[:10]) if given else None


def _is_authorised(head: Head, account: str) -> bool:
    scheme, _, encoded = head.headers.get(b"authorization", b"").partition(b" ")
    try:
        user, _, token = base64.b64decode(encoded, validate=True).partition(b":")
    except binascii.Error:
        return False
    return scheme.lower() == b"basic" and user.decode("latin-1") == account and bool(token)


def _failure(rule: Fault) -> Reply:
    """The answer of a `status` fault, with the body that Twilio would give."""
    status = rule.status or 500
    problem = (TOO_MANY if status == 429 else FAILED)._replace(status=status)
    reply = _refusal(problem, retry_after=rule.retry_after)
    return reply if rule.body is None else Reply(status, rule.body.encode(), reply.headers)


def _refusal(problem: Problem, *, retry_after: int | None = None) -> Reply:
    headers: tuple[tuple[str, str], ...] = (JSON_HEADER,)
    if retry_after is not None:
        headers += (("Retry-After", str(retry_after)),)
    return Reply(problem.status, problem.body(), headers)


def _json(status: int, value: object) -> Reply:
    return Reply(status, orjson.dumps(value), (JSON_HEADER,))

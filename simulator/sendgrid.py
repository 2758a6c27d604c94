"""SendGrid's v3 API as far as a sender meets it: mail/send and scopes."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import replace

import orjson

from simulator.ending import Ending
from simulator.faults import (
    Fault,
    FaultBoard,
    FaultKind,
    Provider,
    StandingFault,
    first_effect,
)
from simulator.http_protocol import Head, Reply
from simulator.mailbox import Mailbox, utc_now
from simulator.rate import RateLimit, Standing, exhausted
from simulator.sendgrid_merge import Acceptance, MergedRequest
from simulator.sendgrid_rules import Problem, Validation, errors_body

MAIL_SEND = "/v3/mail/send"
SCOPES = "/v3/scopes"
MAX_BODY_BYTES = 30 * 1024 * 1024
JSON_HEADER = ("Content-Type", "application/json")
SCOPES_BODY = orjson.dumps(
    {"scopes": ["mail.send", "mail.batch.create", "user.scheduled_sends.read"]}
)

WRONG_KEY = Problem("The provided authorization grant is invalid, expired, or revoked")
NO_KEY = Problem("Permission denied, wrong credentials")
TOO_MANY = Problem("too many requests")
NOT_JSON = Problem("Bad Request")
NOT_JSON_TYPE = Problem("Content-Type should be application/json.")
TOO_LARGE = Problem("Request entity too large: the total message size may not exceed 30 MB")
NO_METHOD = Problem("method not allowed")
NO_ROUTE = Problem("not found")


class SendGridEndpoint:
    """Answers the requests of one port; one instance for all connections."""

    max_body_bytes = MAX_BODY_BYTES

    def __init__(self, mailbox: Mailbox, board: FaultBoard, requests_per_second: int = 0) -> None:
        """`requests_per_second`: of mail/send, for all keys together; 0: no limit."""
        self._mailbox = mailbox
        self._board = board
        self._requests_per_second = requests_per_second
        self._rate = RateLimit()
        self._fault_rate = RateLimit()
        self._routes: dict[str, tuple[str, Callable[[Head, bytes | None], Reply]]] = {
            MAIL_SEND: ("POST", self._mail_send),
            SCOPES: ("GET", self._scopes),
        }

    def arrived(self, head: Head) -> Reply | None:
        """Count a mail/send; a reset strikes before its body is read."""
        if head.path != MAIL_SEND or head.method != "POST":
            return None
        self._mailbox.counts.requests += 1
        head.faults = self._board.arrived(Provider.SENDGRID)
        if first_effect(head.faults, FaultKind.RESET):
            self._mailbox.counts.refused += 1
            return Reply(0, ending=Ending.RESET)
        return None

    def completed(self, head: Head, body: bytes | None) -> Reply:
        """The answer to a request whose body is read (None: it was too large)."""
        method, answer = self._routes.get(head.path, ("", None))
        if answer is None:
            return _refusal(404, NO_ROUTE)
        if head.method != method:
            return _refusal(405, NO_METHOD, headers=(("Allow", method),))
        return answer(head, body)

    def _scopes(self, head: Head, _body: bytes | None) -> Reply:
        return self._wrong_key(head) or Reply(200, SCOPES_BODY, (JSON_HEADER,))

    def _mail_send(self, head: Head, body: bytes | None) -> Reply:
        late = first_effect(head.faults, FaultKind.LATENCY)
        reply = self._refused_by_head(head, body) or self._take(head, body or b"")
        if reply.status >= 400 or reply.ending is Ending.RESET:
            self._mailbox.counts.refused += 1
        if late is not None:
            return replace(reply, delay_seconds=late.seconds or 0)
        return reply

    def _refused_by_head(self, head: Head, body: bytes | None) -> Reply | None:
        """Key, rate, failures of the provider, form of the body: in SendGrid's order."""
        return (
            self._wrong_key(head)
            or self._over_rate(head)
            or self._failing(head.faults)
            or (_refusal(413, TOO_LARGE) if body is None else None)
            or (_refusal(415, NOT_JSON_TYPE) if not _is_json(head) else None)
        )

    def _wrong_key(self, head: Head) -> Reply | None:
        scheme, _, key = head.headers.get(b"authorization", b"").partition(b" ")
        if scheme.lower() != b"bearer" or not key:
            return _refusal(401, NO_KEY)
        revoked = self._board.is_revoked(Provider.SENDGRID)
        if revoked:
            first_effect(head.faults, FaultKind.REVOKE_KEY)
        if revoked or not key.startswith(b"SG."):
            return _refusal(401, WRONG_KEY)
        return None

    def _over_rate(self, head: Head) -> Reply | None:
        if self._requests_per_second:
            standing = self._rate.take(self._requests_per_second)
            if not standing.is_allowed:
                return _too_many(standing)
        for fault in head.faults:
            if fault.rule.kind is not FaultKind.RATE_LIMIT or fault.rule.per_second is None:
                continue
            standing = self._fault_rate.take(fault.rule.per_second)
            if not standing.is_allowed and fault.fire():
                return _too_many(standing, fault.rule.retry_after)
        return None

    def _failing(self, faults: Sequence[StandingFault]) -> Reply | None:
        """An error that says nothing of the message, unless it is a lie about an acceptance."""
        honest = [fault for fault in faults if not fault.rule.accept]
        rule = first_effect(honest, FaultKind.STATUS)
        return _status_reply(rule) if rule else None

    def _take(self, head: Head, body: bytes) -> Reply:
        try:
            payload = orjson.loads(body)
        except orjson.JSONDecodeError:
            return _refusal(400, NOT_JSON)
        refused = self._refused_addresses(head.faults)
        validation = Validation(payload, frozenset(refused))
        if validation.problems:
            self._note_refusals(validation, refused)
            return _refusal(400, *validation.problems)
        if _is_sandboxed(payload):
            return Reply(200)
        faults = head.faults + self._board.delivered(Provider.SENDGRID, validation.recipients)
        # A key may be revoked by the very request that holds the n-th message.
        failure = self._wrong_key(head) or self._failing(faults)
        if failure or first_effect(faults, FaultKind.RESET):
            return failure or Reply(0, ending=Ending.RESET)
        return self._accept(head, payload, faults)

    def _accept(
        self, head: Head, payload: dict[str, object], faults: Sequence[StandingFault]
    ) -> Reply:
        """Write the journal first, then answer or do what a fault does in place of the answer."""
        acceptance = Acceptance(
            at=utc_now(), account=_account(head), request_id=secrets.token_urlsafe(16)
        )
        request = MergedRequest(payload, acceptance)
        self._mailbox.accept(Provider.SENDGRID.value, request.lines, request)
        late = first_effect([fault for fault in faults if fault.rule.at_message], FaultKind.LATENCY)
        delay_seconds = (late.seconds or 0) if late else 0
        if first_effect(faults, FaultKind.ACCEPT_THEN_CLOSE):
            return Reply(0, ending=Ending.CLOSE)
        if first_effect(faults, FaultKind.ACCEPT_THEN_HANG):
            return Reply(0, ending=Ending.HANG)
        lie = first_effect(faults, FaultKind.STATUS)
        if lie:
            return replace(_status_reply(lie), delay_seconds=delay_seconds)
        return Reply(202, b"", self._accepted_headers(acceptance), delay_seconds)

    def _accepted_headers(self, acceptance: Acceptance) -> tuple[tuple[str, str], ...]:
        named = (("X-Message-Id", acceptance.request_id),)
        if self._requests_per_second:
            return named + _rate_headers(self._rate.standing(self._requests_per_second))
        return named

    def _refused_addresses(self, faults: Sequence[StandingFault]) -> dict[str, StandingFault]:
        return {
            address.lower(): fault
            for fault in faults
            if fault.rule.kind is FaultKind.REFUSE_ADDRESS and not fault.is_exhausted
            for address in fault.rule.match
        }

    def _note_refusals(self, validation: Validation, refused: dict[str, StandingFault]) -> None:
        """A refusing rule has taken effect once a request, however many of its addresses it hit."""
        for fault in {refused[address] for address in validation.refused if address in refused}:
            fault.fire()


def _status_reply(rule: Fault) -> Reply:
    """The answer of a `status` fault, with the body that SendGrid would give."""
    status = rule.status or 500
    headers: tuple[tuple[str, str], ...] = (JSON_HEADER,)
    if rule.retry_after is not None:
        headers += (("Retry-After", str(rule.retry_after)),)
    if status == 429:
        headers += _rate_headers(exhausted(rule.retry_after or 1))
    message = TOO_MANY if status == 429 else Problem("The SendGrid service is not available.")
    body = errors_body(message) if rule.body is None else rule.body.encode()
    return Reply(status, body, headers)


def _too_many(standing: Standing, retry_after: int | None = None) -> Reply:
    seconds = 1 if retry_after is None else retry_after
    return _refusal(
        429, TOO_MANY, headers=(*_rate_headers(standing), ("Retry-After", str(seconds)))
    )


def _rate_headers(standing: Standing) -> tuple[tuple[str, str], ...]:
    return (
        ("X-RateLimit-Limit", str(standing.limit)),
        ("X-RateLimit-Remaining", str(standing.remaining)),
        ("X-RateLimit-Reset", str(standing.reset)),
    )


def _refusal(status: int, *problems: Problem, headers: tuple[tuple[str, str], ...] = ()) -> Reply:
    return Reply(status, errors_body(*problems), (JSON_HEADER, *headers))


def _is_json(head: Head) -> bool:
    kind = head.headers.get(b"content-type", b"").partition(b";")[0]
    return kind.strip().lower() == b"application/json"


def _is_sandboxed(payload: dict[str, object]) -> bool:
    settings = payload.get("mail_settings")
    mode = settings.get("sandbox_mode") if isinstance(settings, dict) else None
    return isinstance(mode, dict) and mode.get("enable") is True


def _account(head: Head) -> str:
    """What the journal calls the account: 8 characters of the key's last part, never all of it."""
    key = head.headers.get(b"authorization", b"").decode("latin-1").partition(" ")[2]
    return key.strip().rpartition(".")[2][:8]

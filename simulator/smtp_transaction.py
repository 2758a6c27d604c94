"""One mail transaction of the SMTP stand-in: envelope rules, acceptance, and what faults make of it."""

from __future__ import annotations

import itertools
import re
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from simulator.addresses import is_refused, is_valid
from simulator.ending import Ending
from simulator.faults import (
    Fault,
    FaultBoard,
    FaultKind,
    Provider,
    Stage,
    StandingFault,
    first_effect,
)
from simulator.mailbox import Line, Mailbox, utc_now
from simulator.rate import RateLimit
from simulator.smtp_message import RawMessage, fault_of_form, named_by
from simulator.smtp_options import SmtpOptions

MAX_RECIPIENTS = 100
_PATH = re.compile(rb"(?i)(?:FROM|TO):[ ]?<([^<>]*)>((?: [^ ]+)*) *")


class Outcome(NamedTuple):
    """What the connection does after a message was read."""

    reply: str
    ending: Ending = Ending.ANSWER
    delay_seconds: float = 0


class Path(NamedTuple):
    """What stands between <> in MAIL FROM or RCPT TO, and its parameters in upper case."""

    address: str
    parameters: dict[str, str]


@dataclass(slots=True)
class Transaction:
    """From MAIL FROM to the final dot."""

    sender: str
    takes_utf8: bool = False
    recipients: list[str] = field(default_factory=list)
    faults: tuple[StandingFault, ...] = ()
    """Of the DATA command."""
    is_too_large: bool = False


class Exchange:
    """What all connections share: the mailbox, the faults, the queue's names."""

    def __init__(self, mailbox: Mailbox, board: FaultBoard, options: SmtpOptions) -> None:
        self.mailbox = mailbox
        self.board = board
        self.options = options
        self._rate = RateLimit()
        # Names stay unique over restarts because they begin with the time of the start.
        self._queue_ids = (f"{int(time.time()):X}{number:07X}" for number in itertools.count(1))

    def refusal(self, faults: Sequence[StandingFault]) -> str:
        """The error that a status or rate rule wants here; empty when none does."""
        rule = first_effect([fault for fault in faults if not fault.rule.accept], FaultKind.STATUS)
        if rule is not None:
            return status_line(rule)
        for fault in faults:
            limit = fault.rule.per_second
            if fault.rule.kind is not FaultKind.RATE_LIMIT or limit is None:
                continue
            if not self._rate.take(limit).is_allowed and fault.fire():
                return f"451 {fault.rule.text or '4.7.1 too many messages, slow down'}"
        return ""

    def begin(self, path: Path | None, *, is_named: bool) -> Transaction | str:
        """The transaction of a MAIL command, or the line that refuses it."""
        faults = self.board.arrived(Provider.SMTP, Stage.MAIL)
        if self.board.is_revoked(Provider.SMTP):
            first_effect(faults, FaultKind.REVOKE_KEY)
            return "530 5.7.0 authentication required"
        if self.options.is_auth_required and not is_named:
            return "530 5.7.0 authentication required"
        refusal = self.refusal(faults)
        if refusal:
            return refusal
        if path is None:
            return "501 5.5.4 syntax: MAIL FROM:<address>"
        problem = self._wrong_parameters(path.parameters)
        if problem:
            return problem
        takes_utf8 = "SMTPUTF8" in path.parameters
        if path.address and not _is_mailbox(path.address, takes_utf8=takes_utf8):
            return "501 5.1.7 bad sender address syntax"
        return Transaction(path.address, takes_utf8)

    def add_recipient(self, transaction: Transaction, path: Path | None) -> str:
        """The answer to a RCPT command."""
        faults = self.board.arrived(Provider.SMTP, Stage.RCPT)
        refusal = self.refusal(faults)
        if refusal:
            return refusal
        if path is None:
            return "501 5.5.4 syntax: RCPT TO:<address>"
        if path.parameters:
            return "555 5.5.4 unsupported parameter"
        if not _is_mailbox(path.address, takes_utf8=transaction.takes_utf8):
            return "501 5.1.3 bad recipient address syntax"
        if _is_unknown(path.address, faults):
            return "550 5.1.1 recipient address rejected: user unknown"
        if len(transaction.recipients) >= MAX_RECIPIENTS:
            return "452 4.5.3 too many recipients"
        transaction.recipients.append(path.address)
        return "250 2.1.5 Ok"

    def finish(self, transaction: Transaction, body: bytes, account: str) -> Outcome:
        """Journal the message and tell its answer, or what a fault puts in the answer's place."""
        problem = self._problem_of(transaction, body)
        if problem:
            return self._refused(transaction, problem)
        count = len(transaction.recipients)
        faults = transaction.faults + self.board.delivered(Provider.SMTP, count)
        refusal = self.refusal(faults)
        if refusal:
            return self._refused(transaction, refusal)
        if first_effect(faults, FaultKind.RESET):
            self.mailbox.counts.refused += 1
            return Outcome("", Ending.RESET)
        queue_id = next(self._queue_ids)
        self._journal(transaction, body, account, queue_id)
        return _outcome(faults, f"250 2.0.0 Ok: queued as {queue_id}")

    def _journal(self, transaction: Transaction, body: bytes, account: str, queue_id: str) -> None:
        message = _unstuffed(body)
        head_end = message.find(b"\r\n\r\n")
        named = named_by(message[: head_end + 2] if head_end >= 0 else message)
        at, size = utc_now(), len(message)
        lines: list[Line] = [
            {
                "at": at,
                "provider": Provider.SMTP.value,
                "account": account,
                "message_id": named.reference,
                "to": address,
                "request_id": queue_id,
                "subject": named.subject,
                "size": size,
            }
            for address in transaction.recipients
        ]
        source = RawMessage(message, transaction.sender, transaction.recipients)
        self.mailbox.accept(Provider.SMTP.value, lines, source)

    def _problem_of(self, transaction: Transaction, body: bytes) -> str:
        if transaction.is_too_large or len(body) > self.options.size_bytes:
            return "552 5.3.4 message size exceeds the limit"
        return fault_of_form(body, takes_8bit=self.options.offers_8bitmime)

    def _refused(self, transaction: Transaction, reply: str) -> Outcome:
        self.mailbox.counts.refused += 1
        return Outcome(reply, delay_seconds=_latency_seconds(transaction.faults))

    def _wrong_parameters(self, parameters: dict[str, str]) -> str:
        known = {"SIZE", "SMTPUTF8", "AUTH"} | ({"BODY"} if self.options.offers_8bitmime else set())
        size = parameters.get("SIZE", "0")
        if not known.issuperset(parameters):
            return "555 5.5.4 unsupported parameter"
        if not size.isdecimal() or parameters.get("BODY", "7BIT").upper() not in {
            "7BIT",
            "8BITMIME",
        }:
            return "501 5.5.4 bad parameter"
        if int(size) > self.options.size_bytes:
            return "552 5.3.4 message size exceeds the limit"
        return ""


def parse_path(argument: bytes) -> Path | None:
    """The path of a MAIL or RCPT command; None when it is malformed."""
    found = _PATH.fullmatch(argument)
    if found is None:
        return None
    address, words = (part.decode("utf-8", "replace") for part in found.groups())
    pairs = (word.partition("=") for word in words.split())
    return Path(address, {name.upper(): value for name, _, value in pairs})


def status_line(rule: Fault) -> str:
    """The reply of a status rule; the enhanced code has the status's class."""
    status = rule.status or 451
    return f"{status} {rule.text or f'{status // 100}.3.0 refused by a fault rule'}"


def _outcome(faults: Sequence[StandingFault], accepted: str) -> Outcome:
    """After the message is in the journal."""
    if first_effect(faults, FaultKind.ACCEPT_THEN_CLOSE):
        return Outcome("", Ending.CLOSE)
    if first_effect(faults, FaultKind.ACCEPT_THEN_HANG):
        return Outcome("", Ending.HANG)
    lie = first_effect(faults, FaultKind.STATUS)
    reply = status_line(lie) if lie else accepted
    return Outcome(reply, delay_seconds=_latency_seconds(faults))


def _latency_seconds(faults: Sequence[StandingFault]) -> float:
    rule = first_effect(faults, FaultKind.LATENCY)
    return (rule.seconds or 0) if rule else 0


def _unstuffed(body: bytes) -> bytes:
    """RFC 5321 §4.5.2: the first dot of a line that begins with one is not part of it."""
    if body.startswith(b"."):
        body = body[1:]
    return body.replace(b"\r\n.", b"\r\n") if b"\r\n." in body else body


def _is_mailbox(address: str, *, takes_utf8: bool) -> bool:
    if takes_utf8 and not address.isascii():
        local, at, domain = address.rpartition("@")
        return bool(local and at and domain) and address.isprintable() and " " not in address
    return is_valid(address)


def _is_unknown(address: str, faults: Iterable[StandingFault]) -> bool:
    if is_refused(address, frozenset()):
        return True
    return any(
        fault.rule.kind is FaultKind.REFUSE_ADDRESS
        and address.lower() in {match.lower() for match in fault.rule.match}
        and fault.fire()
        for fault in faults
    )

"""What faults do to the single messages of an HTTP stand-in, in the order in which they strike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

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
from simulator.mailbox import Line, Mailbox, Source
from simulator.rate import RateLimit


class HttpFaults:
    """The faults of one provider, and the counts of its requests."""

    def __init__(self, provider: Provider, mailbox: Mailbox, board: FaultBoard) -> None:
        self._provider = provider
        self._mailbox = mailbox
        self._board = board
        self._rate = RateLimit()

    def arrived(self, head: Head) -> Reply | None:
        """Count a message's request; a reset strikes before its body is read."""
        self._mailbox.counts.requests += 1
        head.faults = self._board.arrived(self._provider)
        if first_effect(head.faults, FaultKind.RESET):
            self._mailbox.counts.refused += 1
            return Reply(0, ending=Ending.RESET)
        return None

    def is_revoked(self, faults: Sequence[StandingFault]) -> bool:
        """Whether the account's key does not count any more."""
        revoked = self._board.is_revoked(self._provider)
        if revoked:
            first_effect(faults, FaultKind.REVOKE_KEY)
        return revoked

    def over_rate(self, faults: Sequence[StandingFault]) -> Fault | None:
        """The `rate_limit` rule that this request is too many for."""
        for fault in faults:
            if fault.rule.kind is not FaultKind.RATE_LIMIT or fault.rule.per_second is None:
                continue
            if not self._rate.take(fault.rule.per_second).is_allowed and fault.fire():
                return fault.rule
        return None

    def failing(self, faults: Sequence[StandingFault]) -> Fault | None:
        """The `status` rule that answers in place of the provider, and does not lie."""
        return first_effect([f for f in faults if not f.rule.accept], FaultKind.STATUS)

    def refuses(self, faults: Sequence[StandingFault], address: str) -> bool:
        """Whether a `refuse_address` rule names the address."""
        return any(
            fault.fire()
            for fault in faults
            if fault.rule.kind is FaultKind.REFUSE_ADDRESS and address in fault.rule.match
        )

    def delivered(self, faults: Sequence[StandingFault]) -> tuple[StandingFault, ...]:
        """`faults`, and those that the message, now known to be valid, meets by its number."""
        return (*faults, *self._board.delivered(self._provider, 1))

    def accept(
        self, line: Line, source: Source, faults: Sequence[StandingFault], reply: Reply
    ) -> Reply | Fault:
        """Write the journal first, then `reply`, or what a fault does in its place.

        A Fault is a `status` that lies: the caller says it in the provider's words.
        """
        self._mailbox.accept(self._provider.value, [line], source)
        if first_effect(faults, FaultKind.ACCEPT_THEN_CLOSE):
            return Reply(0, ending=Ending.CLOSE)
        if first_effect(faults, FaultKind.ACCEPT_THEN_HANG):
            return Reply(0, ending=Ending.HANG)
        return first_effect(faults, FaultKind.STATUS) or reply

    def finished(self, faults: Sequence[StandingFault], reply: Reply) -> Reply:
        """The reply, counted if it refuses, late if a `latency` rule says so."""
        if reply.status >= 400 or reply.ending is Ending.RESET:
            self._mailbox.counts.refused += 1
        late = first_effect(faults, FaultKind.LATENCY)
        return replace(reply, delay_seconds=late.seconds or 0) if late else reply

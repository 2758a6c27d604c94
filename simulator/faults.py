"""Faults on demand: which requests meet one is decided here, deterministically, in arrival order."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, model_validator


class Provider(StrEnum):
    """Whose endpoint a rule or a message belongs to."""

    SENDGRID = "sendgrid"
    SMTP = "smtp"
    TWILIO = "twilio"
    WEBHOOK = "webhook"


class FaultKind(StrEnum):
    """What goes wrong."""

    STATUS = "status"
    """An error answer; nothing is accepted unless the rule says `accept`."""
    LATENCY = "latency"
    """Accepted and logged on arrival; the answer comes late."""
    ACCEPT_THEN_CLOSE = "accept_then_close"
    ACCEPT_THEN_HANG = "accept_then_hang"
    RESET = "reset"
    """The connection is reset before the message is read; nothing is accepted."""
    REFUSE_ADDRESS = "refuse_address"
    RATE_LIMIT = "rate_limit"
    REVOKE_KEY = "revoke_key"
    """From its first request on until the rule is deleted."""


class Stage(StrEnum):
    """Where in an SMTP dialogue a rule counts and acts; an HTTP request is all DATA."""

    BANNER = "banner"
    MAIL = "mail"
    RCPT = "rcpt"
    DATA = "data"


DEFAULT_STAGES = {
    FaultKind.REFUSE_ADDRESS: Stage.RCPT,
    FaultKind.RATE_LIMIT: Stage.MAIL,
    FaultKind.REVOKE_KEY: Stage.MAIL,
}
ACCEPTING_KINDS = (FaultKind.LATENCY, FaultKind.ACCEPT_THEN_CLOSE, FaultKind.ACCEPT_THEN_HANG)
NEEDED_FIELDS = {
    FaultKind.STATUS: "status",
    FaultKind.LATENCY: "seconds",
    FaultKind.REFUSE_ADDRESS: "match",
    FaultKind.RATE_LIMIT: "per_second",
}


def _as_list(value: object) -> object:
    return value if isinstance(value, list | tuple | None) else [value]


class Fault(BaseModel):
    """One rule. Without probability, at_request and at_message it meets every request."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    provider: Provider
    kind: FaultKind
    probability: float | None = Field(None, ge=0, le=1)
    at_request: Annotated[tuple[int, ...], BeforeValidator(_as_list)] = ()
    """1-based, counted from when the rule was set."""
    at_message: int | None = Field(None, ge=1)
    """The request that holds the n-th valid message since the rule was set."""
    for_requests: int | None = Field(None, ge=1)
    """How many requests in a row a hit lasts."""
    times: int | None = Field(None, ge=1)
    """It takes effect at most so often."""
    seed: int = 0
    status: int | None = Field(None, ge=400, le=599)
    retry_after: int | None = Field(None, ge=0)
    """Seconds."""
    body: str | None = None
    accept: bool = False
    """A `status` that lies: the messages are accepted and logged all the same."""
    seconds: float | None = Field(None, ge=0)
    match: Annotated[tuple[str, ...], BeforeValidator(_as_list)] = ()
    per_second: int | None = Field(None, ge=1)
    stage: Stage | None = None
    """SMTP only."""
    text: str | None = None
    """SMTP: what follows the code, an enhanced code included."""

    @model_validator(mode="after")
    def _is_complete(self) -> Self:
        needed = NEEDED_FIELDS.get(self.kind)
        if needed and getattr(self, needed) in (None, ()):
            raise ValueError(f"a fault of kind {self.kind} needs {needed!r}")
        triggers = (
            self.probability is not None,
            bool(self.at_request),
            self.at_message is not None,
        )
        if sum(triggers) > 1:
            raise ValueError("give one of probability, at_request and at_message")
        if self.stage not in (None, Stage.DATA) and (
            self.provider is not Provider.SMTP or self.kind in ACCEPTING_KINDS
        ):
            raise ValueError(f"no stage but data for {self.provider} and {self.kind}")
        if self.text and not self.text.isprintable():
            raise ValueError("text is one printable line")
        return self

    @property
    def counted_at(self) -> Stage:
        """The stage whose events the rule counts."""
        if self.provider is not Provider.SMTP:
            return Stage.DATA
        return self.stage or DEFAULT_STAGES.get(self.kind, Stage.DATA)


FAULT_LIST = TypeAdapter(list[Fault])


class StandingFault:
    """A rule with its counters."""

    def __init__(self, rule: Fault) -> None:
        self.rule = rule
        self.requests = 0
        self.messages = 0
        self.fired = 0
        self.has_begun = not (rule.at_request or rule.at_message or rule.probability is not None)
        self._open_requests = 0
        # Not for secrets: a seeded sequence makes a run repeatable.
        self._random = random.Random(rule.seed)  # noqa: S311

    def count_request(self) -> bool:
        """Count one request; True when it meets the rule. Draws on every call, whatever comes of it."""
        self.requests += 1
        if self._begins():
            self._open_requests = self.rule.for_requests or 1
            self.has_begun = True
        if self.rule.kind is FaultKind.REVOKE_KEY:
            return self.has_begun
        self._open_requests -= 1
        return self._open_requests >= 0 and not self.is_exhausted

    def count_messages(self, count: int) -> bool:
        """Count the valid messages of the request in hand; True when `at_message` is among them."""
        if self.rule.at_message is None:
            return False
        before, self.messages = self.messages, self.messages + count
        if not before < self.rule.at_message <= self.messages or self.is_exhausted:
            return False
        self._open_requests = (self.rule.for_requests or 1) - 1
        self.has_begun = True
        return True

    @property
    def is_exhausted(self) -> bool:
        return self.rule.times is not None and self.fired >= self.rule.times

    def fire(self) -> bool:
        """Note that the rule takes effect; False when it has done so often enough."""
        if self.is_exhausted:
            return False
        self.fired += 1
        return True

    def _begins(self) -> bool:
        rule = self.rule
        if rule.probability is not None:
            return self._random.random() < rule.probability
        if rule.at_request:
            return self.requests in rule.at_request
        if rule.at_message is not None:
            return False
        return rule.for_requests is None or self.requests == 1


class FaultBoard:
    """The rules that stand now."""

    def __init__(self, rules: Iterable[Fault] = ()) -> None:
        self.standing: tuple[StandingFault, ...] = ()
        self.replace(rules)

    def replace(self, rules: Iterable[Fault]) -> None:
        """Put these rules in place of all others; every count starts anew."""
        self.standing = tuple(StandingFault(rule) for rule in rules)

    def arrived(self, provider: Provider, stage: Stage = Stage.DATA) -> tuple[StandingFault, ...]:
        """Count one request (or command of that stage) and tell which rules it meets."""
        if not self.standing:
            return ()
        return tuple(
            fault
            for fault in self.standing
            if fault.rule.provider is provider
            and fault.rule.counted_at is stage
            and fault.count_request()
        )

    def delivered(self, provider: Provider, count: int) -> tuple[StandingFault, ...]:
        """Count the messages of a valid request and tell which `at_message` rules it meets."""
        if not self.standing:
            return ()
        return tuple(
            fault
            for fault in self.standing
            if fault.rule.provider is provider and fault.count_messages(count)
        )

    def is_revoked(self, provider: Provider) -> bool:
        """Whether a `revoke_key` rule has begun; counts nothing."""
        return any(
            fault.has_begun
            for fault in self.standing
            if fault.rule.kind is FaultKind.REVOKE_KEY and fault.rule.provider is provider
        )


def first_effect(faults: Sequence[StandingFault], kind: FaultKind) -> Fault | None:
    """The first rule of that kind that takes effect now; its count moves."""
    for fault in faults:
        if fault.rule.kind is kind and fault.fire():
            return fault.rule
    return None


def read_faults(path: Path) -> list[Fault]:
    """The rules of a JSON file. Raises OSError or pydantic.ValidationError."""
    return FAULT_LIST.validate_json(path.read_bytes())

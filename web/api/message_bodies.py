"""The bodies of messages: what is asked for, and what is answered."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from domain.identifier import SEND_PREFIX, message_id, public_id
from domain.outcome import Outcome
from domain.send import MessageClass, OnUnknown
from models.message_list import ListedMessage
from models.request import NewRequest, Request
from models.trace import MessageTrace
from starter.trace import Trace
from starter.wish import MAX_RECIPIENTS, Wish, wish_of
from web.api.moment import Moment
from web.api.problem import ProblemAnswer

MAX_BULK = 1000

Name = Annotated[str, StringConstraints(min_length=1, max_length=500)]


class SendMessageRequest(BaseModel):
    """A message to be sent, to one or up to 1,000 recipients."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "template": "order-shipped",
                    "to": "customer-42",
                    "variables": {"order": "A-17"},
                }
            ]
        },
    )

    template: Annotated[str, StringConstraints(min_length=1, max_length=200)] = Field(
        description="KEY, which means its newest version now, or KEY@N."
    )
    to: Name | Annotated[list[Name], Field(min_length=1, max_length=MAX_RECIPIENTS)] = Field(
        description="External ids, or bare addresses: an e-mail address, +43…, https://…"
    )
    variables: dict[str, Any] = Field({}, description="For the template; up to 100 kB.")
    idempotency_key: Annotated[str, StringConstraints(pattern=r"^[ -~]{1,200}$")] | None = Field(
        None, description="Instead of the header."
    )
    message_class: MessageClass | None = Field(None, description="None: the template's.")
    priority: Annotated[str, StringConstraints(max_length=20)] = Field(
        "normal", description="critical, high, normal or low."
    )
    topic: Annotated[str, StringConstraints(min_length=1, max_length=200)] | None = None
    plan: Annotated[str, StringConstraints(min_length=1, max_length=500)] | None = Field(
        None, description="Channel plan, as in_app:read/1h,sms,email; none: the template's channel."
    )
    at: Moment | None = Field(None, description="Not before then.")
    local_at: Annotated[str, StringConstraints(max_length=30)] | None = Field(
        None, description="When it is that time where each recipient is: 2026-12-24T18:00."
    )
    expires_after: float | None = Field(
        None, gt=0, le=366 * 86400, description="Seconds in which it may be sent."
    )
    on_unknown: OnUnknown | None = Field(
        None, description="When a provider's answer is lost: send again, or leave it."
    )
    dry_run: bool = Field(False, description="Check all of it, and write nothing.")

    def wish(self, key: str | None, *, is_test: bool) -> Wish:
        """What the layers below call it. Raises RequestRefused, PlanRefused."""
        return wish_of(
            self.template,
            self.to,
            {
                "variables": self.variables,
                "idempotency_key": key,
                "message_class": self.message_class,
                "priority": self.priority,
                "topic": self.topic,
                "plan": self.plan or (),
                "at": self.at,
                "local_at": self.local_at,
                "expires_after": self.expires_after and timedelta(seconds=self.expires_after),
                "on_unknown": self.on_unknown,
                "is_test": is_test,
            },
        )


class BulkRequest(BaseModel):
    """Up to 1,000 requests, each taken or refused for itself."""

    model_config = ConfigDict(extra="forbid")

    messages: list[SendMessageRequest] = Field(min_length=1, max_length=MAX_BULK)


class CancelByKeyRequest(BaseModel):
    """Which send to cancel."""

    model_config = ConfigDict(extra="forbid")

    idempotency_key: Annotated[str, StringConstraints(min_length=1, max_length=200)]


class SentResponse(BaseModel):
    """A request that is committed: it will be sent, whatever fails."""

    id: str = Field(description="Of the send, snd_…")
    messages: list[str] = Field(description="Ids of its messages, msg_…, in the order of `to`.")

    @staticmethod
    def of(made: Request) -> SentResponse:
        """The same for the same request."""
        ids = [message_id(made.send_id, ordinal) for ordinal in range(1, made.messages + 1)]
        return SentResponse(id=made.public_id, messages=ids)


class DryRunResponse(BaseModel):
    """What would be sent. Nothing was written."""

    dry_run: bool = True
    name: str
    message_class: str
    priority: str
    channels: list[str]
    messages: int
    due_at: datetime | None

    @staticmethod
    def of(ready: NewRequest) -> DryRunResponse:
        """Of a checked request."""
        return DryRunResponse(
            name=ready.name,
            message_class=ready.message_class,
            priority=ready.priority.word,
            channels=[step.channel.value for step in ready.plan],
            messages=len(ready.recipients),
            due_at=ready.due_at,
        )


class BulkItem(BaseModel):
    """What became of one item: `sent` or `problem`."""

    index: int
    status: int
    sent: SentResponse | None = None
    problem: ProblemAnswer | None = None


class BulkResponse(BaseModel):
    """An answer per item, in their order."""

    accepted: int
    refused: int
    items: list[BulkItem]


class MessageResponse(BaseModel):
    """A message in a list."""

    id: str
    send: str
    created_at: datetime
    template: str
    recipient: str | None
    topic: str | None
    idempotency_key: str | None
    test: bool
    channel: str
    step: int
    outcome: str
    reason: str | None
    progress: str

    @staticmethod
    def of(line: ListedMessage) -> MessageResponse:
        """Of a row of the list."""
        return MessageResponse(
            id=message_id(line.send_id, line.ordinal),
            send=public_id(SEND_PREFIX, line.send_id),
            created_at=line.created_at,
            template=line.template,
            recipient=line.recipient,
            topic=line.topic,
            idempotency_key=line.idempotency_key,
            test=line.is_test,
            channel=line.channel,
            step=line.step,
            outcome=line.outcome.word,
            reason=line.reason.word if line.reason else None,
            progress=line.progress.word,
        )


class DeliveryResponse(BaseModel):
    """What came of a message on one step of its plan."""

    step: int
    outcome: str
    reason: str | None
    progress: str
    tries: int
    accepted_at: datetime | None


class TraceEntry(BaseModel):
    """One thing that happened."""

    at: datetime
    what: str
    text: str
    facts: dict[str, Any]


class MessageDetailResponse(BaseModel):
    """A message with what came of it, and why."""

    id: str
    send: str
    created_at: datetime
    template: str
    recipient: str
    address: str
    topic: str | None
    idempotency_key: str | None
    message_class: str
    deliveries: list[DeliveryResponse]
    trace: list[TraceEntry]
    verdict: dict[str, Any] = Field(description="What the rules would say now.")
    now: dict[str, Any] = Field(description="Where it waits, until when, and for what.")

    @staticmethod
    def of(found: MessageTrace, trace: Trace) -> MessageDetailResponse:
        """Of its rows and their story."""
        send = found.send
        return MessageDetailResponse(
            id=message_id(send.id, trace.ordinal),
            send=trace.send,
            created_at=send.created_at,
            template=send.template,
            recipient=trace.recipient,
            address=trace.address,
            topic=send.topic,
            idempotency_key=send.idempotency_key,
            message_class=send.message_class,
            deliveries=[
                DeliveryResponse(
                    step=row.step,
                    outcome=row.outcome.word,
                    reason=row.reason.word if row.reason else None,
                    progress=row.progress.word,
                    tries=row.tries,
                    accepted_at=row.accepted_at,
                )
                for row in found.deliveries
            ],
            trace=[
                TraceEntry(at=entry.at, what=entry.what, text=entry.text, facts=entry.facts)
                for entry in trace.entries
            ],
            verdict=trace.verdict,
            now=trace.now,
        )


class SendResponse(BaseModel):
    """A send of single messages, with how many of them stand where."""

    id: str
    state: str
    template: str
    priority: str
    messages: int
    counts: dict[str, int]
    due_at: datetime | None
    expires_at: datetime
    created_at: datetime
    closed_at: datetime | None


class CancelledResponse(BaseModel):
    """Whoever was not tried yet gets nothing."""

    id: str
    state: str


OUTCOMES = {outcome.word: outcome for outcome in Outcome}

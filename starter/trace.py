"""What became of a message, told in order of time; and a recipient's newest messages."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, assert_never

from sqlalchemy import Engine

from domain.eligibility import RULES, Defer, Facts, Skip, decide
from domain.eligibility import Send as MaySend
from domain.identifier import RECIPIENT_PREFIX, SEND_PREFIX, key_of, public_id
from domain.outcome import count_key
from domain.plan import plan_from_json
from domain.send import Priority, SendKind, SendState
from domain.standing import Becomes, Done, Owed, Policy, Waits, standing
from models.database import clock
from models.recipient_identity import find_recipient, identities
from models.request import UnknownSend
from models.team import default_team_id
from models.trace import (
    MessageLine,
    MessageTrace,
    TracedAttempt,
    TracedEvent,
    find_send,
    messages_of,
    messages_to,
    trace_message,
)
from settings import Settings
from workflows.contract import campaign_workflow_id, messages_workflow_id

MOST_LISTED = 50

_LETTERS = {
    "a": "accepted",
    "r": "rejected",
    "u": "the answer was lost",
    "x": "certainly not accepted; released",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One thing that happened."""

    at: datetime
    what: str
    text: str
    """One line for people."""
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """A message's trace as commands show it."""

    send: str
    ordinal: int
    recipient: str
    address: str
    entries: list[Entry]
    verdict: dict[str, Any]
    """What the rules would say now, each that applies with its facts."""
    now: dict[str, Any]
    """Where it waits, until when, and for what."""


def trace(engine: Engine, settings: Settings, send_id: int, ordinal: int) -> Trace:
    """What became of the message. Raises UnknownSend."""
    with engine.connect() as connection:
        team = default_team_id(connection)
        found = trace_message(connection, team, send_id, ordinal)
        now = clock(connection)
    return trace_of(found, settings, now)


def trace_of(found: MessageTrace, settings: Settings, now: datetime) -> Trace:
    """The same from the rows at hand, as of `now`."""
    send_id, ordinal = found.send.id, found.member.ordinal
    entries = [_requested(found), *_attempts(found), *_events(found)]
    return Trace(
        send=public_id(SEND_PREFIX, send_id),
        ordinal=ordinal,
        recipient=public_id(RECIPIENT_PREFIX, found.member.recipient_id),
        address=found.member.person.address,
        entries=sorted(entries, key=lambda entry: entry.at),
        verdict=_verdict(found.member.facts),
        now=_now(found, settings, now),
    )


def listed(engine: Engine, given: str) -> list[MessageLine]:
    """The messages of a send snd_…, or the newest ones of a recipient.

    Raises BadIdentifier, UnknownSend, UnknownRecipient.
    """
    with engine.connect() as connection:
        team = default_team_id(connection)
        if given.startswith(SEND_PREFIX):
            send = find_send(connection, team, key_of(SEND_PREFIX, given))
            return messages_of(connection, send.id, MOST_LISTED)
        recipient = find_recipient(connection, team, given)
        return messages_to(connection, identities(connection, recipient), MOST_LISTED)


def parse_message(given: str) -> tuple[int, int]:
    """Send and ordinal of snd_…/ordinal. Raises BadIdentifier, UnknownSend."""
    send, _, ordinal = given.partition("/")
    if not ordinal.isdecimal() or not 1 <= int(ordinal) < 1 << 31:
        raise UnknownSend(f"'{given}' is no message; write it as snd_…/1.")
    return key_of(SEND_PREFIX, send), int(ordinal)


def _requested(found: MessageTrace) -> Entry:
    send = found.send
    by = f"key {send.idempotency_key}" if send.idempotency_key else "no idempotency key"
    plan = _plan(found)
    priority = Priority(send.priority).word
    return Entry(
        at=send.created_at,
        what="requested",
        text=f"requested by {send.kind} '{send.name}' ({by}): {send.template}, {send.message_class},"
        f" {priority}, plan {plan}",
        facts={
            "kind": send.kind,
            "name": send.name,
            "idempotency_key": send.idempotency_key,
            "template": send.template,
            "class": send.message_class,
            "priority": priority,
            "topic": send.topic,
            "plan": plan,
            "on_unknown": send.on_unknown,
            "expires_at": send.expires_at,
        },
    )


def _plan(found: MessageTrace) -> str:
    """As a caller writes it."""
    steps = [
        step.channel.value
        if step.wait_for is None
        else f"{step.channel.value}:{step.wait_for.word}/{step.within.total_seconds():g}s"
        for step in plan_from_json(found.send.plan)
    ]
    return ",".join(steps) or found.send.channel.value


def _attempts(found: MessageTrace) -> Iterator[Entry]:
    for attempt in found.attempts:
        facts = {
            "attempt": str(attempt.id),
            "step": attempt.step,
            "account": attempt.account,
            "worker": attempt.worker,
        }
        yield Entry(
            at=attempt.claimed_at,
            what="claimed",
            text=f"step {attempt.step}: claimed for account {attempt.account} by {attempt.worker}",
            facts=facts,
        )
        if attempt.ended_at is not None:
            yield Entry(
                at=attempt.ended_at,
                what="answered",
                text=f"step {attempt.step}: {_answer(attempt)}",
                facts={
                    **facts,
                    "answer": _LETTERS.get(attempt.letter, "none"),
                    "state": attempt.state,
                    "code": attempt.code,
                    "detail": attempt.error,
                    "provider_message_id": attempt.provider_message_id,
                },
            )


def _answer(attempt: TracedAttempt) -> str:
    """The vendor's answer in words."""
    words = _LETTERS.get(attempt.letter, "nobody heard an answer")
    if attempt.letter == "a":
        name = attempt.provider_message_id
        return f"{attempt.account} {words}" + (f" as {name}" if name else "")
    said = " ".join(filter(None, (attempt.code, attempt.error)))
    return f"{attempt.account}: {words}" + (f" ({said})" if said else "")


def _events(found: MessageTrace) -> Iterator[Entry]:
    for event in found.events:
        yield Entry(
            at=event.at,
            what=event.kind,
            text=f"step {event.step}: {_event(event)}",
            facts={
                "step": event.step,
                "account": event.account,
                "provider_message_id": event.provider_message_id,
                **event.raw,
            },
        )


def _event(event: TracedEvent) -> str:
    words = event.kind.replace("_", " ")
    match event.kind:
        case "superseded":
            return f"the outcome {event.raw.get('outcome')} was superseded"
        case "confirmed_duplicate":
            return "a duplicate is confirmed: it went out more than once"
        case "redriven":
            return f"redriven after {event.raw.get('outcome')}: {event.raw.get('why')}"
        case _:
            source = f" says {event.account}" if event.account else ""
            return f"{words}{source}"


def _verdict(facts: Facts) -> dict[str, Any]:
    """The same function as when it is sent, and each rule that applies."""
    applying = []
    for rule in RULES:
        said = rule.says(facts)
        if said is not None:
            until = said.until if isinstance(said, Defer) else None
            applying.append({"rule": rule.reason.word, "until": until})
    return {
        "now": _verdict_word(facts),
        "rules": applying,
        "facts": {
            "class": facts.message_class,
            "priority": facts.priority.word,
            "erased": facts.is_erased,
            "contact_point": facts.has_contact_point,
            "suppressed": facts.is_suppressed,
            "subscription": facts.subscription,
            "opt_in": facts.opt_in,
            "zone": str(facts.zone),
            "quiet_hours": facts.quiet and f"{facts.quiet.start:%H:%M}-{facts.quiet.until:%H:%M}",
            "window": facts.window and f"{facts.window.start:%H:%M}-{facts.window.until:%H:%M}",
        },
    }


def _verdict_word(facts: Facts) -> str:
    match decide(facts):
        case MaySend():
            return "send"
        case Defer(until, reason):
            return f"defer until {until:%Y-%m-%d %H:%M:%S} UTC: {reason.word}"
        case Skip(reason):
            return f"skip: {reason.word}"
        case _ as never:
            assert_never(never)


def _now(found: MessageTrace, settings: Settings, now: datetime) -> dict[str, Any]:
    member, where = found.member, found.whereabouts
    policy = Policy(
        plan=member.plan,
        on_unknown=member.on_unknown,
        max_tries=settings.max_tries,
        ended_as=member.ended_as,
    )
    waits, until = _standing(found, policy, now)
    last = found.deliveries[-1] if found.deliveries else None
    return {
        "state": count_key(last.outcome, last.reason) if last else "owed",
        "progress": last.progress.word if last else "none",
        "step": member.step,
        "waits": waits,
        "until": until,
        "holds": where.holds,
        "send_state": found.send.state,
        "group": where.group_id and messages_workflow_id(where.group_id).partition(":")[2],
        "batch": where.batch_lo,
        "workflow": _workflow(found),
    }


def _standing(found: MessageTrace, policy: Policy, now: datetime) -> tuple[str, datetime | None]:
    """For what it waits, and until when; empty: for nothing."""
    where = found.whereabouts
    match standing(found.member.last, policy, now):
        case Done():
            return "", None
        case Waits(until):
            is_unknown = found.member.last is not None and not found.member.last.outcome.is_final
            return ("for proof" if is_unknown else "for its reader"), until
        case Becomes(_, outcome, enters_next):
            follows = ", then the next step" if enters_next else ""
            return f"for the next pass: {outcome.word}{follows}", where.due_at
        case Owed(step):
            return f"to be sent on step {step}{_stop(found)}", where.due_at
        case _ as never:
            assert_never(never)


def _stop(found: MessageTrace) -> str:
    """What keeps it from being sent, where something does."""
    if found.whereabouts.holds:
        return "; held: " + "; ".join(found.whereabouts.holds)
    if found.send.state == SendState.PAUSED:
        return "; its campaign is paused"
    return ""


def _workflow(found: MessageTrace) -> str | None:
    """Who drives it; None: nobody needs to, or a gatherer will."""
    if found.send.kind is SendKind.CAMPAIGN:
        return campaign_workflow_id(found.send.id)
    group = found.whereabouts.group_id
    return messages_workflow_id(group) if group is not None else None

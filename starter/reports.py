"""What a campaign came to, in numbers that balance and in words that say what to do."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Engine

from domain.outcome import Outcome
from domain.send import SendState
from models.audit import imbalances
from models.campaign import Campaign, find_campaign
from models.progress import Progress, progress
from models.unsure import unconfirmed_people, unconfirmed_reasons

ONE_WORD = (
    Outcome.ACCEPTED,
    Outcome.REJECTED,
    Outcome.UNKNOWN,
    Outcome.UNCONFIRMED,
    Outcome.EXPIRED,
    Outcome.CANCELLED,
)


def report(engine: Engine, send_id: int) -> dict[str, Any]:
    """The report of a campaign; `balanced` compares the counts with every row, message and attempt."""
    with engine.connect() as connection:
        return report_of(connection, find_campaign(connection, send_id))


def report_of(connection: Connection, campaign: Campaign) -> dict[str, Any]:
    """The same of a campaign at hand."""
    stands = progress(connection, campaign.id)
    problems = imbalances(connection, campaign.id)
    return {
        **summary(campaign, stands),
        "rejected_reasons": stands.by_reason(Outcome.REJECTED),
        "balanced": not problems,
        "problems": problems,
        "advice": advice(connection, campaign, stands),
    }


def summary(campaign: Campaign, stands: Progress) -> dict[str, Any]:
    """Where a campaign stands, by its batches' counts: cheap, whatever its size."""
    return {
        "id": campaign.public_id,
        "name": campaign.name,
        "state": campaign.state,
        "topic": campaign.topic,
        "template": campaign.template,
        "channel": campaign.channel,
        "account": campaign.account,
        "on_unknown": campaign.on_unknown,
        "priority": campaign.priority.word,
        "rate": campaign.rate,
        "messages": stands.messages,
        **{outcome.word: stands.of(outcome) for outcome in ONE_WORD},
        "skipped": stands.by_reason(Outcome.SKIPPED),
        "excluded": campaign.excluded,
        "owed": stands.owed,
        "deferred": dict(stands.deferred),
        "created_at": campaign.created_at,
        "due_at": campaign.due_at,
        "local_at": campaign.local_at,
        "started_at": campaign.started_at,
        "closed_at": campaign.closed_at,
    }


def advice(connection: Connection, campaign: Campaign, stands: Progress) -> list[str]:
    """Sentences about what an operator may want to know or do next."""
    found = []
    unsure = stands.of(Outcome.UNCONFIRMED)
    if unsure:
        why = "; ".join(unconfirmed_reasons(connection, campaign.id))
        found.append(
            f"{unsure:,} people may or may not have got it: {why}. To send to them again:"
            f" carillon campaign resolve {campaign.public_id} --resend"
        )
    waiting = stands.of(Outcome.UNKNOWN)
    if waiting:
        found.append(f"{waiting:,} are waiting for proof before they are decided.")
    if campaign.state is SendState.SCHEDULED:
        found.append(
            f"It starts by itself at {campaign.due_at:%Y-%m-%d %H:%M:%S %Z}. To start it now:"
            f" carillon campaign start {campaign.public_id}"
        )
    if campaign.state is SendState.PAUSED:
        found.append(f"It is paused. To go on: carillon campaign resume {campaign.public_id}")
    return found


def unconfirmed(engine: Engine, send_id: int, limit: int) -> list[dict[str, Any]]:
    """Who may or may not have got the message, by name: at most `limit`, in order."""
    with engine.connect() as connection:
        return unconfirmed_people(connection, send_id, limit)

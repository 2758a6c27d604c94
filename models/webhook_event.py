"""Facts that become owed to endpoints, in the transaction that makes them facts.

One INSERT … SELECT FROM webhook_endpoint a fact or set of facts: who has no endpoint pays for one
look into a small index. Messages of campaigns are told by the campaign's own events alone.
"""

from __future__ import annotations

from sqlalchemy import Connection, text

from domain.outcome import FINAL_OUTCOMES
from domain.webhook_event import TEST_EVENT, WebhookEvent
from models.prepared import Prepared, one

INTO = "INSERT INTO webhook_delivery (endpoint_id, event, payload)"
_WORDS = ", ".join(f"'message.{outcome.word}'" for outcome in FINAL_OUTCOMES)
_FIRST = min(FINAL_OUTCOMES)


def wants(word: str) -> str:
    """SQL that says whether the endpoint `e` is to be told an event; `word` is an expression."""
    return f"e.is_enabled AND (e.events = '{{}}' OR {word} = ANY (e.events))"


def has_endpoint(group: str) -> str:
    """SQL that says whether the team of a group of single messages has an endpoint to tell."""
    return (
        "EXISTS (SELECT 1 FROM message_group g"  # noqa: S608  an expression of ours
        f" {one('webhook_endpoint', 'team_id = g.team_id AND is_enabled', 'e')} WHERE g.id = {group})"
    )


_WORD = f"(ARRAY[{_WORDS}])[d.outcome - {_FIRST - 1}]"
TELL_FINAL = Prepared(
    "webhook_event_tell_final",
    f"{INTO} SELECT e.id, {_WORD}, jsonb_build_object('send', s.id, 'ordinal', x.ordinal,"  # noqa: S608  ours
    "  'outcome', d.outcome, 'reason', d.reason, 'test', s.is_test)"
    " FROM unnest(CAST(:sends AS bigint[]), CAST(:ordinals AS integer[])) AS x(send_id, ordinal)"
    f" {one('send', 'id = x.send_id', 's')}"
    f" {one('webhook_endpoint', 'team_id = s.team_id', 'e')}"
    " JOIN LATERAL (SELECT outcome, reason FROM delivery WHERE send_id = x.send_id"
    "  AND ordinal = x.ordinal ORDER BY step DESC LIMIT 1) d ON true"
    f" WHERE {wants(_WORD)} ORDER BY e.id, s.id, x.ordinal",
)
"""Tells of single messages that are final, each as the step where it stands ended."""


def _tell_campaigns(campaigns: str, word: str) -> str:
    """`campaigns` has their id, team_id and is_test."""
    return (
        f"{INTO} SELECT e.id, {word}, jsonb_build_object('campaign', s.id, 'test', s.is_test)"  # noqa: S608  ours
        f" FROM {campaigns} s JOIN webhook_endpoint e ON e.team_id = s.team_id WHERE {wants(word)}"
    )


def tell_campaign(connection: Connection, send_id: int, event: WebhookEvent) -> None:
    """What became of the campaign is owed to its team's endpoints."""
    connection.execute(
        text(_tell_campaigns("(SELECT * FROM send WHERE id = :send)", ":event")),
        {"send": send_id, "event": event},
    )


def tell_started(started: str) -> str:
    """SQL that tells of campaigns that have started; `started` has their id, team_id and is_test."""
    return _tell_campaigns(started, f"'{WebhookEvent.CAMPAIGN_STARTED}'")


def tell_suppressed(added: str) -> str:
    """SQL that tells of suppressions; `added` has their id, team_id and channel."""
    word = f"'{WebhookEvent.SUPPRESSION_ADDED}'"
    return (
        f"{INTO} SELECT e.id, {word}, jsonb_build_object('suppression', a.id, 'channel', a.channel)"  # noqa: S608  ours
        f" FROM {added} a JOIN webhook_endpoint e ON e.team_id = a.team_id WHERE {wants(word)}"
        " ORDER BY e.id, a.id"
    )


def tell_test(connection: Connection, endpoint_id: int) -> int:
    """Id of a test event that is owed to the endpoint now."""
    made: int = connection.execute(
        text(f"{INTO} VALUES (:endpoint, :event, '{{}}') RETURNING id"),
        {"endpoint": endpoint_id, "event": TEST_EVENT},
    ).scalar_one()
    return made

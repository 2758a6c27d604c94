"""Single messages whose answer was lost, as their vendor is asked for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, text

from domain.outcome import Outcome
from models.group_members import Member, read_some

_BEFORE = timedelta(minutes=2)
"""How far apart the clocks of drivers and the database may be: attempts' ids are of the former."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unproven:
    """A message that may have been accepted, and the attempt that did not hear."""

    member: Member
    account_id: int
    account_key: str
    since: datetime
    """When it was claimed."""


def unproven_messages(
    connection: Connection, account_ids: Sequence[int], limit: int
) -> list[Unproven]:
    """Unknown messages that wait for proof on these accounts, in no order: all have their turn.

    They are in the outbox, which is small.
    """
    found = {
        (row.send_id, row.ordinal): row
        for row in connection.execute(
            text(
                "SELECT o.send_id, o.ordinal, p.id, p.key, a.claimed_at FROM outbox o"
                " JOIN LATERAL (SELECT * FROM delivery x WHERE x.send_id = o.send_id"
                "  AND x.ordinal = o.ordinal ORDER BY x.step DESC LIMIT 1) d ON true"
                " JOIN attempt a ON a.id = d.attempt_id JOIN provider_account p ON p.id = a.account_id"
                " WHERE d.outcome = :unknown AND d.decide_at > clock_timestamp()"
                " AND p.id = ANY(:accounts) ORDER BY random() LIMIT :limit"
            ),
            {"unknown": int(Outcome.UNKNOWN), "accounts": list(account_ids), "limit": limit},
        )
    }
    members = read_some(connection, list(found))
    return [
        Unproven(member=member, account_id=row.id, account_key=row.key, since=row.claimed_at)
        for member in members
        if (row := found[member.send_id, member.ordinal])
    ]


def is_anothers(connection: Connection, wanted: Unproven, provider_message_id: str) -> bool:
    """Whether that message of the vendor's is known to be another one of ours: equal texts are common."""
    found: bool = connection.execute(
        text(
            "SELECT EXISTS (SELECT 1 FROM attempt a WHERE a.id >= key_at(:since)"
            " AND a.account_id = :account AND (a.provider_message_id = :name"
            "  OR jsonb_path_exists(a.answers, '$.*.id ? (@ == $name)',"
            "   jsonb_build_object('name', CAST(:name AS text)))))"
            " OR EXISTS (SELECT 1 FROM event_inbox i WHERE i.account_id = :account"
            "  AND i.received_at >= :since AND i.provider_message_id = :name"
            "  AND (i.send_id, i.ordinal) <> (:send, :ordinal))"
        ),
        {
            "since": wanted.since - _BEFORE,
            "account": wanted.account_id,
            "name": provider_message_id,
            "send": wanted.member.send_id,
            "ordinal": wanted.member.ordinal,
        },
    ).scalar_one()
    return found

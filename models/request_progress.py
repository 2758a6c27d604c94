"""How far a send of single messages is: at most 1,000 messages, so its rows are counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, text

from domain.identifier import SEND_PREFIX, public_id
from domain.outcome import Outcome, Reason, count_key
from models.request import UnknownSend


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestStatus:
    """A request as commands show it; `counts` are of the messages' last rows."""

    id: str
    state: str
    template: str
    priority: int
    messages: int
    is_test: bool
    """Asked for with a test key: it ends in a log."""
    counts: Mapping[str, int]
    owed: int
    due_at: datetime | None
    expires_at: datetime
    created_at: datetime
    closed_at: datetime | None


def request_status(connection: Connection, team_id: int, send_id: int) -> RequestStatus:
    """Where the request stands. Raises UnknownSend."""
    send = (
        connection.execute(
            text(
                "SELECT s.state, s.is_test, s.messages, s.priority, s.due_at, s.expires_at, s.created_at,"
                " s.closed_at, p.key || '@' || v.number AS template"
                " FROM send s JOIN template_version v ON v.id = s.template_version_id"
                " JOIN template p ON p.id = v.template_id"
                " WHERE s.id = :id AND s.team_id = :team AND s.kind = 'request'"
            ),
            {"id": send_id, "team": team_id},
        )
        .mappings()
        .one_or_none()
    )
    if send is None:
        raise UnknownSend(f"There is no send {public_id(SEND_PREFIX, send_id)} of single messages.")
    counts = _counts(connection, send_id)
    return RequestStatus(
        id=public_id(SEND_PREFIX, send_id), counts=counts, owed=counts["owed"], **send
    )


def _counts(connection: Connection, send_id: int) -> Counter[str]:
    rows: list[Any] = list(
        connection.execute(
            text(
                "SELECT coalesce(d.outcome, :owed) AS outcome, coalesce(d.reason, 0) AS reason,"
                " count(*) AS n FROM message m LEFT JOIN LATERAL (SELECT x.outcome, x.reason"
                "  FROM delivery x WHERE x.send_id = m.send_id AND x.ordinal = m.ordinal"
                "  ORDER BY x.step DESC LIMIT 1) d ON true"
                " WHERE m.send_id = :send GROUP BY 1, 2 ORDER BY 1, 2"
            ),
            {"send": send_id, "owed": int(Outcome.OWED)},
        )
    )
    return Counter({count_key(Outcome(r.outcome), Reason(r.reason)): r.n for r in rows})

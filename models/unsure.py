"""Who of a send may or may not have got the message, and why nobody knows."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, text

from domain.outcome import Outcome

_UNSURE = "d.outcome IN (:unknown, :unconfirmed)"
_OUTCOMES = {"unknown": int(Outcome.UNKNOWN), "unconfirmed": int(Outcome.UNCONFIRMED)}


def unconfirmed_reasons(connection: Connection, send_id: int) -> list[str]:
    """Why outcomes are not known, in the attempts' own words: "12 × the answer was lost"."""
    rows = connection.execute(
        text(
            "SELECT coalesce(a.error, 'no answer came') AS why, count(*) AS n"  # noqa: S608  constants
            " FROM delivery d LEFT JOIN attempt a ON a.id = d.attempt_id"
            f" WHERE d.send_id = :send AND {_UNSURE} GROUP BY 1 ORDER BY 2 DESC LIMIT 5"
        ),
        {"send": send_id, **_OUTCOMES},
    )
    return [f"{row.n} × {row.why}" for row in rows]


def unconfirmed_people(connection: Connection, send_id: int, limit: int) -> list[dict[str, Any]]:
    """The recipients and addresses of unknown and unconfirmed messages, in order."""
    rows = connection.execute(
        text(
            "SELECT d.ordinal, d.outcome, d.tries, d.decide_at, r.external_id, c.address"  # noqa: S608  constants
            " FROM delivery d JOIN message m ON m.send_id = d.send_id AND m.ordinal = d.ordinal"
            " JOIN recipient r ON r.id = m.recipient_id"
            " LEFT JOIN contact_point c ON c.recipient_id = r.id AND c.rank = 0"
            "  AND c.channel = (SELECT channel FROM send WHERE id = :send)"
            f" WHERE d.send_id = :send AND {_UNSURE} ORDER BY d.ordinal LIMIT :limit"
        ),
        {"send": send_id, "limit": limit, **_OUTCOMES},
    ).mappings()
    return [{**row, "outcome": Outcome(row["outcome"]).word} for row in rows]

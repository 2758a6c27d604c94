"""Breakers of accounts: opened by errors, probed by one message at a time, closed by an answer."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import Connection, text

from domain.health import HealthRules, Seen, breaker_opens, breaker_wait


def open_breaker_if_failing(connection: Connection, account_id: int, rules: HealthRules) -> bool:
    """Whether this call opened the account's breaker: of those who ask at once, one."""
    row = connection.execute(
        text(
            "SELECT coalesce(sum(h.answers), 0) AS answers, coalesce(sum(h.errors), 0) AS errors"
            " FROM provider_account a LEFT JOIN account_health h ON h.account_id = a.id"
            "  AND h.bucket > clock_timestamp() - CAST(:window AS interval)"
            # What was counted before it last closed is what it was closed in spite of.
            "  AND h.bucket >= coalesce(a.breaker_changed_at, '-infinity')"
            " WHERE a.id = :id"
        ),
        {"id": account_id, "window": rules.breaker_window + rules.bucket},
    ).one()
    if not breaker_opens(Seen(answers=row.answers, errors=row.errors), rules):
        return False
    opened = connection.execute(
        text(
            "UPDATE provider_account SET breaker_wait = :wait,"
            " breaker_until = clock_timestamp() + make_interval(secs => :wait),"
            " breaker_changed_at = clock_timestamp() WHERE id = :id AND breaker_until IS NULL"
        ),
        {"id": account_id, "wait": breaker_wait(timedelta(0), rules).total_seconds()},
    )
    return opened.rowcount == 1


def take_probe(connection: Connection, account_id: int, answered_within: timedelta) -> bool:
    """Whether the caller may send one message to an open account whose time has come.

    Nobody else may until `answered_within` has passed, so a prober that dies is followed by another.
    """
    taken = connection.execute(
        text(
            "UPDATE provider_account SET breaker_until = clock_timestamp() + :within"
            " WHERE id = :id AND breaker_until <= clock_timestamp()"
        ),
        {"id": account_id, "within": answered_within},
    )
    return taken.rowcount == 1


def close_breaker(connection: Connection, account_id: int) -> None:
    """The probe was answered: the account is used again."""
    connection.execute(
        text(
            "UPDATE provider_account SET breaker_until = NULL, breaker_wait = 0,"
            " breaker_changed_at = clock_timestamp() WHERE id = :id AND breaker_until IS NOT NULL"
        ),
        {"id": account_id},
    )


def probe_failed(connection: Connection, account_id: int, rules: HealthRules) -> None:
    """The probe failed: twice the wait until the next one."""
    before = connection.execute(
        text(
            "SELECT breaker_wait FROM provider_account WHERE id = :id AND breaker_until IS NOT NULL"
            " FOR NO KEY UPDATE"
        ),
        {"id": account_id},
    ).scalar()
    if before is None:
        return
    wait = breaker_wait(timedelta(seconds=before), rules).total_seconds()
    connection.execute(
        text(
            "UPDATE provider_account SET breaker_wait = :wait,"
            " breaker_until = clock_timestamp() + make_interval(secs => :wait) WHERE id = :id"
        ),
        {"id": account_id, "wait": wait},
    )


def opens_in(connection: Connection, account_id: int) -> timedelta | None:
    """When the account's breaker may be probed, from now on; None: it is closed."""
    found: timedelta | None = connection.execute(
        text("SELECT breaker_until - clock_timestamp() FROM provider_account WHERE id = :id"),
        {"id": account_id},
    ).scalar_one()
    return found

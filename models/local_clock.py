"""What the clocks of a flight's recipients say: rules in SQL never convert zones nor ask for the time."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, time
from typing import Any

from sqlalchemy import Connection, text

from domain.local_time import Window, moment_of, next_open, quiet_until, zone_of
from models.time_rules import TimeRules

# Equal ends are no window: they stand for no quiet hours, so that no column that is joined is null.
_ZONE = "coalesce(r.time_zone, '')"
_QUIET_FROM = "coalesce(r.quiet_from, CAST(:quiet_from AS time), time '00:00')"
_QUIET_UNTIL = "coalesce(r.quiet_until, CAST(:quiet_until AS time), time '00:00')"

CAP_WINDOWS = """
    WITH cap_window AS MATERIALIZED (
        SELECT * FROM unnest(CAST(:cap_ids AS bigint[]), CAST(:cap_zones AS text[]),
            CAST(:cap_keys AS text[]), CAST(:cap_sinces AS timestamptz[]), CAST(:cap_mosts AS integer[]))
            AS w(cap_id, zone, window_key, since, most))
"""
"""A row for each cap and zone; to stand before the SELECT."""

CLOCK_JOIN = f"""
    LEFT JOIN unnest(CAST(:zones AS text[]), CAST(:quiet_froms AS time[]),
        CAST(:quiet_untils AS time[]), CAST(:quiet_ends AS timestamptz[]),
        CAST(:opens AS timestamptz[]), CAST(:local_moments AS timestamptz[]),
        CAST(:are_late AS boolean[]))
        AS k(zone, quiet_from, quiet_until, quiet_ends, opens_at, local_moment, is_late)
        ON k.zone = {_ZONE} AND k.quiet_from = {_QUIET_FROM} AND k.quiet_until = {_QUIET_UNTIL}
"""
"""k: what holds now for all who have the same zone and quiet hours, reckoned in Python. Somebody who
changed them since they were read has no k, as if they had changed them a moment later."""


def read_clocks(
    connection: Connection, rules: TimeRules, members: str, values: dict[str, Any], now: datetime
) -> dict[str, Any]:
    """The parameters of `CAP_WINDOWS` and `CLOCK_JOIN` for the recipients of some messages.

    `members` is the FROM and WHERE clause that finds them as r, `values` its parameters.
    """
    quiet = {
        "quiet_from": rules.quiet and rules.quiet.start,
        "quiet_until": rules.quiet and rules.quiet.until,
    }
    found = connection.execute(
        text(f"SELECT DISTINCT {_ZONE}, {_QUIET_FROM}, {_QUIET_UNTIL} {members}"),
        {**values, **quiet},
    ).all()
    return {**quiet, **_clocks(rules, found, now), **_cap_windows(rules, found, now)}


def _clocks(rules: TimeRules, found: Sequence[Any], now: datetime) -> dict[str, Any]:
    """A column each of what the distinct zones and quiet hours mean now."""
    quiet_ends, opens, local_moments, are_late = [], [], [], []
    for name, quiet_from, until in found:
        zone = zone_of(name, rules.time_zone)
        quiet_ends.append(_quiet_end(quiet_from, until, name, rules, now))
        opens_at = next_open(now, rules.window, zone) if rules.window else now
        opens.append(opens_at if opens_at > now else None)
        moment = moment_of(rules.local_at, zone) if rules.local_at else now
        local_moments.append(moment if moment > now else None)
        are_late.append(now - moment > rules.local_grace)
    return {
        "zones": [name for name, _, _ in found],
        "quiet_froms": [quiet_from for _, quiet_from, _ in found],
        "quiet_untils": [until for _, _, until in found],
        "quiet_ends": quiet_ends,
        "opens": opens,
        "local_moments": local_moments,
        "are_late": are_late,
    }


def _quiet_end(
    quiet_from: time, until: time, name: str, rules: TimeRules, now: datetime
) -> datetime | None:
    if quiet_from == until:
        return None
    return quiet_until(now, Window(quiet_from, until), zone_of(name, rules.time_zone))


def _cap_windows(rules: TimeRules, found: Sequence[Any], now: datetime) -> dict[str, Any]:
    """A row for each cap and zone: which count is asked, and from when on its uses count."""
    names = sorted({name for name, _, _ in found})
    rows = [
        (cap.id, name, cap.key(now, zone_of(name, rules.time_zone)), cap.since(now), cap.most)
        for cap in rules.caps
        for name in names
    ]
    return {
        "has_caps": bool(rules.caps),
        "cap_ids": [row[0] for row in rows],
        "cap_zones": [row[1] for row in rows],
        "cap_keys": [row[2] for row in rows],
        "cap_sinces": [row[3] for row in rows],
        "cap_mosts": [row[4] for row in rows],
    }

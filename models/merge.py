"""Merging two recipients that turned out to be one person."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, text

from domain.consent import Consent, replaces
from domain.contact import ContactState
from domain.send import SubscriptionState
from models.in_app_owner import move_items
from models.recheck import Rechecked, recheck_recipient
from models.recipient_import import hold_off_imports

SOURCE = "merge"


class MergeRefused(Exception):
    """These two cannot be merged; the message is one sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Merged:
    """What came over to the recipient who is left."""

    contact_points: int
    subscriptions: int
    rechecked: Rechecked
    """What waited for either of them and is looked at now: other addresses, consents and clocks hold."""


def merge(connection: Connection, team_id: int, recipient_id: int, into: int) -> Merged:
    """Merge the recipient into the other: from now on they are found as that one.

    Contact points that are not there yet move behind those that are; a consent holds as
    domain.consent says; what the one who is left says nothing about is taken from the other.
    Suppressions belong to addresses and messages to whom they were made for: both stay. A message
    of a campaign that is not out yet is skipped, for its recipient has no contact point any more.
    Whatever waits for either is looked at again.
    Both must be roots (models/recipient_identity). Raises MergeRefused. An import is waited for.
    """
    if recipient_id == into:
        raise MergeRefused("These are one recipient already.")
    hold_off_imports(connection, team_id)
    _lock(connection, team_id, recipient_id, into)
    who = {"gone": recipient_id, "into": into}
    contact_points = _move_contacts(connection, who)
    subscriptions = _move_subscriptions(connection, who)
    _fill_profile(connection, who)
    move_items(connection, recipient_id, into)
    # Those merged into the one who goes now are told where they are at once: nobody has to follow
    # more than one step.
    connection.execute(
        text(
            "UPDATE recipient SET merged_into = :into, updated_at = now()"
            " WHERE id = :gone OR merged_into = :gone"
        ),
        who,
    )
    return Merged(
        contact_points=contact_points,
        subscriptions=subscriptions,
        rechecked=recheck_recipient(connection, into),
    )


def _lock(connection: Connection, team_id: int, recipient_id: int, into: int) -> None:
    """Lock both. Raises MergeRefused unless both are of the team, living and not merged."""
    rows = connection.execute(
        text(
            "SELECT erased_at IS NOT NULL AS is_erased, merged_into FROM recipient"
            " WHERE team_id = :team AND id IN (:gone, :into) ORDER BY id FOR NO KEY UPDATE"
        ),
        {"team": team_id, "gone": recipient_id, "into": into},
    ).all()
    if len(rows) < 2 or any(row.is_erased for row in rows):
        raise MergeRefused("Who is erased cannot be merged.")
    if any(row.merged_into is not None for row in rows):
        raise MergeRefused("One of the two has just been merged; look who they are now.")


_SAME_ADDRESS = "m.channel = k.channel AND m.address = k.address"


def _move_contacts(connection: Connection, who: dict[str, int]) -> int:
    """How many addresses came over; of one that both have, the better knowledge is kept."""
    connection.execute(
        text(
            "UPDATE contact_point k SET state = m.state, verified_at = m.verified_at"  # noqa: S608  constants
            " FROM contact_point m WHERE k.recipient_id = :into AND m.recipient_id = :gone"
            f" AND {_SAME_ADDRESS} AND m.state = '{ContactState.VERIFIED}'"
            f" AND k.state = '{ContactState.UNVERIFIED}'"
        ),
        who,
    )
    connection.execute(
        text(
            "DELETE FROM contact_point m USING contact_point k"  # noqa: S608  constants
            f" WHERE k.recipient_id = :into AND m.recipient_id = :gone AND {_SAME_ADDRESS}"
        ),
        who,
    )
    return connection.execute(
        text(
            "UPDATE contact_point m SET recipient_id = :into, rank = w.place + coalesce("
            "  (SELECT max(k.rank) FROM contact_point k"
            "   WHERE k.recipient_id = :into AND k.channel = m.channel), -1)"
            " FROM (SELECT id, row_number() OVER (PARTITION BY channel ORDER BY rank) AS place"
            "  FROM contact_point WHERE recipient_id = :gone) w WHERE m.id = w.id"
        ),
        who,
    ).rowcount


def _move_subscriptions(connection: Connection, who: dict[str, int]) -> int:
    """How many consents of the one who goes hold for the one who is left; all of theirs end."""
    pairs = connection.execute(
        text(
            "SELECT m.topic_id, m.channel, m.state, m.changed_at,"
            " k.state AS kept_state, k.changed_at AS kept_since"
            " FROM subscription m LEFT JOIN subscription k ON k.topic_id = m.topic_id"
            "  AND k.channel = m.channel AND k.recipient_id = :into"
            " WHERE m.recipient_id = :gone ORDER BY m.topic_id, m.channel"
        ),
        who,
    ).all()
    holding = [
        (pair.topic_id, pair.channel)
        for pair in pairs
        if pair.kept_state is None
        or replaces(
            Consent(SubscriptionState(pair.state), pair.changed_at),
            Consent(SubscriptionState(pair.kept_state), pair.kept_since),
        )
    ]
    for topic, channel in holding:
        _take_over(connection, who, topic, channel)
    connection.execute(
        text(
            "UPDATE subscription SET state = :left, source = :source, changed_at = now()"
            " WHERE recipient_id = :gone AND state <> :left"
        ),
        {**who, "left": SubscriptionState.LEFT, "source": SOURCE},
    )
    return len(holding)


def _take_over(connection: Connection, who: dict[str, int], topic: int, channel: str) -> None:
    """It keeps its time, by which a further merge decides, and says where it came from at first."""
    connection.execute(
        text(
            "INSERT INTO subscription"
            " (topic_id, channel, recipient_id, state, source, changed_at, cadence, details)"
            " SELECT topic_id, channel, :into, state, :source || ': ' || source, changed_at,"
            " cadence, details FROM subscription"
            " WHERE recipient_id = :gone AND topic_id = :topic AND channel = :channel"
            " ON CONFLICT (topic_id, channel, recipient_id) DO UPDATE SET state = excluded.state,"
            " source = excluded.source, changed_at = excluded.changed_at,"
            " cadence = excluded.cadence, details = excluded.details"
        ),
        {**who, "topic": topic, "channel": channel, "source": SOURCE},
    )


def _fill_profile(connection: Connection, who: dict[str, int]) -> None:
    connection.execute(
        text(
            "UPDATE recipient k SET first_name = coalesce(nullif(k.first_name, ''), m.first_name),"
            " last_name = coalesce(nullif(k.last_name, ''), m.last_name),"
            " locale = coalesce(k.locale, m.locale), time_zone = coalesce(k.time_zone, m.time_zone),"
            " preferred_channels = CASE WHEN k.preferred_channels = '{}' THEN m.preferred_channels"
            "  ELSE k.preferred_channels END,"
            " attributes = m.attributes || k.attributes, updated_at = now()"
            " FROM recipient m WHERE k.id = :into AND m.id = :gone"
        ),
        who,
    )

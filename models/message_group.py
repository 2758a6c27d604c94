"""Groups of single messages, and their leases: what the batch row is to a range of a campaign."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import BigInteger, Column, Connection, Integer, SmallInteger, text
from sqlmodel import Field, SQLModel

from domain.send import AttemptState, Priority
from models.columns import big, moment, words
from models.group_rows import MemberKey, write_unknown
from models.lease import CLAIMED_LETTER, Busy
from models.prepared import Prepared


class MessageGroup(SQLModel, table=True):
    """1 to 200 single messages of one team, priority and first channel that one workflow drives."""

    __tablename__ = "message_group"

    id: int = Field(sa_column=big(primary_key=True))
    priority: int = Field(sa_column=Column(SmallInteger, nullable=False))
    channel: str = Field(sa_column=words())
    team_id: int = Field(sa_column=Column(BigInteger, nullable=False, server_default="0"))
    epoch: int = Field(sa_column=Column(Integer, nullable=False, server_default="0"))
    owner: str | None = Field(sa_column=words(nullable=True))
    lease_until: datetime | None = Field(sa_column=moment())
    created_at: datetime = Field(sa_column=moment(nullable=False, default_now=True))
    resume_at: datetime | None = Field(sa_column=moment())
    reconciled_at: datetime | None = Field(sa_column=moment())


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupLease:
    """The group is its holder's: until the lease runs out, or the epoch is raised."""

    group_id: int
    epoch: int
    unknown_wait: timedelta
    """From the time an answer could have come until an unknown outcome is decided."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LockedGroup:
    """A group's row, locked FOR NO KEY UPDATE; `now` is the database's clock after the wait."""

    epoch: int
    now: datetime


_LOCK_GROUP = Prepared(
    "message_group_lock",
    # The clock is read of the locked row, so after the wait for it.
    "WITH locked AS MATERIALIZED"
    " (SELECT epoch FROM message_group WHERE id = :id FOR NO KEY UPDATE)"
    " SELECT epoch, clock_timestamp() AS now FROM locked",
)


def lock_group(connection: Connection, group_id: int) -> LockedGroup:
    """Lock the group's row: the first lock of every transaction that moves outcomes of its members."""
    row = _LOCK_GROUP.run(connection, {"id": group_id}).one()
    return LockedGroup(epoch=row.epoch, now=row.now)


@dataclass(frozen=True, slots=True, kw_only=True)
class Urgency:
    """How a group's work is ordered: among priorities, and fairly among teams."""

    priority: Priority
    team: str
    trace_parent: str | None = None
    """The traceparent (W3C) of what asked for its first message."""


_URGENCY = Prepared(
    "message_group_urgency",
    "SELECT g.priority, coalesce(t.key, '') AS team, (SELECT s.trace_parent FROM outbox o"
    "  JOIN send s ON s.id = o.send_id WHERE o.group_id = g.id ORDER BY o.id LIMIT 1) AS trace_parent"
    " FROM message_group g"
    " LEFT JOIN team t ON t.id = g.team_id WHERE g.id = :id",
)


def urgency(connection: Connection, group_id: int) -> Urgency:
    """What Temporal is told of the group when its workflow is started."""
    row = _URGENCY.run(connection, {"id": group_id}).one()
    return Urgency(priority=Priority(row.priority), team=row.team, trace_parent=row.trace_parent)


_TAKE = Prepared(
    "message_group_take",
    "UPDATE message_group SET epoch = epoch + 1, owner = :owner, resume_at = NULL,"
    " lease_until = clock_timestamp() + :duration WHERE id = :id"
    " AND (lease_until IS NULL OR lease_until <= clock_timestamp()) RETURNING epoch, priority",
)
_LEASE_UNTIL = Prepared(
    "message_group_lease_until",
    "SELECT coalesce(lease_until, clock_timestamp()) FROM message_group WHERE id = :id",
)


def take_group(
    connection: Connection,
    group_id: int,
    *,
    owner: str,
    duration: timedelta,
    unknown_wait: timedelta,
) -> GroupLease | Busy | None:
    """Take the group if its lease is free, and give up what its last driver left open; None: there
    is no such group (any more).

    `unknown_wait` is for all but critical messages, which are decided at once (DESIGN §5, Times).
    """
    taken = _TAKE.run(
        connection, {"id": group_id, "owner": owner, "duration": duration}
    ).one_or_none()
    if taken is None:
        until = _LEASE_UNTIL.run(connection, {"id": group_id}).scalar()
        return None if until is None else Busy(until=until)
    wait = timedelta(0) if taken.priority == Priority.CRITICAL else unknown_wait
    if taken.epoch > 1:
        _abandon_open_attempts(connection, group_id, wait)
    return GroupLease(group_id=group_id, epoch=taken.epoch, unknown_wait=wait)


_RENEW_GROUP = Prepared(
    "message_group_renew_group",
    "UPDATE message_group SET lease_until = clock_timestamp() + :duration"
    " WHERE id = :id AND epoch = :epoch",
)


def renew_group(connection: Connection, lease: GroupLease, duration: timedelta) -> bool:
    """Whether the group is still the holder's; if so, for another `duration`."""
    renewed = _RENEW_GROUP.run(
        connection, {"duration": duration, "id": lease.group_id, "epoch": lease.epoch}
    )
    return renewed.rowcount == 1


_FREE_GROUP = Prepared(
    "message_group_free_group",
    "UPDATE message_group SET owner = NULL, lease_until = NULL, resume_at = :resume_at,"
    " epoch = epoch + 1 WHERE id = :id AND epoch = :epoch",
)


def free_group(connection: Connection, lease: GroupLease, resume_at: datetime | None) -> None:
    """Give the group back, if it is still the holder's. The epoch is raised: what its holder still
    does may settle, and claims nobody."""
    _FREE_GROUP.run(
        connection, {"resume_at": resume_at, "id": lease.group_id, "epoch": lease.epoch}
    )


def lost_groups(connection: Connection, every: timedelta) -> Sequence[int]:
    """Groups that have messages, nobody's lease and nothing to wait for: their workflow may be lost.

    Marks them as reconciled now; young ones are left to the lane that made them.
    """
    return (
        connection.execute(
            text(
                "UPDATE message_group g SET reconciled_at = clock_timestamp() WHERE g.id IN ("
                " SELECT m.id FROM message_group m"
                " WHERE m.id IN (SELECT group_id FROM outbox WHERE group_id IS NOT NULL)"
                " AND (m.lease_until IS NULL OR m.lease_until <= clock_timestamp())"
                " AND (m.resume_at IS NULL OR m.resume_at <= clock_timestamp())"
                " AND coalesce(m.reconciled_at, m.created_at) <= clock_timestamp() - :every"
                " ORDER BY m.id LIMIT 500 FOR NO KEY UPDATE SKIP LOCKED) RETURNING g.id"
            ),
            {"every": every},
        )
        .scalars()
        .all()
    )


_ABANDON_OPEN_ATTEMPTS = Prepared(
    "message_group_abandon_open_attempts",
    "UPDATE attempt SET state = :abandoned, ended_at = clock_timestamp(),"
    " error = coalesce(error, 'its driver disappeared')"
    " WHERE group_id = :group AND state = 'claimed'"
    " RETURNING id, step, sends, ordinals, members, answer_by, clock_timestamp() AS now",
)


def _abandon_open_attempts(connection: Connection, group_id: int, unknown_wait: timedelta) -> None:
    abandoned = _ABANDON_OPEN_ATTEMPTS.run(
        connection, {"abandoned": AttemptState.ABANDONED, "group": group_id}
    ).all()
    for attempt in abandoned:
        open_members = [
            MemberKey(send, ordinal, attempt.step)
            for send, ordinal, letter in zip(
                attempt.sends, attempt.ordinals, attempt.members, strict=True
            )
            if letter == CLAIMED_LETTER
        ]
        decide_from = max(attempt.answer_by, attempt.now)
        write_unknown(connection, open_members, attempt.id, decide_from + unknown_wait)

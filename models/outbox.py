"""The outbox: single messages that are not final. Gatherers, drivers and the reconciler read it."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Identity,
    Index,
    Integer,
    SmallInteger,
    UniqueConstraint,
    text,
)
from sqlalchemy.exc import DBAPIError
from sqlmodel import Field, SQLModel

from domain.send import Priority
from models.columns import big, moment, words
from models.message_group import Urgency
from models.prepared import Prepared, one
from models.webhook_event import TELL_FINAL, has_endpoint

NOTICE = "carillon_outbox"
"""The channel on which committed rows are announced (LISTEN)."""
NOTICE_EVERY_SECONDS = 0.05
"""A caller's process announces no more often; gatherers look on for longer after a notice."""


class Outbox(SQLModel, table=True):
    """One single message on its way. Deleted by its group's driver alone."""

    __table_args__ = (
        UniqueConstraint("send_id", "ordinal"),
        Index(
            "outbox_ungrouped",
            "priority",
            "id",
            postgresql_where=text("group_id IS NULL AND due_at IS NULL"),
        ),
        # What waits stands apart: gatherers do not step over it (18 ms a look past 200,000).
        Index(
            "outbox_waiting",
            "due_at",
            postgresql_where=text("group_id IS NULL AND due_at IS NOT NULL"),
        ),
        Index("outbox_of_group", "group_id", postgresql_where=text("group_id IS NOT NULL")),
    )

    id: int = Field(sa_column=Column(BigInteger, Identity(), primary_key=True))
    send_id: int = Field(sa_column=big())
    ordinal: int = Field(sa_column=Column(Integer, nullable=False))
    priority: int = Field(sa_column=Column(SmallInteger, nullable=False))
    channel: str = Field(sa_column=words())
    """Of the first step of its plan."""
    group_id: int | None = Field(sa_column=big(nullable=True))
    due_at: datetime | None = Field(sa_column=moment())
    """Not before then; null: now."""


# statement_timestamp: by the volatile clock the index could not be used.
_RELEASE = Prepared(
    "outbox_release",
    "UPDATE outbox SET due_at = NULL WHERE id = ANY(ARRAY(SELECT id FROM outbox"
    "  WHERE group_id IS NULL AND due_at <= statement_timestamp()"
    "  ORDER BY due_at LIMIT :most FOR UPDATE SKIP LOCKED))",
)
# `near` bounds the look: with many waiting, those of another team or channel are not all stepped over.
_GATHER = Prepared(
    "outbox_gather",
    "WITH head AS (SELECT id, priority, channel, send_id FROM outbox"  # noqa: S608
    "  WHERE group_id IS NULL AND due_at IS NULL"
    "  ORDER BY priority, id LIMIT 1 FOR UPDATE SKIP LOCKED),"
    " first AS (SELECT h.id, h.priority, h.channel, s.team_id, s.trace_parent FROM head h"
    f" {one('send', 'id = h.send_id', 's')}),"
    " near AS MATERIALIZED (SELECT o.id, o.channel, o.send_id FROM first f JOIN LATERAL"
    "  (SELECT id, channel, send_id FROM outbox WHERE priority = f.priority AND id >= f.id"
    "   AND group_id IS NULL AND due_at IS NULL ORDER BY id LIMIT 2 * :most) o ON true),"
    # coalesce: only the key's index fits, which alone is right for 200 keys.
    " picked AS (SELECT id FROM outbox WHERE id = ANY(ARRAY("
    "   SELECT n.id FROM first f JOIN near n ON n.channel = f.channel"
    f"  {one('send', 'id = n.send_id', 's')} WHERE s.team_id = f.team_id ORDER BY n.id LIMIT :most))"
    "  AND coalesce(group_id, 0) = 0 AND due_at IS NULL FOR UPDATE SKIP LOCKED),"
    " made AS (INSERT INTO message_group (id, priority, channel, team_id)"
    "  SELECT key_at(clock_timestamp()) | (nextval('send_number') % 1048576), priority, channel, team_id"
    "  FROM first RETURNING id),"
    " joined AS (UPDATE outbox SET group_id = made.id FROM made"
    "  WHERE outbox.id = ANY(ARRAY(SELECT id FROM picked)))"
    " SELECT m.id, f.priority, t.key AS team, f.trace_parent FROM made m CROSS JOIN first f"
    f" {one('team', 'id = f.team_id', 't')}",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Gathered:
    """A new group."""

    id: int
    urgency: Urgency


def gather(connection: Connection, most: int) -> Gathered | None:
    """A new group of up to `most` due messages of one team, priority and channel; None: none is due.

    The most urgent first, then the oldest; rows that another lane holds are passed over.
    """
    _RELEASE.run(connection, {"most": most})
    row = _GATHER.run(connection, {"most": most}).one_or_none()
    if row is None:
        return None
    urgency = Urgency(priority=Priority(row.priority), team=row.team, trace_parent=row.trace_parent)
    return Gathered(id=row.id, urgency=urgency)


_PARK = Prepared(
    "outbox_park",
    "UPDATE outbox SET group_id = NULL, due_at = x.until"  # noqa: S608
    " FROM unnest(CAST(:sends AS bigint[]), CAST(:ordinals AS integer[]),"
    "  CAST(:until AS timestamptz[])) AS x(send_id, ordinal, until)"
    f" {one('outbox', 'send_id = x.send_id AND ordinal = x.ordinal', 'o')}"
    " WHERE outbox.id = o.id AND outbox.group_id = :group",
)


def park(
    connection: Connection, group_id: int, waiting: Sequence[tuple[int, int, datetime]]
) -> None:
    """Take (send, ordinal, until) out of the group until then: no workflow waits for long."""
    if not waiting:
        return
    sends, ordinals, until = zip(*waiting, strict=True)
    _PARK.run(
        connection,
        {
            "group": group_id,
            "sends": list(sends),
            "ordinals": list(ordinals),
            "until": list(until),
        },
    )


_DELETE_FINAL = Prepared(
    "outbox_delete_final",
    "DELETE FROM outbox WHERE group_id = :group AND id = ANY(ARRAY("  # noqa: S608
    " SELECT o.id FROM unnest(CAST(:sends AS bigint[]), CAST(:ordinals AS integer[]))"
    f" AS x(send_id, ordinal) {one('outbox', 'send_id = x.send_id AND ordinal = x.ordinal', 'o')}))",
)
# Who is to be told is asked here, once a statement: it adds 0.03 ms to a group.
_LOCK_SENDS = Prepared(
    "outbox_lock_sends",
    f"SELECT id, (SELECT {has_endpoint(':group')}) AS is_told FROM send"  # noqa: S608
    " WHERE id = ANY(:sends) ORDER BY id FOR NO KEY UPDATE",
)
_CLOSE_SENDS = Prepared(
    "outbox_close_sends",
    "UPDATE send SET closed_at = clock_timestamp(),"
    " state = CASE WHEN state = 'cancelled' THEN state ELSE 'finished' END"
    " WHERE id = ANY(:sends) AND closed_at IS NULL"
    " AND NOT EXISTS (SELECT 1 FROM outbox o WHERE o.send_id = send.id OFFSET 0)",
)


def remove(connection: Connection, group_id: int, final: Sequence[tuple[int, int]]) -> None:
    """Delete the rows of messages that are final, which is told to endpoints, and close the sends that
    have none left.

    The sends are locked first and asked in a second statement: of two groups that end at once, the
    later one sees that the other's rows are gone.
    """
    if not final:
        return
    sends, ordinals = zip(*final, strict=True)
    members = {"group": group_id, "sends": list(sends), "ordinals": list(ordinals)}
    _DELETE_FINAL.run(connection, members)
    touched = {"group": group_id, "sends": sorted(set(sends))}
    locked = _LOCK_SENDS.run(connection, touched).first()
    if locked is not None and locked.is_told:
        TELL_FINAL.run(connection, members)
    _CLOSE_SENDS.run(connection, touched)


def make_due(connection: Connection, send_id: int) -> list[int]:
    """Something happened to the send: its parked messages are due now; the groups of the others."""
    groups = connection.execute(
        text(
            "WITH freed AS (UPDATE outbox SET due_at = NULL WHERE send_id = :send AND group_id IS NULL)"
            " SELECT DISTINCT group_id FROM outbox WHERE send_id = :send AND group_id IS NOT NULL"
        ),
        {"send": send_id},
    )
    found = list(groups.scalars())
    announce(connection)
    return found


def announce(connection: Connection) -> None:
    """Tell the gatherers, once this transaction is committed, that there is work.

    Commits that announce something take turns over the whole server, each with its flush: what is
    frequent announces after its commit (`Announcer`).
    """
    connection.execute(text(f"NOTIFY {NOTICE}"))


class Announcer:
    """Announces what a process has committed, one notice for all of a moment. Thread-safe."""

    def __init__(self) -> None:
        self._next_at = 0.0
        self._lock = threading.Lock()

    def committed(self, connection: Connection) -> None:
        """There is work; `connection` commits by itself. Whether it is told or not, the sweep finds it."""
        with self._lock:
            now = time.monotonic()
            if now < self._next_at:
                return
            self._next_at = now + NOTICE_EVERY_SECONDS
        with contextlib.suppress(DBAPIError):
            announce(connection)

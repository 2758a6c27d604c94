"""How far a send is: sums of its batches' counts; which shards and batches still have work; closing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Connection, text

from domain.outcome import Outcome
from domain.send import SendState
from domain.webhook_event import WebhookEvent
from models.webhook_event import tell_campaign

# Messages of a batch that are final: all counts but the gauge of unknown ones.
_FINAL_OF_BATCH = f"""
    coalesce((SELECT sum(n::integer) FROM jsonb_each_text(b.counts) AS c(key, n)
              WHERE c.key <> '{Outcome.UNKNOWN.word}'), 0)
"""  # noqa: S608  a constant
_HAS_OPEN_ATTEMPT = """
    EXISTS (SELECT 1 FROM attempt a WHERE a.send_id = b.send_id AND a.batch_lo = b.lo
            AND a.state = 'claimed')
"""
_HAS_WORK = f"({_FINAL_OF_BATCH} < b.hi - b.lo + 1 OR {_HAS_OPEN_ATTEMPT})"


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenBatch:
    """A batch that is not done: some message is not final, or an attempt is still claimed."""

    lo: int
    resume_at: datetime | None
    """When its last driver said that it has work again; None: now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenShard:
    """The batches of a shard that have work."""

    batches: list[OpenBatch]
    is_ended: bool
    """The send is cancelled or expired."""


def open_shard(connection: Connection, send_id: int, shard: int) -> OpenShard:
    """What is left to do in a shard; empty when all its messages are final and nothing is claimed."""
    rows = connection.execute(
        text(
            "SELECT b.lo, b.resume_at FROM batch b"  # noqa: S608  constants
            f" WHERE b.send_id = :send AND b.shard = :shard AND {_HAS_WORK} ORDER BY b.lo"
        ),
        {"send": send_id, "shard": shard},
    ).mappings()
    batches = [OpenBatch(**row) for row in rows]
    is_ended = connection.execute(
        text(
            "SELECT state = :cancelled OR expires_at <= clock_timestamp() FROM send WHERE id = :send"
        ),
        {"cancelled": SendState.CANCELLED, "send": send_id},
    ).scalar_one()
    return OpenShard(batches=batches, is_ended=is_ended)


@dataclass(frozen=True, slots=True, kw_only=True)
class Closing:
    """Whether the send is closed now; if not, the shards that have work."""

    is_closed: bool
    open_shards: list[int]


def close(connection: Connection, send_id: int) -> Closing:
    """Close the send if every message is final and no attempt is claimed; else say what is open.

    The send's row is locked first and the question asked in a second statement, which has a new
    snapshot: nobody can re-drive a message in between.
    """
    send = connection.execute(
        text("SELECT state, closed_at, frozen_at FROM send WHERE id = :send FOR NO KEY UPDATE"),
        {"send": send_id},
    ).one()
    if send.closed_at is not None:
        return Closing(is_closed=True, open_shards=[])
    shards = (
        connection.execute(
            text(
                "SELECT DISTINCT b.shard FROM batch b"  # noqa: S608  constants
                f" WHERE b.send_id = :send AND {_HAS_WORK} ORDER BY b.shard"
            ),
            {"send": send_id},
        )
        .scalars()
        .all()
    )
    is_over = send.frozen_at is not None or send.state == SendState.CANCELLED
    if shards or not is_over:
        return Closing(is_closed=False, open_shards=list(shards))
    connection.execute(
        text(
            "UPDATE send SET closed_at = clock_timestamp(),"
            " state = CASE WHEN state = :cancelled THEN state ELSE :finished END WHERE id = :send"
        ),
        {"send": send_id, "cancelled": SendState.CANCELLED, "finished": SendState.FINISHED},
    )
    if send.state != SendState.CANCELLED:
        tell_campaign(connection, send_id, WebhookEvent.CAMPAIGN_FINISHED)
    return Closing(is_closed=True, open_shards=[])


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Counts of a send. `counts` has the keys of `domain.outcome.count_key`."""

    messages: int
    counts: Mapping[str, int]
    deferred: Mapping[str, int] = field(default_factory=dict)
    """Of the owed, whom the last pass left for later, by reason: a gauge, no part of the sum."""

    @property
    def final(self) -> int:
        """Messages of which nothing more is to come."""
        return sum(n for key, n in self.counts.items() if key != Outcome.UNKNOWN.word)

    @property
    def owed(self) -> int:
        """Messages that are not final, the unknown ones among them."""
        return self.messages - self.final

    def of(self, outcome: Outcome) -> int:
        """Messages of this outcome, whatever the reason."""
        return sum(self.by_reason(outcome).values()) + self.counts.get(outcome.word, 0)

    def by_reason(self, outcome: Outcome) -> dict[str, int]:
        """Messages of this outcome that have a reason, by reason."""
        prefix = outcome.word + ":"
        return {
            key.removeprefix(prefix): n
            for key, n in sorted(self.counts.items())
            if key.startswith(prefix) and n
        }


def progress(connection: Connection, send_id: int) -> Progress:
    """Where the send stands by its batches' counts; a few rows, however many messages."""
    messages = connection.execute(
        text("SELECT messages FROM send WHERE id = :send"), {"send": send_id}
    ).scalar_one()
    return Progress(
        messages=messages,
        counts=_sums(connection, send_id, "counts"),
        deferred=_sums(connection, send_id, "deferred"),
    )


def _sums(connection: Connection, send_id: int, column: str) -> dict[str, int]:
    sums = connection.execute(
        text(
            "SELECT c.key, sum(c.n::integer)"  # noqa: S608  a column of ours
            f" FROM batch b, jsonb_each_text(b.{column}) AS c(key, n)"
            " WHERE b.send_id = :send GROUP BY c.key"
        ),
        {"send": send_id},
    )
    return {key: int(n) for key, n in sums}


def batch_is_done(connection: Connection, send_id: int, lo: int) -> bool:
    """Whether all messages of the batch are final and none of its attempts is claimed."""
    has_work: bool = connection.execute(
        text(
            f"SELECT {_HAS_WORK} FROM batch b WHERE b.send_id = :send AND b.lo = :lo"  # noqa: S608  constants
        ),
        {"send": send_id, "lo": lo},
    ).scalar_one()
    return not has_work

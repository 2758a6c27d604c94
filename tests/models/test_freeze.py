"""The freeze: once, without gaps, in ranges of recipients."""

from __future__ import annotations

from sqlalchemy import Engine, text

from models.campaign import find_campaign
from models.freeze import Frozen, freeze
from tests.builders import Draft, a_draft, scalar, scalars


def freeze_it(engine: Engine, send_id: int, *, per_batch: int = 100, shard: int = 250) -> Frozen:
    with engine.begin() as connection:
        return freeze(connection, send_id, most_per_batch=per_batch, shard_size=shard)


def test_batches_cover_the_audience_without_gap_or_overlap(engine: Engine) -> None:
    send_id = a_draft(engine, Draft(people=1_033))

    frozen = freeze_it(engine, send_id)

    assert frozen == Frozen(messages=1_033, shards=5)
    bounds = list(scalars(engine, "SELECT lo || '-' || hi FROM batch ORDER BY lo"))
    assert bounds[:2] + bounds[-1:] == ["1-100", "101-200", "1001-1033"]
    assert scalars(engine, "SELECT DISTINCT shard FROM batch ORDER BY 1") == [0, 1, 2, 3, 4]
    outside = scalar(
        engine,
        "SELECT count(*) FROM message m JOIN batch b ON m.ordinal BETWEEN b.lo AND b.hi"
        " WHERE m.recipient_id NOT BETWEEN b.recipient_lo AND b.recipient_hi",
    )
    assert outside == 0


def test_a_second_freeze_answers_what_the_first_made(engine: Engine) -> None:
    send_id = a_draft(engine, Draft(people=30))
    first = freeze_it(engine, send_id)
    with engine.begin() as connection:
        connection.execute(text("UPDATE subscription SET state = 'left'"))

    assert freeze_it(engine, send_id) == first
    assert scalar(engine, "SELECT count(*) FROM message") == 30


def test_who_is_not_subscribed_at_the_freeze_is_counted_by_reason(engine: Engine) -> None:
    send_id = a_draft(engine, Draft(people=30))
    with engine.begin() as connection:
        connection.execute(
            text(
                "UPDATE subscription SET state = CASE WHEN recipient_id % 3 = 0 THEN 'left'"
                " ELSE 'pending' END WHERE recipient_id % 3 <> 1"
            )
        )

    frozen = freeze_it(engine, send_id)

    with engine.connect() as connection:
        excluded = find_campaign(connection, send_id).excluded
    assert (frozen.messages, excluded) == (10, {"left": 10, "pending": 10})


def test_a_slow_send_has_small_batches(engine: Engine) -> None:
    send_id = a_draft(engine, Draft(people=1_000, rate=10))

    freeze_it(engine, send_id, per_batch=5_000)

    assert scalar(engine, "SELECT max(hi - lo + 1) FROM batch") == 200

"""The client while parts end and come back: everything is done once, and the caller need not care."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import settings as settings_module
from carillon_client import (
    NO_RETRIES,
    AsyncCarillon,
    Carillon,
    NewMessage,
    TooManyRequests,
    Unavailable,
    Unreachable,
)
from models.database import connect
from models.schema import upgrade
from stack.development import DevelopmentStack
from tests.builders import scalar, scalars
from tests.clients.conftest import SOON, Retried, Served, serve

ORDER = {"order": "A-17"}


def sends_of(served: Served, key: str) -> Any:
    """How many sends have the key."""
    return scalar(
        served.engine, "SELECT count(*) FROM send WHERE idempotency_key = :key", {"key": key}
    )


def test_equal_calls_through_a_kill_of_the_api_have_one_effect(
    served: Served, retried: Retried
) -> None:
    # Without keys of their own: only the bulk's can keep them from being sent twice.
    messages = [NewMessage("order-shipped", f"person-{n % 10 + 1}", ORDER) for n in range(300)]
    before = scalar(served.engine, "SELECT count(*) FROM send")
    carillon = served.client()

    with ThreadPoolExecutor(8) as pool:
        asked = [
            pool.submit(carillon.send_many, messages, idempotency_key="kill") for _ in range(8)
        ]
        # One of them is worked on now, and another was told so.
        assert retried.happened.wait(60)
        served.web.kill()
        served.web.start()
        bulks = [one.result() for one in asked]

    assert {bulk.accepted for bulk in bulks} == {300}
    assert len({bulk.items for bulk in bulks}) == 1
    assert scalar(served.engine, "SELECT count(*) FROM send") == before + 300
    assert set(retried.reasons) - {"409"}, "no connection was lost"


async def test_an_api_that_is_away_is_waited_for_or_said(served: Served, retried: Retried) -> None:
    served.web.kill()

    with pytest.raises(Unreachable, match="asked once") as caught:
        served.client(NO_RETRIES).send("order-shipped", "person-1", ORDER)
    key = str(caught.value.idempotency_key)
    with ThreadPoolExecutor(1) as pool:
        started = pool.submit(lambda: retried.happened.wait(60) and served.web.start())
        async with AsyncCarillon(served.web.url, served.key(), retries=SOON) as carillon:
            sent = await carillon.send("order-shipped", "person-1", ORDER, idempotency_key=key)
        assert started.result()

    assert sent.idempotency_key == key
    assert not sent.is_repeat
    assert "ConnectError" in retried.reasons
    assert sends_of(served, key) == 1


def test_who_asks_too_often_waits_as_long_as_the_api_says(served: Served, retried: Retried) -> None:
    # One a second, two at once.
    key = served.key(rate=1)
    patient = Carillon(served.web.url, key)
    hasty = Carillon(served.web.url, key, retries=NO_RETRIES)

    sent = [patient.send("order-shipped", "person-1", ORDER) for _ in range(3)]
    with pytest.raises(TooManyRequests) as caught:
        for _ in range(3):
            hasty.dry_run("order-shipped", "person-1", ORDER)

    assert len({each.id for each in sent}) == 3
    assert set(retried.reasons) == {"429"}
    assert caught.value.retry_after is not None
    assert caught.value.retry_after >= timedelta(seconds=1)


@pytest.fixture
def postgres(run_dir: Path) -> Iterator[DevelopmentStack]:
    """A server of the test's own, that it may stop."""
    settings = settings_module.load(data_dir=run_dir / "client", _env_file=None)
    with DevelopmentStack(settings, parts={"postgres"}, free_ports=True) as stack:
        yield stack


def test_while_postgresql_is_away_a_call_is_retried_until_it_is_back(
    postgres: DevelopmentStack, tmp_path: Path, retried: Retried
) -> None:
    url = postgres.settings().database_url
    engine = connect(url)
    upgrade(engine)
    engine.dispose()
    with serve(url, tmp_path) as shop:
        key = shop.key()
        hasty, patient = (
            Carillon(shop.web.url, key, retries=NO_RETRIES),
            Carillon(shop.web.url, key),
        )

        shop.engine.dispose()
        postgres.stop()
        with pytest.raises(Unavailable) as caught:
            hasty.send("order-shipped", "person-1", ORDER)
        with ThreadPoolExecutor(1) as pool:
            asked = pool.submit(patient.send, "order-shipped", "person-1", ORDER)
            assert retried.happened.wait(60)
            postgres.start()
            sent = asked.result()
        stored = scalars(shop.engine, "SELECT idempotency_key FROM send")

    assert caught.value.kind == "database-away"
    assert caught.value.retry_after == timedelta(seconds=5)
    assert set(retried.reasons) == {"503"}
    assert stored == [sent.idempotency_key]

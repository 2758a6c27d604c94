"""An event is one body, and tells everybody once."""

from __future__ import annotations

from carillon_client import AsyncCarillon, Carillon
from domain.api_key import Scope
from domain.digest import Cadence
from tests.builders import scalar
from tests.clients.conftest import SOON, Served
from tests.topics import NEWS, a_topic, join


async def test_an_event_tells_everybody_once(served: Served) -> None:
    topic = a_topic(served.engine)
    with served.engine.begin() as connection:
        join(connection, (topic,), Cadence.IMMEDIATE)
    key = served.key([Scope.EVENTS_WRITE.value])

    with Carillon(served.web.url, key, retries=SOON) as carillon:
        event = carillon.event("orders", "order-A-17", NEWS)
    async with AsyncCarillon(served.web.url, key, retries=SOON) as carillon_too:
        again = await carillon_too.event("orders", "order-A-17", NEWS)

    members = scalar(served.engine, f"SELECT count(*) FROM subscription WHERE topic_id = {topic}")
    assert (event.topic, event.key, event.digest_items) == ("orders", "order-A-17", 0)
    assert event.messages == members >= 10
    assert (event.is_repeat, again.is_repeat) == (False, True)
    assert (again.id, again.send) == (event.id, event.send)
    assert scalar(served.engine, "SELECT count(*) FROM topic_event") == 1

"""Records histories for test_replay.py:  python -m tests.workflows.record_histories VERSION [--messages | --digests | --webhooks]

Of real campaigns, or with --messages of single messages, with --digests of a period of digests, with
--webhooks of an endpoint that fails first.

Run it when workflows gain something new; existing files stay as they are.
"""

from __future__ import annotations

import asyncio
import json
import re
import site
import sys
import tempfile
import time
from pathlib import Path

from sqlalchemy import create_engine, make_url, text

import settings as settings_module
from activities.contract import RequestInput
from domain.digest import Cadence
from models.database import connect
from models.schema import upgrade
from models.webhook_event import tell_test
from stack.development import DevelopmentStack
from starter.client import connect as connect_temporal
from tests.builders import Draft
from tests.providers.http_peer import Act, HttpPeer, Seen, answer
from tests.requests import a_client, a_shop
from tests.scenario import Scenario, wait_until
from tests.topics import NEWS, a_topic, members
from tests.webhooks import an_endpoint
from workflows.contract import (
    SEARCH_ATTRIBUTES,
    TRANSACTIONAL_QUEUE,
    campaign_workflow_id,
    digests_workflow_id,
    messages_workflow_id,
    shard_workflow_id,
    upkeep_workflow_id,
    webhook_workflow_id,
)
from workflows.request_send import RequestSend

FOLDER = Path(__file__).parent / "histories"


async def fetch(made: Scenario, workflow_id: str, name: str) -> None:
    """Write one workflow's history, without name and paths of the machine it ran on."""
    path = FOLDER / f"{name}.json"
    if path.exists():
        raise SystemExit(f"{path.name} is there already: never record over an old history")
    client = await connect_temporal(made.settings)
    history = (await client.get_workflow_handle(workflow_id).fetch_history()).to_json()
    scrubbed = re.sub(r'"identity": ?"[^"]*"', '"identity": "worker"', history)
    scrubbed = re.sub(r'"name": ?"\d+@[^"]*"', '"name": "worker"', scrubbed)
    for folder in (site.getsitepackages()[0], str(Path(__file__).parents[2])):
        scrubbed = scrubbed.replace(f"{folder}/", "")
    document = {"id": workflow_id, "history": json.loads(scrubbed)}
    path.write_text(json.dumps(document, indent=1) + "\n")


def fetch_campaign(made: Scenario, name: str) -> None:
    """The campaign's and its first shard's history."""
    asyncio.run(fetch(made, campaign_workflow_id(made.send_id), f"{name}-campaign"))
    asyncio.run(fetch(made, shard_workflow_id(made.send_id, 0), f"{name}-shard"))


def normal(made: Scenario) -> None:
    made.begin(Draft(people=250))
    made.wait_closed()


def paused(made: Scenario) -> None:
    made.begin(Draft(people=600, rate=200))
    made.wait_received(100)
    made.change("paused")
    wait_until(lambda: not made.values("SELECT 1 FROM batch WHERE owner IS NOT NULL"), 10)
    made.change("running")
    made.wait_closed()


def retried(made: Scenario) -> None:
    rule = {"provider": "sendgrid", "kind": "status", "status": 503, "at_request": [1, 2, 3, 4]}
    made.simulator.faults(rule)
    made.begin(Draft(people=250))
    made.wait_closed()
    made.simulator.no_faults()


def cancelled(made: Scenario) -> None:
    made.begin(Draft(people=600, rate=100))
    made.wait_received(100)
    made.change("cancelled")
    made.wait_closed()


def messages(made: Scenario, version: str) -> None:
    """A group that is sent at once, one whose provider is away at first, and a request by JSON."""
    a_shop(made.engine)
    client = a_client(made.engine, made.settings)
    rule = {"provider": "sendgrid", "kind": "status", "status": 503, "at_request": [1]}
    for name, faults in (("messages", []), ("messages_retried", [rule])):
        if faults:
            made.simulator.faults(*faults)
        sent = client.send_blocking("order-shipped", to="person-1", variables={"order": 1})
        group = wait_for_group(made, sent.send_id)
        wait_until(lambda: made.value("SELECT count(*) FROM outbox") == 0, 20)
        time.sleep(1)
        asyncio.run(fetch(made, messages_workflow_id(group), f"{name}-{version}"))
    made.simulator.no_faults()
    asyncio.run(request(made))
    asyncio.run(fetch(made, "request:default:recorded", f"request-{version}"))


def wait_for_group(made: Scenario, send_id: int) -> int:
    find = f"SELECT group_id FROM attempt WHERE {send_id} = ANY(sends) LIMIT 1"
    wait_until(lambda: made.value(find), 20)
    return int(made.value(find))


async def request(made: Scenario) -> None:
    client = await connect_temporal(made.settings)
    given = RequestInput(
        key="recorded", template="order-shipped", to=["person-2"], variables={"order": 2}
    )
    await client.execute_workflow(
        RequestSend.run, given, id="request:default:recorded", task_queue=TRANSACTIONAL_QUEUE
    )


def single_messages(stack: DevelopmentStack, folder: Path, database: str, version: str) -> None:
    made = Scenario(stack, database, folder)
    made.workers.start("single", "transactional,upkeep")
    messages(made, version)
    made.close()


def digests(stack: DevelopmentStack, folder: Path, database: str, version: str) -> None:
    """A day's digests, which the reconciler finds."""
    made = Scenario(stack, database, folder, default_from="Shop <shop@example.com>")
    members(made.engine, 3, a_topic(made.engine), cadence=Cadence.DAILY)
    a_client(made.engine, made.settings).event_blocking("orders", "k", NEWS)
    with made.engine.begin() as connection:
        connection.execute(text("UPDATE digest_period SET ends_at = now() - interval '1 day'"))
    made.workers.start("main", "orchestration,upkeep")
    wait_until(lambda: made.value("SELECT written_at FROM digest_period"), 30)
    time.sleep(1)
    period = made.value("SELECT period FROM digest_period")
    name = digests_workflow_id("daily", period, "default")
    asyncio.run(fetch(made, name, f"digests-{version}"))
    made.close()


def webhooks(stack: DevelopmentStack, folder: Path, database: str, version: str) -> None:
    """Three events for an endpoint that is not well at first: the watch finds them."""
    made = Scenario(stack, database, folder)

    def act(seen: Seen) -> Act:
        return answer(500 if len(peer.seen) == 1 else 204)

    peer = HttpPeer(act)
    endpoint = an_endpoint(made.engine, url=f"{peer.url}/events")
    with made.engine.begin() as connection:
        for _ in range(3):
            tell_test(connection, endpoint)
    made.workers.start("main", "upkeep")
    wait_until(
        lambda: made.value("SELECT bool_and(delivered_at IS NOT NULL) FROM webhook_delivery"), 30
    )
    time.sleep(1)
    asyncio.run(fetch(made, webhook_workflow_id(endpoint), f"webhooks-{version}"))
    made.close()
    peer.close()


def main() -> None:
    version = sys.argv[1]
    FOLDER.mkdir(exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="carillon-record-"))
    folder.chmod(0o755)
    settings = settings_module.load(data_dir=folder, _env_file=None)
    names = [attribute.name for attribute in SEARCH_ATTRIBUTES]
    with DevelopmentStack(
        settings,
        parts={"postgres", "temporal", "simulator"},
        free_ports=True,
        search_attributes=names,
    ) as stack:
        url = make_url(stack.settings().database_url)
        if "--digests" in sys.argv:
            upgrade(connect(stack.settings().database_url))
            digests(stack, folder, stack.settings().database_url, version)
            return
        if "--webhooks" in sys.argv:
            upgrade(connect(stack.settings().database_url))
            webhooks(stack, folder, stack.settings().database_url, version)
            return
        if "--messages" in sys.argv:
            upgrade(connect(stack.settings().database_url))
            single_messages(stack, folder, stack.settings().database_url, version)
            return
        for story in (normal, paused, retried, cancelled):
            admin = create_engine(url.set(database="postgres"), isolation_level="AUTOCOMMIT")
            with admin.connect() as connection:
                connection.execute(text(f"CREATE DATABASE {story.__name__}"))
            database = url.set(database=story.__name__).render_as_string(hide_password=False)
            upgrade(connect(database))
            made = Scenario(stack, database, folder)
            made.start_workers()
            story(made)
            time.sleep(1)  # the workflow ends a moment after its rows
            fetch_campaign(made, f"{story.__name__}-{version}")
            if story is normal:
                name = f"upkeep-{version}"
                asyncio.run(fetch(made, upkeep_workflow_id("reconcile"), name))
            made.close()


if __name__ == "__main__":
    main()

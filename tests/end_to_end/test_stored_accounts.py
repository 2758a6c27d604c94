"""Accounts that are stored while workers run: taken up, removed and given back; the secret stays in."""

from __future__ import annotations

import asyncio
import base64
from collections import Counter
from collections.abc import Callable

from pydantic import SecretStr
from sqlalchemy import text
from temporalio.client import Client

from models.database import clock, in_transaction
from models.team import default_team_id
from starter.stored_accounts import NewAccount, add_account, remove_account
from tests.builders import Draft
from tests.scenario import Scenario, wait_until

MakeScenario = Callable[..., Scenario]

PASSWORD = "never-to-be-seen-4711"
MASTER = base64.b64encode(b"master-key-of-the-credentials-32").decode()


def store_relay(made: Scenario) -> None:
    """The simulator's relay, as a real account with user and password, by way of the use case."""
    url = made.settings.simulator_smtp_url.replace("smtp://", f"smtp://user:{PASSWORD}@")
    new = NewAccount(key="relay", provider="smtp", credentials={"smtp_url": url})
    in_transaction(
        made.engine,
        lambda c: add_account(c, made.settings, default_team_id(c), new, actor="operator"),
    )


def a_scenario(make_scenario: MakeScenario) -> Scenario:
    """With workers that hold the key, and no account of this name yet."""
    made = make_scenario(public_url="https://news.example.org", log_level="DEBUG")
    keys = f"one:{MASTER}"
    made.settings = made.settings.model_copy(update={"credential_keys": SecretStr(keys)})
    made.start_workers(credential_keys=keys)
    return made


def histories(made: Scenario) -> str:
    """Everything that Temporal holds about the campaign and its shards, payloads decoded."""

    async def read() -> str:
        settings = made.settings
        client = await Client.connect(
            settings.temporal_address, namespace=settings.temporal_namespace
        )
        found = []
        async for run in client.list_workflows(
            "SendKind = 'campaign' OR WorkflowType = 'SendShard'"
        ):
            history = await client.get_workflow_handle(run.id, run_id=run.run_id).fetch_history()
            for event in history.events:
                found.append(str(event))
        return "\n".join(found)

    return asyncio.run(read())


def test_running_workers_take_up_a_stored_account_and_its_secret_is_seen_nowhere(
    make_scenario: MakeScenario,
) -> None:
    made = a_scenario(make_scenario)
    store_relay(made)

    made.begin(Draft(people=40, account="relay"))
    wait_until(lambda: made.value("SELECT closed_at FROM send"), 40)

    assert made.copies() == Counter(dict.fromkeys(range(1, 41), 1))
    tables = made.values(
        "SELECT relname FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace"
        " WHERE n.nspname = 'public' AND relkind IN ('r', 'p') AND NOT relispartition"
    )
    with made.engine.connect() as connection:
        rows = "\n".join(
            str(row)
            for table in tables
            for row in connection.execute(text(f"SELECT CAST(t AS text) FROM {table} t"))
        )
    logs = "\n".join(log.read_text() for log in made.folder.glob("worker-*.log"))
    for what, seen in (("rows", rows), ("logs", logs), ("histories", histories(made))):
        assert len(seen) > 1000, what
        for secret in (PASSWORD, PASSWORD.encode().hex(), MASTER):
            assert secret not in seen, what
    for what, seen in (("logs", logs), ("histories", histories(made))):
        assert "person-1" not in seen, what


def test_a_removed_account_is_stopped_by_the_claim_and_goes_on_when_it_is_added_again(
    make_scenario: MakeScenario,
) -> None:
    made = a_scenario(make_scenario)
    store_relay(made)
    made.begin(Draft(people=120, account="relay", rate=30))
    wait_until(lambda: len(made.copies()) > 20, 30)

    in_transaction(
        made.engine,
        lambda c: remove_account(c, made.settings, default_team_id(c), "relay", actor="operator"),
    )
    with made.engine.connect() as connection:
        removed_at = clock(connection)
    settled = "SELECT count(*) = 0 FROM attempt WHERE state = 'claimed'"
    free = "SELECT count(*) = 0 FROM batch WHERE lease_until > clock_timestamp()"
    wait_until(lambda: made.value(settled) and made.value(free), 20)
    with made.engine.connect() as connection:
        later = connection.execute(
            text("SELECT count(*) FROM attempt WHERE claimed_at > :at"), {"at": removed_at}
        ).scalar_one()
    sent = len(made.copies())
    store_relay(made)
    wait_until(lambda: made.value("SELECT closed_at FROM send"), 60)

    assert later == 0
    assert sent < 120
    assert made.copies() == Counter(dict.fromkeys(range(1, 121), 1))

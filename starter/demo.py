"""`carillon demo`: ten thousand fictional people, one newsletter, a simulated provider that misbehaves
four times, and a single message with its trace; nothing in the environment can make it talk to anybody else."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any

from rich.console import Console, Group
from rich.panel import Panel
from rich.text import Text
from sqlalchemy import Engine

import examples
import settings as settings_module
from settings import Settings
from stack.development import DevelopmentStack
from starter import campaigns, context, output
from starter.accounts import keep_accounts
from starter.demo_message import send_one
from starter.follow import follow
from starter.recipients_import import import_recipients
from starter.report_table import report_table
from starter.reports import report
from starter.suppressions_import import import_suppressions
from starter.templates import publish
from workflows.contract import SEARCH_ATTRIBUTES

EXAMPLES = Path(examples.__file__).parent
TOPIC = "newsletter"
RATE = 400.0

# The demo's own times: seconds where production waits for minutes.
DEMO_TIMES = {
    "messages_per_request": 100,
    "request_timeout": 5.0,
    "unknown_wait": 5.0,
    "resume_grid": 1.0,
    "backoff_first": 1.0,
    "reconcile_every": 2.0,
    "reconcile_send_every": 5.0,
    "look_every": 5.0,
    "lease": 5.0,
    "lease_renewal": 1.0,
    "heartbeat_timeout": 5.0,
}

# Counted per request and the same in every run.
REFUSED_ADDRESS = "catarina.conceicao.1@home.mail.example.net"
FAULTS: list[dict[str, Any]] = [
    {"provider": "sendgrid", "kind": "status", "status": 429, "retry_after": 1, "at_request": [12]},
    {"provider": "sendgrid", "kind": "status", "status": 503, "at_request": [25]},
    {"provider": "sendgrid", "kind": "accept_then_close", "at_request": [40]},
    {"provider": "sendgrid", "kind": "refuse_address", "match": [REFUSED_ADDRESS]},
]


def run() -> int:
    """Run the demo; 0 if the accounts balance. With a terminal it stays up until Ctrl-C."""
    console = output.console(stderr=True)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    stack = _stack(console)
    try:
        with stack:
            balanced = asyncio.run(_campaign(stack, console))
            if sys.stdout.isatty():
                with suppress(KeyboardInterrupt):
                    _stay(console)
    except KeyboardInterrupt:
        console.print("Stopped. The data stays in .carillon/demo; `make demo` goes on from there.")
        return 130
    return 0 if balanced else 1


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def demo_settings() -> Settings:
    """The demo's settings: its own folder and times; whatever leads outside is ignored."""
    return settings_module.load(data_dir=Path(".carillon/demo"), worker_processes=2, **DEMO_TIMES)


def _stack(console: Console) -> DevelopmentStack:
    settings = demo_settings()
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    faults = settings.data_dir / "faults.json"
    faults.write_text(json.dumps(FAULTS))
    console.print(
        "[bold]Carillon demo[/] · starting PostgreSQL, Temporal, simulator, workers, web …"
    )
    return DevelopmentStack(
        settings,
        isolated=True,
        faults=faults,
        search_attributes=[attribute.name for attribute in SEARCH_ATTRIBUTES],
        say=lambda sentence: console.print(sentence, style="dim"),
    )


async def _campaign(stack: DevelopmentStack, console: Console) -> bool:
    settings = stack.settings()
    engine = context.reach_database(settings)
    _print_addresses(settings, console)
    _prepare(engine, settings, console)
    campaign = campaigns.create(
        engine,
        settings,
        campaigns.Wish(
            name=f"Autumn letter {time.strftime('%H:%M:%S')}",
            topic=TOPIC,
            template="november-letter",
            account="simulator",
            rate=RATE,
        ),
    )
    _print_invitation(stack, campaign.public_id, console)
    await campaigns.start(engine, settings, campaign.id)
    follow(engine, campaign.id, console)
    made = report(engine, campaign.id)
    output.show(made, lambda: report_table(made))
    _print_subjects(settings, console)
    is_balanced = await send_one(engine, settings, console)
    _print_addresses(settings, console)
    engine.dispose()
    return bool(made["balanced"]) and is_balanced


def _prepare(engine: Engine, settings: Settings, console: Console) -> None:
    """People, suppressions, topic and template; a second run finds most of it there."""
    from models.team import default_team_id
    from models.topic import add_topic

    with engine.begin() as connection:
        add_topic(
            connection, default_team_id(connection), TOPIC, "The bookshop's letter", "explicit"
        )
        keep_accounts(connection, settings)
    rejects = settings.data_dir / "people.csv"
    rejects.write_bytes((EXAMPLES / "people.csv").read_bytes())
    people = import_recipients(engine, rejects, topic=TOPIC)
    suppressed = import_suppressions(engine, EXAMPLES / "suppressions.csv")
    label = publish(engine, EXAMPLES / "newsletter")
    console.print(
        f"Imported {people.rows:,} rows: {people.added:,} people added, {people.unchanged:,} unchanged,"
        f" {people.merged:,} merged, {people.rejected:,} rejected (see {people.rejects_path});"
        f" {suppressed.rows:,} suppressions; template {label}."
    )


def _print_invitation(stack: DevelopmentStack, campaign_id: str, console: Console) -> None:
    """What a curious person may do to the campaign while it runs."""
    console.print(
        f"Campaign [bold]{campaign_id}[/] at {RATE:g} messages a second. Meanwhile, in another terminal:"
    )
    worker = stack.supervisor.pid_of("worker-campaign-1")
    for what, command in (
        ("pause it", f"CARILLON_DATA_DIR=.carillon/demo ./carillon campaign pause {campaign_id}"),
        ("and go on", f"CARILLON_DATA_DIR=.carillon/demo ./carillon campaign resume {campaign_id}"),
        ("kill a worker", f"kill -9 {worker}"),
    ):
        console.print(Text(f"  {what:<14}").append(command, style="cyan"), soft_wrap=True)


def _print_addresses(settings: Settings, console: Console) -> None:
    lines = [
        Text(f"{what:<13}").append(url, style="cyan underline")
        for what, url in (
            ("Temporal UI", f"{settings.temporal_ui_url}/namespaces/default/workflows"),
            ("Inbox", f"http://127.0.0.1:{settings.simulator_port}/"),
        )
    ]
    console.print(Panel(Group(*lines), title="Look inside", title_align="left", expand=False))


def _print_subjects(settings: Settings, console: Console) -> None:
    """Three subjects as they arrived, those of unusual names first."""
    log = (settings.data_dir / "simulator" / "received.jsonl").read_text("utf-8").splitlines()
    entries = [json.loads(line) for line in log[-10_000:]]
    unusual = [entry for entry in entries if set(entry["subject"]) & set("<>\"'=&")]
    console.print("Three subjects as they arrived:")
    for entry in [*unusual[:2], *entries][:3]:
        console.print(Text(f"  {entry['to']}: {entry['subject']}"))


def _stay(console: Console) -> None:
    console.print("All of it stays up. Ctrl-C stops it.", style="bold")
    while True:
        time.sleep(3600)

"""carillon redrive and carillon deadletters: what failed, and sending it again."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from domain.identifier import SEND_PREFIX, key_of
from starter import context, output
from starter.commands.messages import parse_duration


def register(app: typer.Typer) -> None:
    """Add the two commands."""
    app.command()(redrive)
    app.command()(deadletters)


def redrive(
    send: Annotated[str, typer.Option(help="The finished send's id, snd_…", metavar="ID")],
    reason: Annotated[str, typer.Option(help="Why; kept in each message's history.")],
) -> None:
    """Send again what failed of a finished send (rejected or unconfirmed), and nothing else."""
    from starter.redrive import redrive_send

    send_id = key_of(SEND_PREFIX, send)
    done = asyncio.run(redrive_send(context.engine(), context.settings(), send_id, reason))
    output.show(
        {"id": send, "messages": done.messages},
        lambda: f"{done.messages:,} messages of {send} are sent again.",
    )


def deadletters(
    since: Annotated[str, typer.Option(help="How far back: 12h, 7d.")] = "7d",
) -> None:
    """Messages that were rejected or are unconfirmed, by send and reason."""
    from starter.redrive import list_dead_letters

    found = list_dead_letters(context.engine(), parse_duration(since))
    columns = ("send", "name", "template", "state", "why", "messages", "command")
    output.show(
        {"deadletters": found},
        lambda: output.table(
            columns, [[row[column] for column in columns] for row in found], "Nothing failed."
        ),
    )

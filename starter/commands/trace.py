"""carillon trace: what became of a message, and where it waits now."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from domain.identifier import SEND_PREFIX, public_id
from domain.outcome import count_key
from starter import context, output

if TYPE_CHECKING:
    from collections.abc import Iterator

    from models.trace import MessageLine
    from starter.trace import Trace


def trace(
    what: Annotated[
        str,
        typer.Argument(
            metavar="MESSAGE|RECIPIENT",
            help="snd_…/1 (or snd_… of a single message); rcp_…, an external id or an address.",
        ),
    ],
) -> None:
    """What became of a message, in order of time; or a recipient's newest messages."""
    from starter.trace import listed, parse_message
    from starter.trace import trace as trace_one

    engine = context.engine()
    if what.startswith(SEND_PREFIX) and "/" in what:
        _show(trace_one(engine, context.settings(), *parse_message(what)))
        return
    lines = listed(engine, what)
    if what.startswith(SEND_PREFIX) and len(lines) == 1:
        _show(trace_one(engine, context.settings(), lines[0].send_id, lines[0].ordinal))
        return
    _show_list(lines)


def _show(found: Trace) -> None:
    output.show(found, lambda: "\n".join(trace_lines(found)))


def trace_lines(found: Trace) -> Iterator[str]:
    """The trace as people read it, line by line."""
    address = f" <{found.address}>" if found.address else ""
    yield f"{found.send}/{found.ordinal} to {found.recipient}{address}"
    for entry in found.entries:
        yield f"{entry.at:%Y-%m-%d %H:%M:%S.%f}"[:-3] + f"  {entry.text}"
    now = found.now
    yield f"now: {now['state']}, progress {now['progress']}, step {now['step']}"
    rules = ", ".join(rule["rule"] for rule in found.verdict["rules"])
    yield f"rules now: {found.verdict['now']}" + (f" (apply: {rules})" if rules else "")
    facts = [
        f"{name}={value}" for name, value in found.verdict["facts"].items() if value is not None
    ]
    yield "facts: " + " ".join(facts)
    if now["waits"]:
        until = f" until {now['until']:%Y-%m-%d %H:%M:%S} UTC" if now["until"] else ""
        yield f"waits {now['waits']}{until}"
    if now["workflow"]:
        yield f"driven by {now['workflow']}"


def _show_list(lines: list[MessageLine]) -> None:
    rows = [
        {
            "message": f"{public_id(SEND_PREFIX, line.send_id)}/{line.ordinal}",
            "created_at": line.created_at,
            "template": line.template,
            "recipient": line.recipient,
            "channel": line.channel,
            "outcome": count_key(line.outcome, line.reason),
            "progress": line.progress.word,
        }
        for line in lines
    ]
    columns = ("message", "created_at", "template", "recipient", "channel", "outcome", "progress")
    output.show(
        {"messages": rows},
        lambda: output.table(
            columns, [[row[column] for column in columns] for row in rows], "No message yet."
        ),
    )

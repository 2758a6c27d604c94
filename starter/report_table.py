"""A campaign's report as people read it."""

from __future__ import annotations

from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

COUNTS = ("accepted", "rejected", "unknown", "unconfirmed", "expired", "cancelled")


def report_table(made: dict[str, Any]) -> Group:
    """Title, counts with their reasons, and what to do next."""
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column()
    table.add_column(justify="right")
    table.add_row("messages", _n(made["messages"]), style="bold")
    for word in COUNTS:
        if made[word] or word == "accepted":
            table.add_row(f"  {word}", _n(made[word]))
        if word == "rejected":
            _reasons(table, made.get("rejected_reasons", {}))
    skipped = made["skipped"]
    if skipped:
        table.add_row("  skipped", _n(sum(skipped.values())))
        _reasons(table, skipped)
    table.add_row("  owed", _n(made["owed"]))
    _reasons(table, {f"waiting: {reason}": n for reason, n in made["deferred"].items()})
    for reason, n in made["excluded"].items():
        table.add_row(f"not in the audience: {reason}", _n(n), style="dim")
    title = Text(f"{made['name']} · {made['state']}", style="bold")
    about = Text(f"{made['id']} · {made['template']} → {made['topic']} · account {made['account']}")
    return Group(title, about, table, *_remarks(made))


def _reasons(table: Table, reasons: dict[str, int]) -> None:
    for reason, n in reasons.items():
        table.add_row(f"    {reason}", _n(n), style="dim")


def _remarks(made: dict[str, Any]) -> list[Text]:
    remarks = [Text(sentence, style="yellow") for sentence in made.get("advice", [])]
    remarks += [
        Text(f"Does not balance: {problem}", style="red") for problem in made.get("problems", [])
    ]
    if made.get("balanced"):
        remarks.append(
            Text("The accounts balance: every message is counted exactly once.", "green")
        )
    return remarks


def _n(number: int) -> str:
    return f"{number:,}"

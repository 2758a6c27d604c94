"""carillon in-app: what a recipient finds inside the application."""

from __future__ import annotations

from typing import Annotated

import typer

from domain.identifier import ITEM_PREFIX, key_of
from starter import context, output

app = typer.Typer(no_args_is_help=True, help="In-app items: list them, and read one.")

Who = Annotated[
    str, typer.Argument(metavar="RECIPIENT", help="rcp_…, an external id or an address.")
]


@app.command("list")
def list_command(who: Who) -> None:
    """The recipient's newest items."""
    from starter.in_app import items

    found = items(context.engine(), who)
    columns = ("id", "title", "created_at", "seen_at", "read_at")
    output.show(
        {"items": found},
        lambda: output.table(
            columns, [[row[column] for column in columns] for row in found], "No item yet."
        ),
    )


@app.command()
def read(
    who: Who,
    item: Annotated[list[str], typer.Argument(metavar="ITEM…", help="itm_…, one or more.")],
) -> None:
    """Mark items as read: a channel plan that waited for it goes no further."""
    from starter.in_app import read as read_items

    ids = [key_of(ITEM_PREFIX, given) for given in item]
    changed = read_items(context.engine(), context.settings(), who, ids)
    output.show({"read": changed}, lambda: f"{changed} of {len(ids)} were not read before.")

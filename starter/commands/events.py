"""`carillon event …` and `carillon digest …`: telling those who joined a topic."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from domain.digest import DIGESTED, Cadence

digests = typer.Typer(no_args_is_help=True, help="Digests: what a period's members are told.")


def event(
    topic: Annotated[str, typer.Argument(help="The topic.")],
    key: Annotated[
        str, typer.Option(help="The event's own key: the same again tells nobody again.")
    ],
    data: Annotated[Path | None, typer.Option(help="A JSON file with what happened.")] = None,
) -> None:
    """Tell everybody who joined a topic, at once or in their digest; prints the event's id."""
    from starter import context, output
    from starter.messages import Carillon
    from starter.templates import read_data

    settings, engine = context.settings(), context.engine()
    context.keep_accounts(engine, settings)
    given = read_data(data) if data else {}
    raised = Carillon(settings).event_blocking(topic, key, given)
    again = " It had been raised before." if raised.is_repeat else ""
    output.show(
        raised.as_json(),
        lambda: (
            f"{raised.public_id}: {raised.messages} at once,"
            f" {raised.digest_items} in their digest.{again}"
        ),
    )


@digests.command()
def run(
    cadence: Annotated[Cadence, typer.Argument(help="daily or weekly.")],
    period: Annotated[
        str | None, typer.Option(help="2026-11-28 or 2026-W48; else all that are open.")
    ] = None,
) -> None:
    """Write digests now, whether their day or week has ended or not; what comes later is in the next."""
    from starter import context, output
    from starter.digests import write_open

    if cadence not in DIGESTED:
        raise typer.BadParameter("write daily or weekly")
    settings, engine = context.settings(), context.engine()
    context.keep_accounts(engine, settings)
    written = [
        {"period": due.period, "messages": made.messages}
        for due, made in write_open(engine, settings, cadence, period)
    ]
    output.show(
        {"cadence": cadence, "periods": written},
        lambda: output.table(
            ("period", "messages"),
            [(each["period"], each["messages"]) for each in written],
            none=f"No {cadence} period waits to be written.",
        ),
    )


@digests.command("list")
def list_() -> None:
    """The last periods: when they end, what is in them, what came of them."""
    from starter import context, output
    from starter.digests import periods

    found = periods(context.engine())
    output.show(
        {"periods": found},
        lambda: output.table(
            ("cadence", "period", "ends", "items", "written", "messages"),
            [
                (
                    each.cadence,
                    each.period,
                    f"{each.ends_at:%Y-%m-%d %H:%M} UTC",
                    each.items,
                    f"{each.written_at:%Y-%m-%d %H:%M} UTC" if each.written_at else "",
                    each.messages,
                )
                for each in found
            ],
            none="There are no digests yet: they begin with an event to a member who wants them.",
        ),
    )

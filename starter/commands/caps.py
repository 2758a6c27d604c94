"""carillon cap: how often one person may be told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from domain.send import Channel, MessageClass

if TYPE_CHECKING:
    from models.cap import CapSummary

app = typer.Typer(no_args_is_help=True, help="Frequency caps: how often one person may be told.")


def parse_over(given: str) -> str:
    """defer or skip."""
    from domain.cap import Over

    if given not in list(Over):
        raise typer.BadParameter("write defer or skip")
    return given


@app.command()
def add(
    limit: Annotated[int, typer.Option(min=1, help="So many messages to one person.")],
    per: Annotated[str, typer.Option(help="day: a day where the person is; or hours: 24h.")],
    over: Annotated[
        str, typer.Option(callback=parse_over, help="One more: defer it, or skip it.")
    ] = "defer",
    channel: Annotated[Channel | None, typer.Option(help="Of this channel; else of all.")] = None,
    topic: Annotated[str | None, typer.Option(help="Of this topic; else of all.")] = None,
    message_class: Annotated[
        MessageClass | None, typer.Option("--class", help="Of this class; else of both.")
    ] = None,
) -> None:
    """Make a cap. Critical messages pass it; what it does not name is counted together."""
    from domain.cap import Over, parse_per
    from models.cap import NewCap, add_cap
    from models.team import default_team_id
    from models.topic import topic_id
    from starter import context, output

    try:
        hours = parse_per(per)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    with context.engine().begin() as connection:
        team = default_team_id(connection)
        made = add_cap(
            connection,
            NewCap(
                team_id=team,
                topic_id=topic_id(connection, team, topic) if topic else None,
                message_class=message_class,
                channel=channel,
                most=limit,
                hours=hours,
                over=Over(over),
            ),
        )
    output.show({"cap": made}, lambda: f"Cap {made} holds for whatever is claimed from now on.")


@app.command("list")
def list_() -> None:
    """All caps."""
    from models.cap import list_caps
    from models.team import default_team_id
    from starter import context, output

    with context.engine().connect() as connection:
        caps = list_caps(connection, default_team_id(connection))
    output.show(
        {"caps": caps},
        lambda: output.table(
            ("cap", "channel", "topic", "class", "limit", "per", "over"),
            [_row(cap) for cap in caps],
            none="There are no caps. Make one with: carillon cap add --limit 1 --per day",
        ),
    )


@app.command()
def remove(cap: Annotated[int, typer.Argument(help="Its number, as `cap list` shows it.")]) -> None:
    """End a cap and forget what was counted under it."""
    from models.cap import remove_cap
    from models.team import default_team_id
    from starter import context, output

    with context.engine().begin() as connection:
        remove_cap(connection, default_team_id(connection), cap)
    output.show({"cap": cap, "removed": True}, lambda: f"Cap {cap} is gone.")


def _row(cap: CapSummary) -> tuple[object, ...]:
    scopes = (cap.channel or "all", cap.topic or "all", cap.message_class or "both")
    return (cap.id, *scopes, cap.most, cap.per, cap.over)

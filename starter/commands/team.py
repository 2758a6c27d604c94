"""carillon team: what holds for all recipients who say nothing themselves."""

from __future__ import annotations

from typing import Annotated

import typer

from starter.commands.campaigns import parse_window

app = typer.Typer(no_args_is_help=True, help="What holds for recipients who say nothing else.")


@app.callback()
def _team() -> None:
    """With one command only, typer would take its name for an argument."""


@app.command("quiet-hours")
def quiet_hours(
    window: Annotated[
        str, typer.Argument(help="Such as 22:00-08:00, on each person's clock; or none.")
    ],
    zone: Annotated[
        str | None, typer.Option(help="Time zone of people whose own is not known.")
    ] = None,
) -> None:
    """When no marketing reaches anybody. Who waits already goes at the time that was set before."""
    from domain.person import normalise_time_zone
    from models.team import TeamClock, default_team_id, set_team_clock, team_clock
    from starter import context, output

    named = normalise_time_zone(zone) if zone is not None else None
    quiet = parse_window(window)
    with context.engine().begin() as connection:
        team = default_team_id(connection)
        known = named or team_clock(connection, team).time_zone
        set_team_clock(connection, team, TeamClock(time_zone=known, quiet=quiet))
    said = str(quiet) if quiet else None
    output.show(
        {"quiet_hours": said, "time_zone": known},
        lambda: f"Quiet hours: {said or 'none'}. Whose time zone is not known counts as {known}.",
    )

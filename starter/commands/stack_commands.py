"""carillon up, doctor, reset, db, worker, simulator: the parts Carillon runs on."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.console import RenderableType

    from settings import Settings
    from stack.doctor import Finding

db = typer.Typer(no_args_is_help=True, help="The database's schema.")

ROLES = "orchestration,campaign,upkeep"


def register(app: typer.Typer) -> None:
    """Add the commands of this module at the top level."""
    for command in (up, doctor, reset, worker, api, simulator):
        app.command()(command)
    app.add_typer(db, name="db")


def up() -> None:
    """The development stack: PostgreSQL, Temporal with UI, simulator, workers, web; Ctrl-C stops it."""
    import settings as settings_module
    from production import require_production
    from stack.development import DevelopmentStack
    from starter import output
    from workflows.contract import SEARCH_ATTRIBUTES

    attributes = [key.name for key in SEARCH_ATTRIBUTES]
    settings = settings_module.load()
    require_production(settings)
    stack = DevelopmentStack(settings, search_attributes=attributes, say=output.say)
    output.say("Starting the development stack; the first time takes a little longer…")
    stack.run(on_ready=lambda: _announce(stack.settings(), stack.addresses()))
    output.say("All parts have stopped.")


def doctor() -> None:
    """What this machine has and lacks for the development stack."""
    import settings as settings_module
    from stack.doctor import examine
    from starter import output

    findings = examine(settings_module.load())
    output.show(
        {"ok": all(finding.is_ok for finding in findings), "findings": findings},
        lambda: _findings_table(findings),
    )
    if not all(finding.is_ok for finding in findings):
        raise typer.Exit(1)


def reset(
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Delete all data of the development stack."""
    import settings as settings_module
    from stack.reset import reset as delete_data
    from starter import output

    data_dir = settings_module.load().data_dir
    if not yes:
        typer.confirm(f"Delete all data in {data_dir}?", abort=True, err=True)
    deleted = delete_data(data_dir, output.say)
    output.show(
        {"deleted": [str(path) for path in deleted]},
        lambda: "\n".join(f"Deleted {path}" for path in deleted) or "There was nothing to delete.",
    )


def worker(
    roles: Annotated[str, typer.Option(help="What this worker does, with commas between.")] = ROLES,
    processes: Annotated[int, typer.Option(min=1, max=64, help="How many of them.")] = 1,
) -> None:
    """Run workers in the foreground."""
    import worker as composition

    wanted = [role.strip() for role in roles.split(",") if role.strip()]
    unknown = [role for role in wanted if role not in composition.ROLES]
    if unknown or not wanted:
        known = ", ".join(composition.ROLES)
        raise typer.BadParameter(
            f"'{', '.join(unknown)}' is not among {known}", param_hint="--roles"
        )
    raise typer.Exit(composition.run(wanted, processes))


def api(
    processes: Annotated[
        int | None, typer.Option(min=1, max=64, help="How many; by default CARILLON_API_PROCESSES.")
    ] = None,
) -> None:
    """Run the HTTP API and the public pages in the foreground; SIGTERM stops them in order."""
    from starter import context

    # The process becomes the web process: signals reach it directly.
    environment = {**os.environ, **_addresses(context.settings())}
    if processes is not None:
        environment["CARILLON_API_PROCESSES"] = str(processes)
    os.execve(sys.executable, [sys.executable, "-P", "-m", "web"], environment)  # noqa: S606


def _addresses(settings: Settings) -> dict[str, str]:
    """What a running `carillon up` says, for a process that reads the environment alone."""
    from settings import PREFIX

    return {
        PREFIX + name.upper(): str(getattr(settings, name))
        for name in ("database_url", "public_url")
        if getattr(settings, name)
    }


def simulator(
    faults: Annotated[
        Path | None, typer.Option(help="JSON file with a list of fault rules.")
    ] = None,
) -> None:
    """Run the providers' stand-ins on their own, in the foreground, at the ports of the settings."""
    from pydantic import ValidationError

    import settings as settings_module
    from simulator.config import SimulatorConfig
    from simulator.server import run
    from stack.addresses import Part, ports_of
    from stack.errors import StackError
    from stack.ports import check_ports

    settings = settings_module.load()
    check_ports(ports_of(settings, {Part.SIMULATOR}))
    config = SimulatorConfig(
        data_dir=settings.data_dir,
        host=settings.simulator_host,
        port=settings.simulator_port,
        sendgrid_port=settings.simulator_sendgrid_port,
        smtp_port=settings.simulator_smtp_port,
        twilio_port=settings.simulator_twilio_port,
        webhook_port=settings.simulator_webhook_port,
        faults=faults,
    )
    try:
        run(config)
    except OSError as error:
        raise StackError(f"The simulator cannot start: {error}") from error
    except ValidationError as error:
        wrong = "; ".join(
            f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors()
        )
        raise StackError(f"The fault rules in {faults} are wrong: {wrong}") from error


@db.command()
def upgrade() -> None:
    """Bring the schema up to date; harmless when it is."""
    from models.schema import ensure_partitions
    from models.schema import upgrade as upgrade_schema
    from starter import context, output

    engine = context.reach_database()
    upgrade_schema(engine)
    with engine.begin() as connection:
        ensure_partitions(connection)
    output.show({"upgraded": True}, lambda: "The database's schema is up to date.")


def _announce(settings: Settings, addresses: Mapping[str, str]) -> None:
    from starter import output

    output.show({"addresses": addresses}, lambda: _panel(settings))


def _panel(settings: Settings) -> RenderableType:
    from rich.panel import Panel
    from rich.table import Table

    from stack.ports import reachable

    rows = Table.grid(padding=(0, 2))
    inbox = f"http://{reachable(settings.simulator_host)}:{settings.simulator_port}"
    pages = f"http://{reachable(settings.web_host)}:{settings.web_port}"
    for what, where in (
        ("Temporal UI", settings.temporal_ui_url),
        ("Simulated inbox", inbox),
        ("Public pages", pages),
        ("HTTP API", f"{pages}/v1/docs"),
        ("PostgreSQL", _for_psql(settings.database_url)),
        ("Temporal", settings.temporal_address),
        ("Data and logs", str(settings.data_dir)),
    ):
        rows.add_row(what, where or "not known here")
    return Panel(
        rows,
        title="Carillon is up",
        subtitle="Ctrl-C stops all of it",
        expand=False,
        border_style="green",
    )


def _for_psql(url: str) -> str:
    """The database's URL as `psql` takes it, without the password."""
    from sqlalchemy import make_url

    return make_url(url).set(drivername="postgresql").render_as_string(hide_password=True)


def _findings_table(findings: list[Finding]) -> RenderableType:
    from starter import output

    return output.table(
        ("", "what", "found", "what to do"),
        [
            (
                "ok" if finding.is_ok else "MISSING",
                finding.name,
                finding.found,
                "" if finding.is_ok else finding.remedy,
            )
            for finding in findings
        ],
        none="",
    )

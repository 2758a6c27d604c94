"""carillon: the command line. Its edge turns what is known to go wrong into one sentence and exit 1.

Commands import what is heavy when they run: `carillon --help` stays below half a second.
"""

from __future__ import annotations

import os
import sys
import tempfile
import tomllib
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import typer

from starter import output
from starter.commands import (
    accounts,
    audits,
    campaigns,
    caps,
    contacts,
    events,
    held,
    holds,
    in_app,
    keys,
    limits,
    messages,
    recipients,
    redrive,
    stack_commands,
    suppressions,
    team,
    templates,
    topics,
    trace,
    webhooks,
)

app = typer.Typer(
    name="carillon",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

# User errors by module: their message is a sentence for people. Looked up among the modules that are
# loaded, for what was raised has its module loaded, and no error should cost an import.
KNOWN = {
    "settings": ("SettingsError",),
    "domain.identifier": ("BadIdentifier",),
    "domain.person": ("InvalidValue",),
    "domain.plan": ("PlanRefused",),
    "domain.template_errors": ("TemplateError",),
    "models.account": ("UnknownAccount",),
    "models.api_key": ("UnknownKey", "KeyEnded"),
    "models.cap": ("UnknownCap",),
    "models.campaign": ("UnknownCampaign", "WrongState"),
    "models.contact": ("UnknownContact",),
    "models.database": ("DatabaseUnreachable",),
    "models.hold": ("UnknownHold",),
    "models.merge": ("MergeRefused",),
    "models.recipient_identity": ("UnknownRecipient",),
    "models.redrive": ("NotRedrivable",),
    "models.request": ("KeyReused", "UnknownSend", "TooLate"),
    "models.resolve": ("NotResolvable",),
    "models.schema": ("SchemaNotAtHead",),
    "models.template": ("UnknownTemplate",),
    "models.topic": ("UnknownTopic",),
    "models.topic_event": ("EventKeyReused",),
    "models.webhook_endpoint": ("UnknownWebhook",),
    "stack.errors": ("StackError",),
    "starter.api_keys": ("KeyRefused",),
    "starter.campaigns": ("CampaignRefused",),
    "starter.client": ("TemporalUnreachable",),
    "starter.commands.accounts": ("AccountFails", "WeightRefused"),
    "starter.wish": ("RequestRefused",),
    "starter.request_recipients": ("UnknownRecipient",),
    "starter.request_template": ("MissingVariables",),
    "starter.context": ("NoDatabase",),
    "starter.credential_input": ("CredentialsNotRead",),
    "starter.credential_keys": ("CredentialUnreadable",),
    "starter.csv_file": ("ImportRefused",),
    "starter.digests": ("DigestRefused",),
    "starter.events": ("EventRefused",),
    "starter.topics": ("TopicRefused",),
    "starter.holds": ("HoldRefused",),
    "starter.limits": ("LimitRefused",),
    "starter.people": ("ChangeRefused",),
    "starter.stored_accounts": ("AccountNotStored",),
    "starter.webhooks": ("WebhookRefused", "WebhookNotTold"),
}
# Options that may stand anywhere on the line; the root command declares them.
_ANYWHERE = ("--json", "--debug")


def _version(is_asked: bool) -> None:
    if is_asked:
        sys.stdout.write(f"carillon {_installed_version()}\n")
        raise typer.Exit


def _installed_version() -> str:
    """The version installed, or in a checkout that of pyproject.toml."""
    from importlib import metadata

    try:
        return metadata.version("carillon")
    except metadata.PackageNotFoundError:
        project = Path(__file__).parents[1] / "pyproject.toml"
        found: str = tomllib.loads(project.read_text(encoding="utf-8"))["project"]["version"]
        return found


@app.callback()
def _root(
    json: Annotated[
        bool, typer.Option("--json", help="Results and errors as JSON; after any command, too.")
    ] = False,
    debug: Annotated[
        bool,
        typer.Option(
            "--debug",
            envvar="CARILLON_DEBUG",
            help="Show the traceback of an unexpected error; after any command, too.",
        ),
    ] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Say which it is.")
    ] = False,
) -> None:
    """Durable campaigns and notifications on Temporal."""
    output.configure(json=json or output.wants_json(), debug=debug)


@app.command()
def demo() -> None:
    """A campaign from a CSV through Temporal to a simulated provider, on a stack of its own."""
    from starter.demo import run

    raise typer.Exit(run())


@app.command(hidden=True)
def env_example() -> None:
    """The text of .env.example."""
    from starter.env_example import env_example as make

    sys.stdout.write(make())


stack_commands.register(app)
app.command()(audits.audit)
app.command()(messages.send)
app.command()(events.event)
app.add_typer(events.digests, name="digest")
app.command()(trace.trace)
redrive.register(app)
app.add_typer(in_app.app, name="in-app")
held.register(messages.app)
app.add_typer(messages.app, name="message")
app.add_typer(topics.app, name="topic")
recipients.app.add_typer(contacts.app, name="contact")
app.add_typer(recipients.app, name="recipients")
app.add_typer(suppressions.app, name="suppressions")
app.add_typer(templates.app, name="template")
app.add_typer(accounts.app, name="accounts")
app.add_typer(limits.app, name="limits")
app.add_typer(keys.app, name="keys")
app.add_typer(campaigns.app, name="campaign")
holds.register(app)
app.add_typer(caps.app, name="cap")
app.add_typer(team.app, name="team")
app.add_typer(webhooks.app, name="webhook")


def main() -> None:
    """The console script `carillon`."""
    code = run(sys.argv[1:])
    sys.stdout.flush()
    sys.stderr.flush()
    # Not sys.exit: threads of Temporal's core may still want Python's lock while it is taken down,
    # which ended one of eight commands with SIGABRT.
    os._exit(code)


def run(arguments: Sequence[str]) -> int:
    """Run one command; its exit code: 0 done, 1 failed, 2 used wrongly, 130 interrupted."""
    line = list(_hoisted(arguments))
    output.configure(json="--json" in line[:2])
    try:
        code = typer.main.get_command(app).main(line, "carillon", standalone_mode=False)
    except typer.Abort:
        output.fail("Stopped; nothing was done.")
        return 1
    except Exception as error:  # the edge
        return _failed(error)
    return code if isinstance(code, int) else 0


def _hoisted(arguments: Sequence[str]) -> Iterator[str]:
    """The line with the options that may stand anywhere in front of it."""
    line = list(arguments)
    end = line.index("--") if "--" in line else len(line)
    found = [part for part in line[:end] if part in _ANYWHERE]
    yield from dict.fromkeys(found)
    yield from (part for part in line[:end] if part not in _ANYWHERE)
    yield from line[end:]


def _failed(error: Exception) -> int:
    """Say what went wrong; the exit code."""
    if isinstance(error, typer.TyperException):
        return _used_wrongly(error)
    if sentence := _known_sentence(error):
        output.fail(sentence)
        return 1
    trace = "".join(traceback.format_exception(error))
    if output.wants_debug():
        sys.stderr.write(trace)
        where = ""
    else:
        where = f" The traceback is in {_kept(trace)}; --debug shows it."
    output.fail(f"That was not foreseen: {type(error).__name__}.{where}")
    return 1


def _used_wrongly(error: typer.TyperException) -> int:
    sentence = error.format_message()
    if output.wants_json():
        output.write_json({"error": sentence})
    if sentence:  # empty where no command was given: the help has been shown
        from typer.rich_utils import rich_format_error

        rich_format_error(error)  # type: ignore[arg-type]  # typer's own class for it is private
    return error.exit_code


def _known_sentence(error: Exception) -> str:
    """What to say about an error that is no bug; empty for all others."""
    known = tuple(
        getattr(sys.modules[module], name)
        for module, names in KNOWN.items()
        if module in sys.modules
        for name in names
    )
    if isinstance(error, known):
        return str(error)
    if "sqlalchemy.exc" in sys.modules:
        from sqlalchemy.exc import OperationalError

        if isinstance(error, OperationalError):  # its own text holds the statement and its values
            return f"PostgreSQL failed: {str(error.orig).strip().splitlines()[0]}"
    return ""


def _kept(trace: str) -> str:
    """A file of this user's with the traceback."""
    with tempfile.NamedTemporaryFile(
        "w", prefix="carillon-error-", suffix=".log", delete=False, encoding="utf-8"
    ) as file:
        file.write(trace)
    return file.name


if __name__ == "__main__":
    main()

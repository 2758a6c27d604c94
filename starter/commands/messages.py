"""`carillon send …` and `carillon message …`: single messages from the command line."""

from __future__ import annotations

import json
import time
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from domain.identifier import SEND_PREFIX, key_of
from domain.send import MessageClass, OnUnknown
from starter import context, output

if TYPE_CHECKING:
    from models.request_progress import RequestStatus

app = typer.Typer(no_args_is_help=True, help="Single messages: where they stand, and cancelling.")

SendId = Annotated[str, typer.Argument(help="The send's id, snd_…", metavar="ID")]
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def parse_duration(given: str) -> timedelta:
    """A duration from 90s, 10m, 2h or 3d."""
    number, unit = given[:-1], given[-1:]
    if not number.isdigit() or unit not in _UNITS:
        raise typer.BadParameter("write it as 90s, 10m, 2h or 3d")
    return timedelta(seconds=int(number) * _UNITS[unit])


def parse_moment(given: str) -> datetime:
    """A moment with its zone, as 2026-12-24T18:00+01:00."""
    try:
        moment = datetime.fromisoformat(given)
    except ValueError as error:
        raise typer.BadParameter("write it as 2026-12-24T18:00+01:00") from error
    if moment.tzinfo is None:
        raise typer.BadParameter("it needs a zone: 2026-12-24T18:00+01:00")
    return moment


def parse_local_time(given: str) -> datetime:
    """A time on everybody's own clock, as 2026-12-24T18:00."""
    from domain.local_time import parse_local

    try:
        return parse_local(given)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def send(  # noqa: PLR0913  options of a command
    template: Annotated[str, typer.Argument(help="KEY, or KEY@N for a version.")],
    to: Annotated[list[str], typer.Option(help="External id, or a bare address; may be repeated.")],
    var: Annotated[
        list[str] | None, typer.Option(help="A variable, name=value; may be repeated.")
    ] = None,
    data: Annotated[Path | None, typer.Option(help="A JSON file with variables.")] = None,
    key: Annotated[
        str | None, typer.Option(help="Idempotency key: the same again sends nothing again.")
    ] = None,
    plan: Annotated[str | None, typer.Option(help="Channel plan: in_app:read/1h,sms,email")] = None,
    priority: Annotated[str, typer.Option(help="critical, high, normal or low.")] = "normal",
    topic: Annotated[str | None, typer.Option(help="The topic it belongs to.")] = None,
    message_class: Annotated[
        MessageClass | None, typer.Option("--class", help="Instead of the template's.")
    ] = None,
    at: Annotated[str | None, typer.Option(help="Not before then, with a zone.")] = None,
    local_at: Annotated[
        str | None,
        typer.Option(help="To each when it is that time where they are: 2026-12-24T18:00."),
    ] = None,
    expires: Annotated[str | None, typer.Option(help="Not after so long: 10m, 2h, 3d.")] = None,
    on_unknown: Annotated[
        OnUnknown | None, typer.Option(help="When an answer is lost: send again, or leave it.")
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Until all of it is final.")] = False,
) -> None:
    """Send a single message to one or more recipients; prints the send's id once it is committed."""
    from starter.messages import Carillon

    settings, engine = context.settings(), context.engine()
    context.keep_accounts(engine, settings)
    sent = Carillon(settings).send_blocking(
        template,
        to=to,
        variables=_variables(var or [], data),
        idempotency_key=key,
        plan=plan or (),
        priority=priority,
        topic=topic,
        message_class=message_class,
        at=parse_moment(at) if at else None,
        local_at=parse_local_time(local_at) if local_at else None,
        expires_after=parse_duration(expires) if expires else None,
        on_unknown=on_unknown,
    )
    if wait:
        _show(_wait_closed(sent.send_id))
        return
    output.show(
        {"id": sent.public_id, "messages": sent.messages, "is_repeat": sent.is_repeat},
        lambda: sent.public_id,
    )


@app.command()
def status(send_id: SendId) -> None:
    """What came of the messages of a send."""
    _show(_status(key_of(SEND_PREFIX, send_id)))


def _variables(given: list[str], data: Path | None) -> dict[str, Any]:
    from starter.templates import read_data

    found = read_data(data) if data else {}
    for one in given:
        name, equals, value = one.partition("=")
        if not equals or not name.isidentifier():
            raise typer.BadParameter(f"'{one}' is not of the form name=value")
        found[name] = _value(value)
    return found


def _value(text: str) -> Any:
    """A number, list or the like where the text is JSON; else the text."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def _status(send_id: int) -> RequestStatus:
    from models.request_progress import request_status
    from models.team import default_team_id

    with context.engine().connect() as connection:
        return request_status(connection, default_team_id(connection), send_id)


def _wait_closed(send_id: int) -> RequestStatus:
    while True:
        found = _status(send_id)
        if found.closed_at is not None:
            return found
        time.sleep(0.2)


def _show(found: RequestStatus) -> None:
    outcomes = ", ".join(f"{n} {key}" for key, n in found.counts.items())
    output.show(found, lambda: f"{found.id} · {found.template} · {found.state}: {outcomes}")

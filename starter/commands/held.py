"""`carillon message held`, `recheck` and `cancel`: single messages that wait."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from domain.identifier import SEND_PREFIX, key_of, public_id
from starter import context, output

GivenKey = Annotated[str | None, typer.Option("--key", help="By its idempotency key.")]
GivenSend = Annotated[str | None, typer.Option("--send", help="Of this send, snd_….")]
GivenRecipient = Annotated[
    str | None, typer.Option("--recipient", help="For this person: rcp_…, external id or address.")
]


def register(app: typer.Typer) -> None:
    """Add the commands to `carillon message`."""
    app.command()(held)
    app.command()(recheck)
    app.command()(cancel)


def held(
    key: GivenKey = None,
    send: GivenSend = None,
    recipient: GivenRecipient = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 100,
) -> None:
    """What waits, until when and why; the rules are asked now."""
    from starter.held import Which
    from starter.held import held as find

    which = Which(key=key, send_id=_send_id(send), recipient=recipient)
    found = find(context.engine(), context.settings(), which, limit)
    columns = ("send", "recipient", "template", "channel", "why", "until", "holds")
    output.show(
        {"held": found},
        lambda: output.table(
            columns,
            (
                (
                    f"{one.send} #{one.ordinal}",
                    one.recipient,
                    one.template,
                    one.channel,
                    one.why,
                    f"{one.until:%Y-%m-%d %H:%M:%S %Z}" if one.until else "",
                    "; ".join(one.holds),
                )
                for one in found
            ),
            none="No single message waits.",
        ),
    )


def recheck(key: GivenKey = None, send: GivenSend = None, recipient: GivenRecipient = None) -> None:
    """Look at what waits now; nobody gets anything early by it, every rule is asked again."""
    from starter.held import Which, poke
    from starter.held import recheck as look

    if [key, send, recipient].count(None) != 2:
        raise typer.BadParameter("say one of --key, --send and --recipient")
    found = look(context.engine(), Which(key=key, send_id=_send_id(send), recipient=recipient))
    if not asyncio.run(poke(context.settings(), found)):
        output.say("Temporal does not answer; what it drives is looked at once it does.")
    output.show(
        {
            "parked": found.parked,
            "groups": len(found.groups),
            "campaigns": [_public(campaign) for campaign in found.campaigns],
        },
        lambda: (
            f"{found.parked:,} waiting messages, {len(found.groups):,} groups under way and"
            f" {len(found.campaigns):,} campaigns are looked at now."
        ),
    )


def cancel(
    send_id: Annotated[
        str | None, typer.Argument(help="The send's id, snd_…", metavar="ID", show_default=False)
    ] = None,
    key: GivenKey = None,
) -> None:
    """Cancel what was not sent yet, also what waits for its time; by id or by idempotency key."""
    from starter.client import TemporalUnreachable, connect, poke_groups
    from starter.messages import Carillon

    if (send_id is None) == (key is None):
        raise typer.BadParameter("say either the send's id or --key")
    settings = context.settings()
    carillon = Carillon(settings)
    known = carillon.send_id_of_blocking(key) if key else key_of(SEND_PREFIX, send_id or "")
    groups = carillon.cancel_blocking(known)

    async def poke() -> None:
        try:
            await poke_groups(await connect(settings), groups)
        except TemporalUnreachable:
            return  # its workflow looks at the rows by itself

    if groups:
        asyncio.run(poke())
    said = _public(known)
    output.show({"id": said, "cancelled": True}, lambda: f"{said} is cancelled.")


def _send_id(given: str | None) -> int | None:
    return None if given is None else key_of(SEND_PREFIX, given)


def _public(send_id: int) -> str:
    return public_id(SEND_PREFIX, send_id)

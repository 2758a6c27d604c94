"""carillon recipients contact: the addresses of one person on a channel."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from domain.send import Channel

app = typer.Typer(no_args_is_help=True, help="Addresses of one person: add, remove, verify.")

Who = Annotated[str, typer.Argument(metavar="WHO", help="rcp_…, an external id or an address.")]
By = Annotated[Channel, typer.Argument(help="The channel.")]
Address = Annotated[str, typer.Argument(help="The address, number, token or https URL.")]


@app.command()
def add(
    who: Who,
    channel: By,
    address: Address,
    first: Annotated[bool, typer.Option("--first", help="It is the one to use.")] = False,
) -> None:
    """Add an address behind those that are there; the first one is used."""
    from starter import context
    from starter.people import add_address

    _show(add_address(context.engine(), who, channel, address, first=first), channel)


@app.command()
def remove(who: Who, channel: By, address: Address) -> None:
    """Remove an address; where it was the one used, the next one is."""
    from starter import context
    from starter.people import remove_address

    _show(remove_address(context.engine(), who, channel, address), channel)


@app.command()
def verify(who: Who, channel: By, address: Address) -> None:
    """Note that the address is the person's."""
    from starter import context
    from starter.people import verify_address

    _show(verify_address(context.engine(), who, channel, address), channel)


@app.command()
def secret(
    who: Who,
    address: Annotated[
        str | None, typer.Argument(help="The https URL; else the one in use.", show_default=False)
    ] = None,
) -> None:
    """Show what a webhook endpoint verifies signatures with; give it to the endpoint's owner alone.

    While CARILLON_WEBHOOK_SECRET is changed there are two: tell the first one, both are good.
    """
    from starter import context, output
    from starter.webhook_secrets import signing_secrets

    url, found = signing_secrets(context.engine(), context.settings(), who, address)
    output.show(
        {
            "address": url,
            "accounts": [{"account": one.account, "secrets": one.secrets} for one in found],
        },
        lambda: "\n".join(f"{one.account}: {' '.join(one.secrets)}" for one in found),
    )


def _show(found: dict[str, Any], channel: Channel) -> None:
    """The recipient's addresses on the channel, as they are now."""
    from starter import output

    points = [point for point in found["contact_points"] if point["channel"] == channel]
    output.show(
        {"id": found["id"], "contact_points": points},
        lambda: (
            "\n".join(f"{point['address']} ({point['state']})" for point in points)
            or f"{found['id']} has no {channel} address."
        ),
    )

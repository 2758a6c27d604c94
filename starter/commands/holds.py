"""carillon hold, holds and release: stopping a send, topic, template, account, team or everything."""

from __future__ import annotations

import getpass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from domain.identifier import HOLD_PREFIX, SEND_PREFIX, key_of, public_id
from domain.send import HoldScope
from starter import context, output

if TYPE_CHECKING:
    from models.hold import StandingHold


def register(app: typer.Typer) -> None:
    """Add the three commands."""
    app.command()(hold)
    app.command()(holds)
    app.command()(release)


def hold(
    scope: Annotated[HoldScope, typer.Argument(help="What to stop.")],
    key: Annotated[
        str, typer.Argument(help="snd_… of a send; key of a topic, template, account or team.")
    ] = "",
    reason: Annotated[
        str, typer.Option(help="Why; shown wherever it stops something.", show_default=False)
    ] = "",
    author: Annotated[str, typer.Option(help="Who says so; else who runs the command.")] = "",
) -> None:
    """Send nothing under the scope until this hold, and every other on it, is released."""
    from starter.holds import HoldWish, place

    wish = HoldWish(scope=scope, key=key, reason=reason, author=author or getpass.getuser())
    made = _as_json(place(context.engine(), wish))
    output.show(made, lambda: f"{made['id']} holds {_what(made)}: {made['reason']}")


def holds(
    all_: Annotated[bool, typer.Option("--all", help="Also those that were released.")] = False,
) -> None:
    """The holds that stand, with reason and author."""
    from starter.holds import standing

    found = [_as_json(each) for each in standing(context.engine(), with_released=all_)]
    columns = ("id", "scope", "key", "reason", "author", "created_at", "released_at")
    shown = columns if all_ else columns[:-1]
    output.show(
        {"holds": found},
        lambda: output.table(
            shown, [[row[column] for column in shown] for row in found], none="Nothing is held."
        ),
    )


def release(
    hold_ids: Annotated[list[str], typer.Argument(metavar="ID…", help="hld_…, one or more.")],
) -> None:
    """Release these holds; others on the same scope stand. Campaigns that waited go on at once."""
    from starter.holds import release as release_all
    from starter.wake import wake

    settings, engine = context.settings(), context.engine()
    done = release_all(engine, [key_of(HOLD_PREFIX, given) for given in hold_ids])
    waiting = sorted({send for each in done for send in each.sends})
    wake(settings, waiting, sorted({group for each in done for group in each.groups}))
    found = [{**_as_json(each.hold), "changed": each.is_new} for each in done]
    output.show(
        {"released": found, "sends": len(waiting)},
        lambda: "\n".join(
            f"{row['id']} on {_what(row)} is released{'' if row['changed'] else ' already'}."
            for row in found
        ),
    )


def _as_json(hold: StandingHold) -> dict[str, Any]:
    """The hold with ids as the outside sees them."""
    key = public_id(SEND_PREFIX, hold.scope_id) if hold.scope is HoldScope.SEND else hold.key
    return {
        "id": public_id(HOLD_PREFIX, hold.id),
        "scope": hold.scope,
        "key": key,
        "reason": hold.reason,
        "author": hold.author,
        "created_at": hold.created_at,
        "released_at": hold.released_at,
    }


def _what(hold: dict[str, Any]) -> str:
    return f"{hold['scope']} {hold['key']}".strip()

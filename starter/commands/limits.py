"""carillon limits: how much may go a second, by account, domain, team, send, recipient and in all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from models.rate_limit import StandingLimit

app = typer.Typer(
    no_args_is_help=True, help="Rate limits; running sends obey a change within seconds."
)

Key = Annotated[
    str,
    typer.Argument(help="global, team, domain:gmail.com, recipient, account:KEY or send:snd_…"),
]


@app.command("list")
def list_() -> None:
    """The limits that stand, and how far ahead each is given away."""
    from starter import context, output
    from starter.limits import standing

    found = [_as_json(limit) for limit in standing(context.engine())]
    output.show(
        {"limits": found},
        lambda: output.table(
            ("key", "rate", "closed for"),
            [
                (
                    row["key"],
                    f"{row['rate']:g}/s" if row["rate"] else "no limit",
                    f"{row['closed_for']:.1f} s" if row["closed_for"] else "",
                )
                for row in found
            ],
            none="Nothing is limited.",
        ),
    )


@app.command("set")
def set_(
    key: Key,
    rate: Annotated[
        float,
        typer.Argument(
            help="A second; of an account in the vendor's units. 0.1: one in ten seconds."
        ),
    ],
) -> None:
    """Limit what the key names to so many a second, also what runs."""
    from starter import context, output
    from starter.limits import set_rate

    set_rate(context.engine(), key, rate)
    output.show({"key": key, "rate": rate}, lambda: f"{key} is limited to {rate:g} a second.")


@app.command()
def remove(key: Key) -> None:
    """Take a limit away; an account has the rate of its setting again."""
    from starter import context, output
    from starter.limits import set_rate

    set_rate(context.engine(), key, None)
    output.show({"key": key, "rate": None}, lambda: f"{key} has no limit of its own any more.")


def _as_json(limit: StandingLimit) -> dict[str, Any]:
    from starter.limits import shown_key

    return {
        "key": shown_key(limit.key),
        "rate": limit.rate,
        "closed_for": limit.closed_for.total_seconds(),
    }

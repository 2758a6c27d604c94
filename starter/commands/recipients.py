"""carillon recipients: the people who can be told something."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from domain.identifier import RECIPIENT_PREFIX, public_id
from domain.send import Channel

if TYPE_CHECKING:
    from collections.abc import Callable

    from starter.recipients_import import ImportResult

app = typer.Typer(no_args_is_help=True, help="Recipients: the people who can be told something.")

Who = Annotated[str, typer.Argument(metavar="WHO", help="rcp_…, an external id or an address.")]


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="CSV with a header; a column `email` is needed.")],
    topic: Annotated[
        str | None, typer.Option(metavar="KEY", help="Subscribe the people to this topic.")
    ] = None,
    resubscribe: Annotated[
        bool, typer.Option("--resubscribe", help="Also those who have left the topic.")
    ] = False,
) -> None:
    """Add and update the people of a CSV file; bad rows go to FILE.rejects.csv and stop nothing.

    Columns: email, external_id, first_name, last_name, locale, time_zone, phone, subscribed (yes or
    no); all others become attributes. A person is found again by external_id, else by e-mail address.
    """
    from starter import context, output
    from starter.import_progress import import_progress
    from starter.recipients_import import import_recipients

    engine = context.engine()
    with import_progress(file) as on_progress:
        result = import_recipients(
            engine, file, topic=topic, resubscribe=resubscribe, on_progress=on_progress
        )
    output.show(result, lambda: summary(result, topic))


@app.command()
def show(who: Who) -> None:
    """Who it is: profile, addresses, subscriptions."""
    from starter import context, output
    from starter.people import show as look

    found = look(context.engine(), who)
    output.show(found, lambda: _described(found))


@app.command("set")
def set_(  # noqa: PLR0913  the options of a command
    who: Annotated[
        str, typer.Argument(metavar="EXTERNAL_ID", help="Made if nobody has it; or rcp_….")
    ],
    email: Annotated[str | None, typer.Option(help="Replaces the address in use.")] = None,
    phone: Annotated[str | None, typer.Option(help="+43 660 …; replaces the one in use.")] = None,
    webhook: Annotated[str | None, typer.Option(help="https://…; replaces the one in use.")] = None,
    first_name: Annotated[str | None, typer.Option()] = None,
    last_name: Annotated[str | None, typer.Option()] = None,
    locale: Annotated[str | None, typer.Option(help="Such as de_AT; '' forgets it.")] = None,
    zone: Annotated[str | None, typer.Option(help="Such as Europe/Vienna; '' forgets it.")] = None,
    prefer: Annotated[
        list[Channel] | None, typer.Option(help="A channel they like; the best one first.")
    ] = None,
    attribute: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="NAME= removes it.")
    ] = None,
) -> None:
    """Add or change one person; what is not named stays."""
    from starter import context, output
    from starter.people import PersonWish, set_person

    texts = {"first_name": first_name, "last_name": last_name, "locale": locale, "time_zone": zone}
    addresses = {Channel.EMAIL: email, Channel.SMS: phone, Channel.WEBHOOK: webhook}
    wish = PersonWish(
        texts={name: given for name, given in texts.items() if given is not None},
        addresses={channel: given for channel, given in addresses.items() if given is not None},
        preferred=prefer or None,
        attributes=attribute or (),
    )
    person = set_person(context.engine(), who, wish)
    output.show(
        {"new": person.is_new, **person.profile},
        lambda: f"{person.profile['id']} is {'added' if person.is_new else 'up to date'}.",
    )


@app.command()
def merge(
    gone: Annotated[str, typer.Argument(metavar="FROM", help="Who goes: rcp_…, id or address.")],
    into: Annotated[str, typer.Argument(metavar="INTO", help="Who is left.")],
) -> None:
    """Make two recipients one: addresses and consent come over, history stays visible."""
    from starter import context, output
    from starter.people import merge_people
    from starter.wake import wake

    moved, left = merge_people(context.engine(), gone, into)
    wake(context.settings(), moved.rechecked.campaigns, moved.rechecked.groups)
    output.show(
        {
            "into": left,
            "contact_points": moved.contact_points,
            "subscriptions": moved.subscriptions,
        },
        lambda: (
            f"{left['id']} is both of them now; addresses that came over: {moved.contact_points},"
            f" subscriptions: {moved.subscriptions}."
        ),
    )


@app.command()
def export(
    who: Who,
    out: Annotated[
        Path | None, typer.Option("--out", help="A file; else the document is printed.")
    ] = None,
) -> None:
    """Everything stored about a person, as one JSON document."""
    from starter import context, output
    from starter.people import look_up
    from starter.recipient_export import export_pieces, export_to_file

    engine = context.engine()
    recipient_id = look_up(engine, who)
    if out is None:
        for piece in export_pieces(engine, recipient_id):
            sys.stdout.write(piece.decode())
        return
    size_bytes = _written(out, lambda: export_to_file(engine, recipient_id, out))
    output.show({"file": out, "bytes": size_bytes}, lambda: f"{size_bytes:,} bytes are in {out}.")


@app.command()
def erase(
    who: Who,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Forget a person for good; counts and reports stay, and what runs skips them."""
    from starter import context, output
    from starter.people import erase_person, look_up

    engine = context.engine()
    recipient_id = look_up(engine, who)
    public = public_id(RECIPIENT_PREFIX, recipient_id)
    if not yes:
        typer.confirm(f"Erase {public} for good?", abort=True, err=True)
    done = erase_person(engine, recipient_id)
    output.show(
        {"id": public, "changed": done.recipients > 0, **asdict(done)},
        lambda: f"{public} is erased{'' if done.recipients else ' already'}.",
    )


def _written(path: Path, write: Callable[[], int]) -> int:
    from starter.people import ChangeRefused

    try:
        return write()
    except OSError as error:
        raise ChangeRefused(f"{path} cannot be written: {error.strerror}.") from error


def _described(found: dict[str, Any]) -> str:
    """The profile in lines for people: what is empty is left out."""
    facts = {
        "id": found["id"],
        "external id": found["external_id"],
        "name": f"{found['first_name']} {found['last_name']}".strip(),
        "locale": found["locale"],
        "time zone": found["time_zone"],
        "prefers": ", ".join(found["preferred_channels"]),
        **found["attributes"],
        "merged": ", ".join(found["merged"]),
        "erased": found["erased_at"],
    }
    lines = [f"{name}: {value}" for name, value in facts.items() if value]
    for point in found["contact_points"]:
        notes = [point["state"], *(["suppressed"] if point["is_suppressed"] else [])]
        rank = "" if point["rank"] == 0 else f", rank {point['rank']}"
        lines.append(f"{point['channel']}: {point['address']} ({', '.join(notes)}{rank})")
    lines += [
        f"topic {each['topic']} by {each['channel']}: {each['state']} ({each['source']})"
        for each in found["subscriptions"]
    ]
    return "\n".join(lines)


def summary(result: ImportResult, topic: str | None) -> str:
    """What an import did, in a few lines for people."""
    lines = [
        f"{result.rows:,} rows in {result.seconds:.1f} s: {result.added:,} added,"
        f" {result.updated:,} updated, {result.unchanged:,} unchanged, {result.merged:,} merged,"
        f" {result.rejected:,} rejected."
    ]
    if topic is not None:
        lines.append(
            f"Topic {topic}: {result.subscribed:,} subscribed"
            + (f", {result.pending:,} pending (double opt-in)" if result.pending else "")
            + (f", {result.left:,} left" if result.left else "")
            + "."
        )
    if result.stayed_left:
        lines.append(
            f"{result.stayed_left:,} had left {topic} before and stay so; --resubscribe asks them back."
        )
    if result.rejects_path:
        lines.append(f"The rejected rows, with the reasons: {result.rejects_path}")
    return "\n".join(lines)

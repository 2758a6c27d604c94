"""carillon keys: API keys of a team. A key is printed once, and never read back."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from domain.api_key import Scope
from domain.identifier import KEY_PREFIX, key_of, public_id
from starter.commands.messages import parse_duration

if TYPE_CHECKING:
    from models.api_key import KeyLine
    from starter.api_keys import MadeKey

app = typer.Typer(no_args_is_help=True, help="API keys: create, list, rotate, revoke.")

KeyId = Annotated[str, typer.Argument(help="The key's id, key_…", metavar="ID")]
Team = Annotated[str, typer.Option(help="Whose keys.")]
_SCOPES = ", ".join(Scope)


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="Who uses it.")],
    scope: Annotated[list[str], typer.Option(help=f"May be repeated. {_SCOPES}.")],
    test: Annotated[
        bool,
        typer.Option("--test", help="What it sends goes through everything and ends in a log."),
    ] = False,
    expires: Annotated[str | None, typer.Option(help="After so long: 12h, 90d.")] = None,
    team: Team = "default",
) -> None:
    """Make a key and print it, this once."""
    from starter import context
    from starter.api_keys import KeyWish, create_key

    settings = context.settings()
    wish = KeyWish(
        name=name,
        scopes=scope,
        is_test=test,
        expires_in=parse_duration(expires) if expires else None,
    )
    secret = settings.api_secret.get_secret_value().encode()
    with context.engine(settings).begin() as connection:
        made = create_key(connection, secret, _team(connection, team), wish)
    _show_made(made)


@app.command("list")
def list_(team: Team = "default") -> None:
    """The newest hundred keys of the team, without their secrets."""
    from models.api_key import list_keys
    from starter import context, output

    with context.engine().connect() as connection:
        rows = [_as_json(line) for line in list_keys(connection, _team(connection, team))]
    output.show(
        {"keys": rows},
        lambda: output.table(
            ("id", "name", "key", "scopes", "good", "expires", "last used"),
            [
                (
                    row["id"],
                    row["name"],
                    row["prefix"],
                    ", ".join(row["scopes"]),
                    row["is_good"],
                    row["expires_at"] and f"{row['expires_at']:%Y-%m-%d %H:%M}",
                    row["last_used_at"] and f"{row['last_used_at']:%Y-%m-%d %H:%M}",
                )
                for row in rows
            ],
            none="There are no API keys; make one with `carillon keys create`.",
        ),
    )


@app.command()
def rotate(
    key_id: KeyId,
    overlap: Annotated[
        str, typer.Option(help="How long the old key stays good: 0s, 2h, 7d.")
    ] = "24h",
    team: Team = "default",
) -> None:
    """Make a new key in the place of an old one, and print it, this once."""
    from starter import context
    from starter.api_keys import rotate_key

    settings = context.settings()
    secret = settings.api_secret.get_secret_value().encode()
    wanted: timedelta = parse_duration(overlap)
    with context.engine(settings).begin() as connection:
        made = rotate_key(
            connection,
            secret,
            _team(connection, team),
            key_of(KEY_PREFIX, key_id),
            overlap=wanted,
        )
    _show_made(made)


@app.command()
def revoke(key_id: KeyId, team: Team = "default") -> None:
    """End a key now."""
    from models.api_key import revoke_key
    from starter import context, output

    with context.engine().begin() as connection:
        line = revoke_key(connection, _team(connection, team), key_of(KEY_PREFIX, key_id))
    output.show(_as_json(line), lambda: f"The API key '{line.name}' has ended.")


def _team(connection: Any, key: str) -> int:
    from models.team import find_team

    found = find_team(connection, key)
    if found is None:
        raise typer.BadParameter(f"There is no team '{key}'.", param_hint="--team")
    return found


def _show_made(made: MadeKey) -> None:
    from starter import output

    output.show({**_as_json(made.line), "key": made.text}, lambda: made.text)
    output.say("Keep it now: it is not shown again.")


def _as_json(line: KeyLine) -> dict[str, Any]:
    from domain.api_key import shown_prefix

    return {
        "id": public_id(KEY_PREFIX, line.id),
        "name": line.name,
        "prefix": shown_prefix(line.locator, is_test=line.is_test),
        "scopes": line.scopes,
        "test": line.is_test,
        "created_at": line.created_at,
        "expires_at": line.expires_at,
        "revoked_at": line.revoked_at,
        "last_used_at": line.last_used_at,
        "is_good": line.is_good,
    }

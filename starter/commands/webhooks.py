"""carillon webhook: who is told what happened."""

from __future__ import annotations

import getpass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from domain.identifier import WEBHOOK_DELIVERY_PREFIX, WEBHOOK_PREFIX, key_of, public_id

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection

    from models.webhook_endpoint import Endpoint
    from starter.webhooks import WebhookDesk

app = typer.Typer(
    no_args_is_help=True, help="Outgoing webhooks: endpoints that are told what happened."
)

WebhookId = Annotated[str, typer.Argument(help="The endpoint's id, whk_…", metavar="ID")]


@app.command()
def add(
    url: Annotated[str, typer.Argument(help="https://…")],
    event: Annotated[
        list[str] | None, typer.Option(help="May be repeated; without it: everything.")
    ] = None,
    description: Annotated[str, typer.Option(help="Whose it is.")] = "",
) -> None:
    """Register an endpoint, and show the secret that its owner verifies with."""
    from domain.webhook_event import WebhookEvent
    from starter import context, output
    from starter.webhooks import WebhookWish

    unknown = sorted(set(event or ()) - set(WebhookEvent))
    if unknown:
        raise typer.BadParameter(f"there is no event {unknown[0]}: {', '.join(WebhookEvent)}")
    wish = WebhookWish(
        url=url, events=[WebhookEvent(one) for one in event or ()], description=description
    )
    desk = _desk()

    def work(connection: Connection, team: int) -> tuple[Endpoint, list[str]]:
        made = desk(team).add(connection, wish)
        return made, desk(team).secrets(connection, made.id)

    made, secrets = context.write(work)
    output.show(
        {"webhook": _as_json(made), "secrets": secrets},
        lambda: f"{public_id(WEBHOOK_PREFIX, made.id)} verifies with {secrets[0]}",
    )


@app.command("list")
def list_() -> None:
    """The newest hundred endpoints."""
    from models.team import default_team_id
    from models.webhook_endpoint import list_endpoints
    from starter import context, output

    with context.engine().connect() as connection:
        found = list_endpoints(connection, default_team_id(connection))
    rows = [_as_json(one) for one in found]
    output.show(
        {"webhooks": rows},
        lambda: output.table(
            ("id", "url", "events", "enabled", "why not", "failing since"),
            [
                (
                    row["id"],
                    row["url"],
                    ", ".join(row["events"]) or "all",
                    row["is_enabled"],
                    row["disabled_reason"],
                    row["failing_since"] and f"{row['failing_since']:%Y-%m-%d %H:%M}",
                )
                for row in rows
            ],
            none="There are no webhook endpoints. Make one with: carillon webhook add https://…",
        ),
    )


@app.command()
def enable(webhook: WebhookId) -> None:
    """Tell an endpoint again that was disabled: what it is owed first, and at once."""
    from models.webhook_endpoint import EndpointChange
    from starter import context, output

    key, desk = key_of(WEBHOOK_PREFIX, webhook), _desk()
    change = EndpointChange(is_enabled=True)
    found = context.write(lambda c, team: desk(team).change(c, key, change))
    output.show({"webhook": _as_json(found)}, lambda: f"{webhook} is told again.")


@app.command()
def remove(webhook: WebhookId) -> None:
    """Take an endpoint away: it is told nothing more, not even what it is owed."""
    from starter import context, output

    key, desk = key_of(WEBHOOK_PREFIX, webhook), _desk()
    context.write(lambda c, team: desk(team).remove(c, key))
    output.show({"webhook": webhook, "removed": True}, lambda: f"{webhook} is gone.")


@app.command()
def test(webhook: WebhookId) -> None:
    """Have a test event delivered, after all that is owed to the endpoint already."""
    from starter import context, output

    key, desk = key_of(WEBHOOK_PREFIX, webhook), _desk()
    owed = context.write(lambda c, team: desk(team).test(c, key))
    made = public_id(WEBHOOK_DELIVERY_PREFIX, owed.id)
    output.show({"delivery": made}, lambda: f"{made} is on its way.")


def _desk() -> Callable[[int], WebhookDesk]:
    """Makes the desk of a team."""
    from starter import context
    from starter.webhooks import WebhookDesk, signing

    config = signing(context.settings())

    def of_team(team: int) -> WebhookDesk:
        return WebhookDesk(team_id=team, actor=getpass.getuser(), config=config)

    return of_team


def _as_json(endpoint: Endpoint) -> dict[str, Any]:
    return {
        "id": public_id(WEBHOOK_PREFIX, endpoint.id),
        "url": endpoint.url,
        "events": endpoint.events,
        "description": endpoint.description,
        "is_enabled": endpoint.is_enabled,
        "disabled_reason": endpoint.disabled_reason,
        "failing_since": endpoint.failing_since,
    }

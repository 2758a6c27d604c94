"""carillon topic: what one may join and leave."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from starter.joining import JoinDesk

from domain.digest import Cadence
from domain.send import Channel, MessageClass, OptIn

app = typer.Typer(no_args_is_help=True, help="Topics: what people join and leave.")
rules = typer.Typer(no_args_is_help=True, help="Rules: an event makes somebody a member.")
app.add_typer(rules, name="rule")


def _checked_key(key: str) -> str:
    from starter.topics import is_key

    if not is_key(key):
        raise typer.BadParameter(
            "use small letters, digits, '.', '_' and '-', at most 63, a letter or digit first"
        )
    return key


def _checked_over(given: str | None) -> str | None:
    if given not in (None, "defer", "skip", "cap"):
        raise typer.BadParameter("write defer, skip, or cap")
    return given


def create(  # noqa: PLR0913  options of a command
    key: Annotated[str, typer.Argument(callback=_checked_key, help="Its name in commands.")],
    name: Annotated[str, typer.Option(help="Its name as people see it.")],
    template: Annotated[
        str | None, typer.Option(help="KEY or KEY@N: what an event to the topic sends.")
    ] = None,
    message_class: Annotated[
        MessageClass | None, typer.Option("--class", help="Of its events; else the template's.")
    ] = None,
    plan: Annotated[
        str, typer.Option(help="Channel plan of its events: in_app:read/1h,email")
    ] = "",
    cadence: Annotated[
        Cadence, typer.Option(help="Of members by e-mail who say nothing else.")
    ] = Cadence.IMMEDIATE,
    opt_in: Annotated[OptIn, typer.Option(help="How one joins.")] = OptIn.EXPLICIT,
    over_cap: Annotated[
        str | None,
        typer.Option(
            callback=_checked_over,
            metavar="defer|skip|cap",
            help="What becomes of a message over a frequency cap; cap: as each cap says.",
        ),
    ] = None,
    form: Annotated[
        bool, typer.Option("--form", help="Anybody may ask to join on the public page.")
    ] = False,
) -> None:
    """Make a topic, or change the one that is there into this; its members stay, and what it does
    over a cap unless that is named."""
    from starter import context, output
    from starter.topics import TopicWish, create_topic

    wish = TopicWish(
        key=key,
        name=name,
        template=template,
        message_class=message_class,
        plan=plan,
        cadence=cadence,
        opt_in=opt_in,
        has_form=form,
        over_cap=over_cap,
    )
    is_new = context.write(lambda connection, team: create_topic(connection, team, wish))
    output.show(
        {"key": key, "name": name, "is_new": is_new}, lambda: f"Topic {key} is there: {name}"
    )


app.command("create")(create)
app.command("add", hidden=True)(create)  # as 0.1.0 called it


@app.command("list")
def list_() -> None:
    """All topics, and how many are subscribed."""
    from models.overview import list_topics
    from models.team import default_team_id
    from starter import context, output

    with context.engine().connect() as connection:
        topics = list_topics(connection, default_team_id(connection))
    output.show(
        {"topics": topics},
        lambda: output.table(
            ("key", "name", "opt-in", "over a cap", "subscribed"),
            [
                (
                    topic.key,
                    topic.name,
                    topic.opt_in,
                    topic.over_cap or "as it says",
                    topic.subscribed,
                )
                for topic in topics
            ],
            none="There are no topics yet. Make one with: carillon topic create KEY --name NAME",
        ),
    )


RuleTopic = Annotated[str, typer.Argument(help="The topic whose events are looked at.")]
When = Annotated[str, typer.Argument(metavar="FIELD=VALUE", help="What an event's data says.")]
Joins = Annotated[str, typer.Argument(help="The topic that its recipient joins.")]
Who = Annotated[
    str, typer.Argument(metavar="RECIPIENT", help="rcp_…, an external id or an address.")
]
By = Annotated[Channel, typer.Option(help="The channel it is about.")]


@app.command()
def show(key: Annotated[str, typer.Argument(help="The topic.")]) -> None:
    """What a topic is, and the rules on its events."""
    from starter import context, output
    from starter.topics import show_topic

    found = context.write(lambda connection, team: show_topic(connection, team, key))
    settings = found.topic.settings
    plan = ", ".join(step.channel for step in settings.plan) or "the template's channel"
    rows = [
        ("name", settings.name),
        ("opt-in", settings.opt_in),
        ("template", settings.template or "none: for campaigns alone"),
        ("class", settings.message_class),
        ("plan", plan),
        ("cadence", settings.cadence),
        ("form", "yes" if settings.has_form else "no"),
        ("over a cap", found.topic.over_cap or "as it says"),
        *(("rule", f"{rule.field}={rule.value} joins {rule.joins}") for rule in found.rules),
    ]
    output.show(
        {
            **asdict(settings),
            "plan": [step.as_json() for step in settings.plan],
            "over_cap": found.topic.over_cap,
            "rules": found.rules,
        },
        lambda: output.table(("", key), rows, none=""),
    )


@app.command()
def members(
    key: Annotated[str, typer.Argument(help="The topic.")],
    after: Annotated[
        str | None, typer.Option(help="Those behind this recipient, rcp_…: the next page.")
    ] = None,
    most: Annotated[int, typer.Option(min=1, max=1000, help="At most so many people.")] = 100,
) -> None:
    """Who has joined a topic, how they stand and how often they are told."""
    from domain.identifier import RECIPIENT_PREFIX, key_of
    from starter import context, output
    from starter.topics import members as find

    behind = key_of(RECIPIENT_PREFIX, after) if after else 0
    found = context.write(
        lambda connection, team: find(connection, team, key, after=behind, most=most)
    )
    output.show(
        {"members": found},
        lambda: output.table(
            ("recipient", "external id", "channel", "state", "cadence", "data"),
            [
                (
                    each.recipient,
                    each.external_id or "",
                    each.channel,
                    each.state,
                    each.cadence,
                    json.dumps(each.details) if each.details else "",
                )
                for each in found
            ],
            none="Nobody has joined it yet.",
        ),
    )


@app.command()
def join(
    key: Annotated[str, typer.Argument(help="The topic.")],
    who: Who,
    channel: By = Channel.EMAIL,
    cadence: Annotated[Cadence | None, typer.Option(help="How often they are told.")] = None,
    data: Annotated[
        Path | None, typer.Option(help="A JSON file: the membership's own data for templates.")
    ] = None,
) -> None:
    """Subscribe a recipient, also one who had left; pending where the topic asks for double opt-in:
    they get a mail to confirm."""
    from starter import output
    from starter.templates import read_data
    from starter.topics import JoinWish

    details = read_data(data) if data else None
    wish = JoinWish(channel=channel, cadence=cadence, details=details)
    state = _desk().join(key, who, wish)
    output.show(
        {"topic": key, "channel": channel, "state": state},
        lambda: f"{who} is {state} to {key} by {channel}.",
    )


@app.command()
def link(
    key: Annotated[str, typer.Argument(help="The topic.")], who: Who, channel: By = Channel.EMAIL
) -> None:
    """A link by which this recipient joins the topic; put it into a message to them alone."""
    from starter import output

    made = _desk().link(key, who, channel)
    output.show({"link": made}, lambda: made)


@app.command()
def form(key: Annotated[str, typer.Argument(help="The topic, which has a form.")]) -> None:
    """HTML of a form for your own site, by which anybody may ask to join."""
    from starter import context, output
    from starter.joining import form_html

    made = form_html(context.engine(), context.settings(), key)
    output.show({"html": made}, lambda: made)


@app.command()
def cadence(
    key: Annotated[str, typer.Argument(help="The topic.")],
    who: Who,
    how_often: Annotated[Cadence, typer.Argument(help="immediate, daily or weekly.")],
) -> None:
    """How often a member by e-mail is told: at each event, or once a day or week of all of them."""
    from starter import context, output
    from starter.topics import change_cadence

    context.write(lambda connection, team: change_cadence(connection, team, key, who, how_often))
    output.show({"topic": key, "cadence": how_often}, lambda: f"{who} gets {key}: {how_often}.")


@rules.command("add")
def add_rule(key: RuleTopic, when: When, joins: Joins) -> None:
    """An event whose data says so makes its `recipient` a member of another topic, by e-mail."""
    _change_rule(key, when, joins, add=True)


@rules.command("remove")
def remove_rule(key: RuleTopic, when: When, joins: Joins) -> None:
    """Remove a rule; who joined by it stays."""
    _change_rule(key, when, joins, add=False)


def _change_rule(key: str, when: str, joins: str, *, add: bool) -> None:
    from starter import context, output
    from starter.topics import RuleWish, change_rule

    wish = RuleWish(topic=key, when=when, joins=joins)
    is_changed = context.write(
        lambda connection, team: change_rule(connection, team, wish, add=add)
    )
    said = "There was" if add != is_changed else "Now there is"
    output.show(
        {"topic": key, "when": when, "joins": joins, "changed": is_changed},
        lambda: f"{said} {'a' if add else 'no'} rule: {key} with {when} joins {joins}.",
    )


def _desk() -> JoinDesk:
    from starter import context
    from starter.joining import JoinDesk

    return JoinDesk(context.engine(), context.settings())


@app.command()
def leave(
    key: Annotated[str, typer.Argument(help="The topic.")], who: Who, channel: By = Channel.EMAIL
) -> None:
    """End a recipient's subscription."""
    from starter import context, output
    from starter.people import leave as unsubscribe

    is_ended = unsubscribe(context.engine(), key, who, channel)
    output.show(
        {"topic": key, "channel": channel, "changed": is_ended},
        lambda: f"{who} {'has left' if is_ended else 'was not subscribed to'} {key} by {channel}.",
    )

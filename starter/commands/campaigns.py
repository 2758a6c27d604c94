"""`carillon campaign …`: from a draft to a report."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from domain.identifier import SEND_PREFIX, key_of
from domain.send import Channel, OnUnknown, Priority, SendState
from starter import context, output
from starter.commands.messages import parse_local_time, parse_moment

if TYPE_CHECKING:
    from rich.console import Group

    from domain.local_time import Window
    from models.campaign import Campaign
    from starter.campaigns import Changed

app = typer.Typer(no_args_is_help=True, help="Make, start, watch and settle campaigns.")

CampaignId = Annotated[str, typer.Argument(help="The campaign's id, snd_…", metavar="ID")]


def parse_rate(given: str) -> float | None:
    """Messages a second from "400/s", "400" or "none"."""
    if given == "none":
        return None
    try:
        return float(given.removesuffix("/s"))
    except ValueError as error:
        raise typer.BadParameter("write it as 400/s, or none") from error


def parse_priority(given: str) -> Priority:
    """The priority of a word."""
    try:
        return Priority.parse(given)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def parse_window(given: str) -> Window | None:
    """The window of "09:00-21:00"; None for "none"."""
    from domain.local_time import Window

    if given == "none":
        return None
    try:
        return Window.parse(given)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


@app.command()
def create(  # noqa: PLR0913  one parameter an option
    name: Annotated[str, typer.Option(help="What people call it.")],
    topic: Annotated[str, typer.Option(help="The topic whose subscribers get it.")],
    template: Annotated[str, typer.Option(help="KEY, or KEY@N for a version.")],
    channel: Annotated[Channel, typer.Option(help="email or sms.")] = Channel.EMAIL,
    account: Annotated[str | None, typer.Option(help="The account to send with.")] = None,
    rate: Annotated[str, typer.Option(help="Messages a second, such as 400/s.")] = "none",
    on_unknown: Annotated[
        OnUnknown | None, typer.Option(help="When an answer is lost: send again, or leave it.")
    ] = None,
    priority: Annotated[
        str, typer.Option(help="critical (passes quiet hours and caps), high, normal or low.")
    ] = "normal",
    window: Annotated[
        str, typer.Option(help="When it may reach people, on their clocks: 09:00-21:00.")
    ] = "none",
    local_at: Annotated[
        str | None,
        typer.Option(help="To each when it is that time where they are: 2026-12-24T18:00."),
    ] = None,
) -> None:
    """Make a draft and print its id; everything that can be wrong is refused now."""
    from starter.accounts import keep_accounts
    from starter.campaigns import Wish
    from starter.campaigns import create as make
    from starter.reports import report

    settings, engine = context.settings(), context.engine()
    with engine.begin() as connection:
        keep_accounts(connection, settings)
    campaign = make(
        engine,
        settings,
        Wish(
            name=name,
            topic=topic,
            template=template,
            channel=channel,
            account=account,
            rate=parse_rate(rate),
            on_unknown=on_unknown,
            priority=parse_priority(priority),
            window=parse_window(window),
            local_at=parse_local_time(local_at) if local_at else None,
        ),
    )
    output.show(report(engine, campaign.id), lambda: campaign.public_id)


@app.command()
def start(
    campaign_id: CampaignId,
    follow: Annotated[bool, typer.Option("--follow", help="Watch it until it is done.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before a real account.")] = False,
    at: Annotated[
        str | None, typer.Option(help="It starts by itself then: 2026-12-24T18:00+01:00.")
    ] = None,
) -> None:
    """Start a campaign, now or later; on a real account it says who gets what and asks."""
    from starter.campaigns import audience_size, find
    from starter.campaigns import start as begin

    settings, engine = context.settings(), context.engine()
    campaign = find(engine, key_of(SEND_PREFIX, campaign_id))
    moment = parse_moment(at) if at else None
    if campaign.account_is_real and campaign.state in (SendState.DRAFT, SendState.SCHEDULED):
        people = audience_size(engine, campaign)
        sender = campaign.sender
        by = f", from {sender['name']} <{sender['address']}>" if sender else ""
        output.say(
            f"Account {campaign.account} (real){by}, to {people:,} people subscribed to"
            f" {campaign.topic} by {campaign.channel}."
        )
        if not yes:
            typer.confirm("Send it?", abort=True, err=True)
    campaign = asyncio.run(begin(engine, settings, campaign.id, moment))
    if follow:
        _follow(campaign.id)
        return
    output.show(
        {"id": campaign.public_id, "state": campaign.state, "due_at": campaign.due_at},
        lambda: _started(campaign),
    )


def _started(campaign: Campaign) -> str:
    if campaign.state is SendState.SCHEDULED:
        return (
            f"{campaign.public_id} starts by itself at {campaign.due_at:%Y-%m-%d %H:%M:%S %Z}."
            f" Until then: carillon campaign cancel {campaign.public_id}"
        )
    return (
        f"{campaign.public_id} is started. Watch it: carillon campaign start --follow,"
        f" or carillon campaign status {campaign.public_id}"
    )


def _follow(send_id: int) -> None:
    from starter.follow import follow as watch
    from starter.reports import report

    engine = context.engine()
    watch(engine, send_id, output.console(stderr=True))
    made = report(engine, send_id)
    output.show(made, lambda: _report_table(made))


@app.command()
def follow(campaign_id: CampaignId) -> None:
    """Watch a campaign until it is done, then print its report."""
    from starter.campaigns import find

    _follow(find(context.engine(), key_of(SEND_PREFIX, campaign_id)).id)


@app.command()
def status(campaign_id: CampaignId) -> None:
    """Where it stands, by counts that cost nothing to read."""
    from models.campaign import find_campaign
    from models.progress import progress
    from starter.reports import summary

    with context.engine().connect() as connection:
        campaign = find_campaign(connection, key_of(SEND_PREFIX, campaign_id))
        made = summary(campaign, progress(connection, campaign.id))
    output.show(made, lambda: _report_table(made))


@app.command()
def pause(campaign_id: CampaignId) -> None:
    """Stop at once; whoever was not told stays owed."""
    _change(campaign_id, SendState.PAUSED)


@app.command()
def resume(campaign_id: CampaignId) -> None:
    """Go on after a pause."""
    _change(campaign_id, SendState.RUNNING)


@app.command()
def cancel(campaign_id: CampaignId) -> None:
    """End it: whoever was not tried is cancelled, and the accounts still balance."""
    _change(campaign_id, SendState.CANCELLED)


def _change(campaign_id: str, wanted: SendState) -> None:
    from starter.campaigns import change

    send_id = key_of(SEND_PREFIX, campaign_id)
    changed = asyncio.run(change(context.engine(), context.settings(), send_id, wanted))
    _remark(changed)
    output.show(
        {"id": campaign_id, "state": wanted, "changed": changed.is_new},
        lambda: f"{campaign_id} is {wanted}{'' if changed.is_new else ' already'}.",
    )


def _remark(changed: Changed) -> None:
    if not changed.was_told:
        output.say(
            "Temporal does not answer. The change is committed and nothing is sent against it;"
            " the workflow follows when Temporal is back."
        )


@app.command()
def rate(
    campaign_id: CampaignId,
    messages_per_second: Annotated[str, typer.Argument(metavar="RATE", help="400/s, or none.")],
) -> None:
    """Change the rate, also while it runs; the next flight obeys."""
    from starter.campaigns import change_rate

    wanted = parse_rate(messages_per_second)
    send_id = key_of(SEND_PREFIX, campaign_id)
    _remark(asyncio.run(change_rate(context.engine(), context.settings(), send_id, wanted)))
    words = f"{wanted:g} messages a second" if wanted else "as fast as the account allows"
    output.show({"id": campaign_id, "rate": wanted}, lambda: f"{campaign_id}: {words}.")


@app.command()
def resolve(
    campaign_id: CampaignId,
    resend: Annotated[bool, typer.Option("--resend", help="Send to them again.")] = False,
    leave: Annotated[bool, typer.Option("--leave", help="Leave it at unconfirmed.")] = False,
) -> None:
    """Settle by hand what nobody knows the outcome of."""
    from starter.campaigns import settle_unknown

    if resend == leave:
        raise typer.BadParameter("say either --resend or --leave")
    choice = OnUnknown.RESEND if resend else OnUnknown.LEAVE
    send_id = key_of(SEND_PREFIX, campaign_id)
    changed = asyncio.run(settle_unknown(context.engine(), context.settings(), send_id, choice))
    what = "are owed again" if resend else "are unconfirmed"
    output.show({"id": campaign_id, "changed": changed}, lambda: f"{changed:,} messages {what}.")


@app.command()
def test(
    campaign_id: CampaignId,
    to: Annotated[str, typer.Option("--to", help="The address that gets the one message.")],
) -> None:
    """Send it to one address now; nothing is counted and nobody else gets it."""
    from starter.trial import send_trial

    send_id = key_of(SEND_PREFIX, campaign_id)
    said = send_trial(context.engine(), context.settings(), send_id, to)
    output.show({"id": campaign_id, "to": to, "answer": said}, lambda: said)


@app.command("report")
def report_command(
    campaign_id: CampaignId,
    unconfirmed: Annotated[
        int, typer.Option("--unconfirmed", help="Also list so many of the unconfirmed people.")
    ] = 0,
) -> None:
    """What came of it, in numbers that balance."""
    from starter.reports import report
    from starter.reports import unconfirmed as people

    engine, send_id = context.engine(), key_of(SEND_PREFIX, campaign_id)
    made = report(engine, send_id)
    if unconfirmed:
        made["unconfirmed_people"] = people(engine, send_id, unconfirmed)
    output.show(made, lambda: _report_table(made))


@app.command("list")
def list_command() -> None:
    """The newest campaigns."""
    from models.campaign import list_campaigns
    from models.progress import progress
    from models.team import default_team_id
    from starter.reports import summary

    with context.engine().connect() as connection:
        campaigns = list_campaigns(connection, default_team_id(connection))
        made = [summary(campaign, progress(connection, campaign.id)) for campaign in campaigns]
    columns = ("id", "name", "state", "due_at", "topic", "template", "messages", "accepted", "owed")
    output.show(
        made,
        lambda: output.table(
            columns, ([row[column] for column in columns] for row in made), "No campaign yet."
        ),
    )


def _report_table(made: dict[str, object]) -> Group:
    """The report as two columns; reasons indented below their sum."""
    from starter.report_table import report_table

    return report_table(made)

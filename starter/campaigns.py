"""The use cases of campaigns: create, start, pause, resume, rate, cancel, resolve. Rows first."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime

from sqlalchemy import Connection, Engine

from domain.local_time import Window, first_moment, last_moment
from domain.send import AccountState, Channel, MessageClass, OnUnknown, Priority, SendState
from domain.template_folder import BUILT_IN_NAMES, missing_names
from domain.template_render import TemplateSource, compile_template
from models.account import (
    Account,
    UnknownAccount,
    find_account,
    find_test_account,
    list_accounts,
)
from models.campaign import (
    Campaign,
    NewCampaign,
    WrongState,
    change_state,
    create_campaign,
    find_campaign,
    set_rate,
    start_campaign,
)
from models.database import clock, in_transaction
from models.resolve import resolve
from models.team import attribute_names, default_team_id
from models.template import Version, find_version
from models.topic import count_subscribed, topic_id
from observability.tracing import trace_parent
from providers.headers import parse_sender
from settings import Settings
from starter.client import (
    TemporalUnreachable,
    connect,
    poke_campaigns,
    start_campaign_workflow,
    tell_campaign,
    workflow_pace,
)


class CampaignRefused(Exception):
    """A campaign cannot be made or started like this; the message is one sentence."""


CHANNELS = (Channel.EMAIL, Channel.SMS)
"""By which campaigns go."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What `campaign create` was asked for."""

    name: str
    topic: str
    template: str
    channel: Channel = Channel.EMAIL
    """E-mail or SMS."""
    account: str | None = None
    rate: float | None = None
    on_unknown: OnUnknown | None = None
    priority: Priority = Priority.NORMAL
    window: Window | None = None
    local_at: datetime | None = None
    """Naive: to each when it is that time where they are."""
    is_test: bool = False
    """It goes through everything and ends at an account that only logs, whatever `account` says."""


def create(engine: Engine, settings: Settings, wish: Wish) -> Campaign:
    """A new draft. Everything that can be wrong is refused here, before anybody could be told."""
    return in_transaction(engine, lambda c: create_of_team(c, settings, default_team_id(c), wish))


def create_of_team(connection: Connection, settings: Settings, team: int, wish: Wish) -> Campaign:
    """The same for a team. Raises CampaignRefused, and who does not know topic, template, account."""
    check_rate(wish.rate)
    if not wish.name.strip():
        raise CampaignRefused("A campaign needs a name.")
    if wish.channel not in CHANNELS:
        raise CampaignRefused(f"A campaign goes by {' or '.join(CHANNELS)}, not by {wish.channel}.")
    topic = topic_id(connection, team, wish.topic)
    version = find_version(connection, team, wish.template)
    _check_names(connection, team, version, wish.channel)
    account = (
        find_test_account(connection, team, wish.channel)
        if wish.is_test
        else _account(connection, team, wish.channel, wish.account)
    )
    _check_public_url(settings, account, version)
    send_id = create_campaign(
        connection,
        NewCampaign(
            team_id=team,
            name=wish.name.strip(),
            message_class=version.message_class,
            channel=wish.channel,
            topic_id=topic,
            template_version_id=version.id,
            account_id=account.id,
            sender=sender_of(version, settings) if wish.channel is Channel.EMAIL else {},
            variables={},
            on_unknown=wish.on_unknown or default_policy(version.message_class),
            priority=wish.priority,
            rate=wish.rate,
            expires_after=settings.seconds("campaign_expires_after"),
            window=wish.window,
            local_at=wish.local_at,
            local_grace=settings.seconds("local_grace"),
            is_test=wish.is_test,
        ),
    )
    return find_campaign(connection, send_id)


def check_rate(rate: float | None) -> None:
    """Raises CampaignRefused unless the rate is above 0 or not given."""
    if rate is not None and not 0 < rate < 1e9:
        raise CampaignRefused("The rate must be above 0 messages a second.")


def default_policy(message_class: MessageClass) -> OnUnknown:
    """Nobody wants the newsletter twice; a transactional message is better twice than never."""
    return OnUnknown.LEAVE if message_class is MessageClass.MARKETING else OnUnknown.RESEND


def _check_names(connection: Connection, team: int, version: Version, channel: Channel) -> None:
    if channel not in version.content:
        there = ", ".join(version.content)
        raise CampaignRefused(f"{version.label} says nothing for {channel}; it has: {there}.")
    known = {*BUILT_IN_NAMES, *version.variables, *attribute_names(connection, team)}
    missing = sorted(
        {
            name
            for parts in version.content[channel].values()
            for name in missing_names(
                compile_template(TemplateSource(**parts), has_subject=channel is Channel.EMAIL),
                known,
            )
        }
    )
    if missing:
        names = ", ".join(missing)
        raise CampaignRefused(
            f"The template {version.label} asks for {names}, which is neither a recipient's field"
            " or attribute nor in the [variables] of its template.toml."
        )


_SETTINGS_OF = {
    Channel.EMAIL: "CARILLON_SENDGRID_API_KEY or CARILLON_SMTP_URL",
    Channel.SMS: "CARILLON_TWILIO_ACCOUNT_SID",
}


def _account(connection: Connection, team: int, channel: Channel, key: str | None) -> Account:
    """The account that was named, else the channel's first: real ones come before the simulator's."""
    if key is not None:
        named = find_account(connection, team, key)
        if named.state is AccountState.REMOVED:
            raise CampaignRefused(f"The account '{key}' was removed.")
        if named.channel != channel:
            raise CampaignRefused(
                f"The account '{key}' sends by {named.channel}, not by {channel}."
            )
        return named
    accounts = [
        account
        for account in list_accounts(connection, team)
        if account.channel == channel and account.state is not AccountState.REMOVED
    ]
    if not accounts:
        raise UnknownAccount(
            f"There is no account to send with: set {_SETTINGS_OF[channel]},"
            " or start the simulator with `carillon up`."
        )
    return accounts[0]


def _check_public_url(settings: Settings, account: Account, version: Version) -> None:
    if account.is_real and version.message_class is MessageClass.MARKETING:
        if settings.public_url.startswith("https://"):
            return
        raise CampaignRefused(
            f"Marketing on the real account '{account.key}' needs an unsubscribe link that people can"
            " reach: set CARILLON_PUBLIC_URL to the https address of the public pages."
        )


def sender_of(version: Version, settings: Settings) -> dict[str, str]:
    """Who a send of the version comes from. Raises CampaignRefused when nobody is named."""
    given = version.sender.get("from") or settings.default_from
    if not given:
        raise CampaignRefused(
            f"The template {version.label} names no sender: write `from` into its template.toml, or"
            " set CARILLON_DEFAULT_FROM."
        )
    try:
        return asdict(parse_sender(given, version.sender.get("reply_to", "")))
    except ValueError as error:
        raise CampaignRefused(f"The sender of {version.label} cannot be used: {error}") from error


def audience_size(engine: Engine, campaign: Campaign) -> int:
    """How many people the campaign would be frozen with now. Raises CampaignRefused for none."""
    with engine.connect() as connection:
        return _audience_size(connection, campaign)


def _audience_size(connection: Connection, campaign: Campaign) -> int:
    people = count_subscribed(connection, campaign.topic_id, Channel(campaign.channel))
    if not people:
        raise CampaignRefused(
            f"Nobody is subscribed to '{campaign.topic}': the campaign would go to no one."
        )
    return people


def find(engine: Engine, send_id: int) -> Campaign:
    """The campaign. Raises UnknownCampaign."""
    with engine.connect() as connection:
        return find_campaign(connection, send_id)


async def start(
    engine: Engine, settings: Settings, send_id: int, at: datetime | None = None
) -> Campaign:
    """Commit the start, then start its workflow; or commit when it is to start by itself.

    By local time it starts by itself when the first clocks on earth show that time. Raises
    TemporalUnreachable before anything was changed; a Temporal that goes away after the commit only
    delays it: the reconciler starts what was accepted.
    """
    with engine.connect() as connection:
        due_at = _check_start(connection, find_campaign(connection, send_id), at)
    client = await connect(settings) if due_at is None else None
    campaign = in_transaction(engine, lambda c: commit_start(c, settings, send_id, at))
    if client is not None:
        await start_campaign_workflow(client, campaign, workflow_pace(settings))
    return campaign


def commit_start(
    connection: Connection, settings: Settings, send_id: int, at: datetime | None = None
) -> Campaign:
    """The campaign, accepted or scheduled; Temporal is not asked, the reconciler starts it.

    Raises UnknownCampaign, WrongState, CampaignRefused.
    """
    campaign = find_campaign(connection, send_id)
    due_at = _check_start(connection, campaign, at)
    start_campaign(
        connection,
        send_id,
        settings.seconds("campaign_expires_after"),
        at=due_at,
        lasts_until=last_moment(campaign.local_at) if campaign.local_at else None,
        trace_parent=trace_parent(),
    )
    return find_campaign(connection, send_id)


def _check_start(
    connection: Connection, campaign: Campaign, at: datetime | None
) -> datetime | None:
    """When it is to start by itself; None: now. Raises WrongState, CampaignRefused."""
    if campaign.state not in (SendState.DRAFT, SendState.SCHEDULED):
        raise WrongState(f"The campaign was started before; it is {campaign.state}.")
    _audience_size(connection, campaign)
    return _due_at(campaign, at, clock(connection))


def _due_at(campaign: Campaign, at: datetime | None, now: datetime) -> datetime | None:
    """When it is to start by itself; None: now. Raises CampaignRefused for a time that has passed."""
    if at is not None:
        if at <= now:
            raise CampaignRefused("The time to start at has passed; leave it out to start now.")
        return at
    if campaign.local_at is None:
        return None
    first = first_moment(campaign.local_at)
    return first if first > now else None


UPDATES = {
    SendState.RUNNING: "resume",
    SendState.PAUSED: "pause",
    SendState.CANCELLED: "cancel",
}
"""What a campaign's workflow is told of its new state."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Changed:
    """What a change came to; the rows hold it, whether the workflow was told or not."""

    is_new: bool
    was_told: bool
    """False: Temporal is away. Claims obey the rows; the workflow finds the change within minutes."""


async def change(engine: Engine, settings: Settings, send_id: int, wanted: SendState) -> Changed:
    """Change the campaign to running, paused or cancelled: committed, then told."""
    changed = in_transaction(engine, lambda c: change_state(c, send_id, wanted))
    return Changed(is_new=changed, was_told=await _tell(settings, send_id, UPDATES[wanted]))


async def change_rate(
    engine: Engine, settings: Settings, send_id: int, rate: float | None
) -> Changed:
    """A new rate, also while it runs: the next flight obeys."""
    check_rate(rate)
    in_transaction(engine, lambda c: set_rate(c, send_id, rate))
    return Changed(is_new=True, was_told=await _tell(settings, send_id, "set_rate", rate))


async def settle_unknown(
    engine: Engine, settings: Settings, send_id: int, choice: OnUnknown
) -> int:
    """How many unknown or unconfirmed messages an operator's choice changed; resend sends them."""
    find(engine, send_id)
    changed = in_transaction(engine, lambda c: resolve(c, send_id, choice))
    if changed:
        client = await connect(settings)
        await start_campaign_workflow(client, find(engine, send_id), workflow_pace(settings))
        await poke_campaigns(client, [send_id])
    return changed


async def _tell(settings: Settings, send_id: int, update: str, rate: float | None = None) -> bool:
    """Hurry the workflow; False when Temporal is away. The rows hold the change already."""
    try:
        client = await connect(settings)
    except TemporalUnreachable:
        return False
    await tell_campaign(client, send_id, update, rate)
    return True

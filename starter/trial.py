"""`campaign test`: one message of a campaign to one address, outside any audience and ledger."""

from __future__ import annotations

import time
from datetime import timedelta

from sqlalchemy import Connection, Engine

from activities.mailer import Links, Mailer
from domain.answer import Answer, AnswerClass
from domain.contact import normalise_address
from domain.outcome import Reason
from domain.send import Channel
from models.campaign import Campaign
from models.facts import Person, person_with, send_facts, version_content
from providers.catalog import AccountConfig, open_session
from providers.protocol import Mail, Request, Session
from settings import Settings
from starter.accounts import public_url
from starter.campaigns import CampaignRefused, find
from starter.stored_accounts import KnownAccounts


def send_trial(engine: Engine, settings: Settings, send_id: int, to: str) -> str:
    """Send the campaign's message to `to`; one sentence about the answer. Raises CampaignRefused."""
    campaign = find(engine, send_id)
    with engine.connect() as connection:
        account = trial_account(connection, settings, campaign)
    return send_to(engine, settings, campaign, account, to)


def trial_account(connection: Connection, settings: Settings, campaign: Campaign) -> AccountConfig:
    """The campaign's account with its credentials. Raises CampaignRefused where there are none."""
    known = KnownAccounts(settings).read(connection).get(campaign.account_id)
    if known is None:
        raise CampaignRefused(f"There are no credentials for '{campaign.account}' here.")
    return known.config


def send_to(
    engine: Engine, settings: Settings, campaign: Campaign, account: AccountConfig, to: str
) -> str:
    """Send the campaign's message to `to` with the data of the recipient who has that address, if
    there is one; one sentence about the answer. Raises CampaignRefused when it was not accepted."""
    address = normalise_address(Channel(campaign.channel), to)
    session = open_session(account)
    try:
        with engine.connect() as connection:
            send = send_facts(connection, campaign.id)
            version = version_content(connection, send.template_version_id, send.channel)
            person = person_with(connection, send.team_id, send.channel, address)
        links = Links(
            public_url=public_url(settings),
            secret=settings.link_secret.get_secret_value().encode(),
        )
        mailer = Mailer(send, version, session.capabilities, links)
        mail = mailer.mail(person)
        if isinstance(mail, Reason):
            raise CampaignRefused(f"The message for {address} cannot be made: {mail.word}.")
        answer = _answer(session, mailer, mail, person, settings.seconds("request_timeout"))
    finally:
        session.close()
    if answer.kind is not AnswerClass.ACCEPTED:
        raise CampaignRefused(f"{account.key} did not accept it: {answer.detail or answer.kind}.")
    return f"{account.key} accepted one message for {address}."


def _answer(
    session: Session, mailer: Mailer, mail: Mail, person: Person, timeout: timedelta
) -> Answer:
    skeleton = mailer.skeleton_in(mailer.locale_of(person))
    until = time.monotonic() + timeout.total_seconds()
    session.submit(
        Request(number=1, sender=mailer.sender, mails=[mail], skeleton=skeleton, call_by=until)
    )
    while True:
        for reply in session.poll(timedelta(seconds=1)):
            return reply.answer

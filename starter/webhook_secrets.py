"""The use case of showing what a webhook endpoint verifies with: derived anew, stored nowhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from sqlalchemy import Engine

from domain.contact import normalise_address
from domain.send import Channel
from models.contact import UnknownContact, contacts
from models.recipient_identity import find_recipient
from models.team import default_team_id
from providers.webhook import WebhookConfig, endpoint_secrets
from settings import Settings
from starter.people import ChangeRefused
from starter.stored_accounts import usable_accounts


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningSecrets:
    """What one account signs with for one endpoint."""

    account: str
    secrets: Sequence[str] = field(repr=False)
    """The newest first; several while `CARILLON_WEBHOOK_SECRET` is changed."""


def signing_secrets(
    engine: Engine, settings: Settings, who: str, given: str | None
) -> tuple[str, list[SigningSecrets]]:
    """The recipient's endpoint, by default the one in use, and its secrets by account.

    Only of an endpoint that the recipient has: a secret for an address mistyped would be nobody's.
    Raises UnknownRecipient, InvalidAddress, UnknownContact, ChangeRefused.
    """
    url = _endpoint(engine, who, given)
    with engine.connect() as connection:
        accounts = usable_accounts(connection, settings)
    found = [
        SigningSecrets(account=account.key, secrets=endpoint_secrets(account.config, url))
        for account in accounts
        if isinstance(account.config, WebhookConfig)
    ]
    if not found:
        raise ChangeRefused("Nothing signs webhooks here: set CARILLON_WEBHOOK_SECRET.")
    return url, found


def _endpoint(engine: Engine, who: str, given: str | None) -> str:
    wanted = None if given is None else normalise_address(Channel.WEBHOOK, given)
    with engine.connect() as connection:
        recipient_id = find_recipient(connection, default_team_id(connection), who)
        known = [each.address for each in contacts(connection, recipient_id, Channel.WEBHOOK)]
    if wanted in known:
        return wanted
    if wanted is None and known:
        return known[0]
    raise UnknownContact(f"The recipient has no webhook address{f' {wanted}' if wanted else ''}.")

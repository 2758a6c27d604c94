"""The use cases of outgoing webhooks: who is told what happened, and what they verify it with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from domain.identifier import WEBHOOK_PREFIX, public_id
from domain.webhook_address import why_never_reached, why_refused
from domain.webhook_event import WebhookEvent
from models.audit_entry import record_audit
from models.webhook_delivery import ListedDelivery, find_delivery
from models.webhook_endpoint import (
    Endpoint,
    EndpointChange,
    add_endpoint,
    change_endpoint,
    count_endpoints,
    find_endpoint,
    remove_endpoint,
    rotate_secret,
)
from models.webhook_event import tell_test
from providers.webhook import ENTRY, WebhookConfig, WebhookSettings
from providers.webhook_event import event_secrets
from settings import Settings
from starter.accounts import wire_of

MOST_ENDPOINTS = 20
"""Of a team: each event is written once for each of them."""


class WebhookRefused(Exception):
    """The URL cannot be told anything; the message is one sentence without it."""


class WebhookNotTold(Exception):
    """It is not possible as things stand; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookWish:
    """An endpoint to be made."""

    url: str
    events: Sequence[WebhookEvent] = ()
    """Empty: all."""
    description: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookDesk:
    """A team's endpoints, as one caller handles them; every change is in the audit."""

    team_id: int
    actor: str
    config: WebhookConfig | None
    """None: nothing can be signed here."""

    def add(self, connection: Connection, wish: WebhookWish) -> Endpoint:
        """The new endpoint. Raises WebhookRefused, WebhookNotTold."""
        check_url(self._signed(), wish.url)
        if count_endpoints(connection, self.team_id) >= MOST_ENDPOINTS:
            raise WebhookNotTold(f"A team has at most {MOST_ENDPOINTS} webhook endpoints.")
        made = add_endpoint(connection, self.team_id, wish.url, wish.events, wish.description)
        self._record(connection, "added", made)
        return find_endpoint(connection, self.team_id, made)

    def change(self, connection: Connection, endpoint_id: int, change: EndpointChange) -> Endpoint:
        """The endpoint as it is then. Raises UnknownWebhook, WebhookRefused, WebhookNotTold."""
        find_endpoint(connection, self.team_id, endpoint_id)
        if change.url is not None:
            check_url(self._signed(), change.url)
        change_endpoint(connection, endpoint_id, change)
        self._record(connection, "changed", endpoint_id)
        return find_endpoint(connection, self.team_id, endpoint_id)

    def remove(self, connection: Connection, endpoint_id: int) -> None:
        """It is told nothing more, not even what it is owed. Raises UnknownWebhook."""
        find_endpoint(connection, self.team_id, endpoint_id)
        remove_endpoint(connection, endpoint_id)
        self._record(connection, "removed", endpoint_id)

    def rotate(self, connection: Connection, endpoint_id: int) -> Endpoint:
        """A new secret; the old one signs beside it for a day. Raises UnknownWebhook."""
        find_endpoint(connection, self.team_id, endpoint_id)
        rotate_secret(connection, endpoint_id)
        self._record(connection, "secret_rotated", endpoint_id)
        return find_endpoint(connection, self.team_id, endpoint_id)

    def test(self, connection: Connection, endpoint_id: int) -> ListedDelivery:
        """A test event, owed after all that is owed already. Raises UnknownWebhook, WebhookNotTold."""
        if not find_endpoint(connection, self.team_id, endpoint_id).is_enabled:
            raise WebhookNotTold("The webhook endpoint is disabled: enable it first.")
        return find_delivery(connection, tell_test(connection, endpoint_id))

    def secrets(self, connection: Connection, endpoint_id: int) -> list[str]:
        """What the endpoint's owner verifies with, the newest first. Raises UnknownWebhook, WebhookNotTold."""
        found = find_endpoint(connection, self.team_id, endpoint_id)
        return event_secrets(
            self._signed(), public_id(WEBHOOK_PREFIX, endpoint_id), found.generations
        )

    def _signed(self) -> WebhookConfig:
        if self.config is None:
            raise WebhookNotTold("Nothing signs webhooks here: set CARILLON_WEBHOOK_SECRET.")
        return self.config

    def _record(self, connection: Connection, what: str, endpoint_id: int) -> None:
        record_audit(
            connection,
            self.team_id,
            actor=self.actor,
            action=f"webhook.{what}",
            subject=public_id(WEBHOOK_PREFIX, endpoint_id),
        )


def signing(settings: Settings) -> WebhookConfig | None:
    """How events are signed: as webhook messages are, by the real account's secret if there is one.

    None: the settings name none. Only the simulator's account may reach addresses that are private,
    and only in development.
    """
    given = WebhookSettings(
        webhook_secret=settings.webhook_secret.get_secret_value(),
        # Who may register a URL must not reach a production's own network by it.
        simulator_webhook_url=""
        if settings.mode == "production"
        else settings.simulator_webhook_url,
    )
    configs = (account.config for account in ENTRY.accounts(given, wire_of(settings)))
    return next((config for config in configs if isinstance(config, WebhookConfig)), None)


def check_url(config: WebhookConfig, url: str) -> None:
    """Return if events may go there. Raises WebhookRefused.

    A name is asked for its addresses when it is told something, each time anew.
    """
    why = why_refused(url, allow_private=config.allow_private)
    if not why and not config.allow_private:
        why = why_never_reached(url)
    if why:
        raise WebhookRefused(why)

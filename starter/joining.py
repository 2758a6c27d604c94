"""Joining by call, by link and by form, with the mail that asks to confirm.

Who asks by the form learns nothing: each way through it ends in the same answer. A mail to confirm is
all that an address which somebody else typed in can get, and only a few of them a day.
"""

from __future__ import annotations

import hmac
import logging
from collections.abc import Sequence
from functools import cached_property
from html import escape

from sqlalchemy import Connection, Engine

from domain.digest import Cadence
from domain.join_token import Invitation, make_join_token, read_join_token
from domain.person import InvalidAddress, normalise_email
from domain.send import Channel, SubscriptionState
from models.database import in_transaction
from models.digest_topic import resume_digests
from models.invitation import Invited, find_form, find_invited, is_reached, name_of
from models.join_request import JoinLimits, count_join
from models.recipient_lookup import anonymous_recipient
from models.team import default_team_id
from models.topic import Joining, StoredTopic, find_topic, join_topic, topic_id
from settings import Settings
from starter.accounts import public_url
from starter.built_in import CONFIRM_JOINING, ensure_built_in
from starter.campaigns import CampaignRefused
from starter.messages import Carillon
from starter.topics import AS_IT_IS, JoinWish, TopicRefused, check_wish, join, recipient_of
from starter.wish import wish_of

log = logging.getLogger(__name__)

FORM = "form"
LINK = "join link"
MAILS_PER_ADDRESS = 3
"""In 24 hours, over all topics."""
MAILS_PER_CALLER = 60
NO_LIMIT = 1_000_000_000
_HASH_PURPOSE = b"carillon/join request/1"


class JoinDesk:
    """Takes those who want to join."""

    def __init__(self, engine: Engine, settings: Settings, *, team_id: int | None = None) -> None:
        """`team_id`: None means the team `default`. Nothing is asked of the database yet."""
        self._engine = engine
        self._settings = settings
        self._given_team = team_id
        self._secret = settings.link_secret.get_secret_value().encode()
        self._public_url = public_url(settings)

    @cached_property
    def _team(self) -> int:
        if self._given_team is not None:
            return self._given_team
        with self._engine.connect() as connection:
            return default_team_id(connection)

    @cached_property
    def _carillon(self) -> Carillon:
        return Carillon(self._settings, self._engine, team_id=self._team)

    @cached_property
    def _template(self) -> str:
        """The template of the mail, which is there: committed, for it is read on other connections."""
        with self._engine.begin() as connection:
            ensure_built_in(connection, self._team, CONFIRM_JOINING)
        return CONFIRM_JOINING

    def join(self, key: str, who: str, wish: JoinWish = AS_IT_IS) -> SubscriptionState:
        """How the recipient stands after joining by call; one who must confirm gets the mail.

        A bare address that is nobody's makes a recipient. Raises UnknownTopic, UnknownRecipient,
        TopicRefused, InvalidAddress, and CampaignRefused where the mail has no sender.
        """
        state = in_transaction(self._engine, lambda c: self.join_within(c, key, who, wish))
        self._carillon.announce()
        return state

    def join_within(
        self, connection: Connection, key: str, who: str, wish: JoinWish
    ) -> SubscriptionState:
        """The same in the caller's transaction, which commits it; the mail goes within seconds then."""
        check_wish(wish)
        topic = find_topic(connection, self._team, key)
        recipient_id = recipient_of(connection, self._team, who)
        state = join(connection, topic.id, recipient_id, wish)
        is_asked = state is SubscriptionState.PENDING and wish.channel is Channel.EMAIL
        if is_asked and self._count(connection, f"recipient {recipient_id}", "call", NO_LIMIT):
            self._ask_to_confirm(connection, topic, recipient_id, is_test=wish.is_test)
        return state

    def link(self, key: str, who: str, channel: Channel = Channel.EMAIL) -> str:
        """A link by which the recipient, and nobody else, joins the topic.

        Raises UnknownTopic, UnknownRecipient.
        """

        def work(connection: Connection) -> Invitation:
            return Invitation(
                topic_id=topic_id(connection, self._team, key),
                recipient_id=recipient_of(connection, self._team, who),
                channel=channel,
            )

        return self.url(in_transaction(self._engine, work))

    def announce(self) -> None:
        """What was committed after `join_within` may be a mail to send."""
        self._carillon.announce()

    def form_of(self, key: str) -> StoredTopic | None:
        """The topic that has a form; None where there is none."""
        with self._engine.connect() as connection:
            return find_form(connection, self._team, key)

    def ask(self, key: str, raw_address: str, cadence: Cadence | None, caller: str) -> None:
        """Somebody wants to join by the form: the address gets a mail to confirm it.

        Nothing is told about whether it does: who is a member gets none, nor does an address or a
        caller (where the request came from) that had too many.
        """
        try:
            address = normalise_email(raw_address)
        except InvalidAddress:
            return
        try:
            in_transaction(self._engine, lambda c: self._ask(c, key, address, cadence, caller))
            self._carillon.announce()
        except CampaignRefused as error:  # who asks is not told, the operator is
            log.error("form.mail_has_no_sender", extra={"reason": str(error)})

    def _ask(
        self, connection: Connection, key: str, address: str, cadence: Cadence | None, caller: str
    ) -> None:
        topic = find_form(connection, self._team, key)
        if topic is None or not self._count(connection, address, caller, MAILS_PER_CALLER):
            return
        if is_reached(connection, self._team, topic.id, address):
            return
        recipient_id = anonymous_recipient(connection, self._team, Channel.EMAIL, address)
        join_topic(
            connection,
            topic=topic.id,
            recipient_id=recipient_id,
            channel=Channel.EMAIL,
            source=FORM,
            how=Joining(cadence=cadence, state=SubscriptionState.PENDING),
        )
        self._ask_to_confirm(connection, topic, recipient_id)

    def invited(self, secrets: Sequence[bytes], token: str) -> Invited | None:
        """Whom and what the link is about; None where it is not one of ours, or nobody's any more."""
        invitation = read_join_token(secrets, token)
        if invitation is None:
            return None
        with self._engine.connect() as connection:
            return find_invited(connection, invitation)

    def accept(self, invited: Invited) -> None:
        """The recipient joins, or confirms: whoever has the link reads the messages to the address."""

        def work(connection: Connection) -> None:
            join_topic(
                connection,
                topic=invited.topic_id,
                recipient_id=invited.recipient_id,
                channel=invited.channel,
                source=LINK,
                how=Joining(state=SubscriptionState.SUBSCRIBED),
            )
            resume_digests(connection, invited.topic_id, invited.recipient_id, LINK)

        in_transaction(self._engine, work)
        log.info("topic.joined", extra={"topic_id": invited.topic_id, "channel": invited.channel})

    def _count(self, connection: Connection, to: str, caller: str, per_caller: int) -> bool:
        limits = JoinLimits(per_address=MAILS_PER_ADDRESS, per_caller=per_caller)
        return count_join(
            connection, self._team, self._hash(f"to {to}"), self._hash(f"by {caller}"), limits
        )

    def _hash(self, what: str) -> str:
        return hmac.digest(self._secret, _HASH_PURPOSE + what.encode(), "sha256").hex()

    def _ask_to_confirm(
        self,
        connection: Connection,
        topic: StoredTopic,
        recipient_id: int,
        *,
        is_test: bool = False,
    ) -> None:
        to = name_of(connection, recipient_id)
        if to is None:
            return
        url = self.url(
            Invitation(topic_id=topic.id, recipient_id=recipient_id, channel=Channel.EMAIL)
        )
        said = {
            "variables": {"topic_name": topic.settings.name, "confirm_url": url},
            "is_test": is_test,
        }
        self._carillon.request_within(connection, wish_of(self._template, to, said))

    def url(self, invitation: Invitation) -> str:
        """The link that the invitation is, the same each time."""
        return f"{self._public_url}/j/{make_join_token(self._secret, invitation)}"


def form_html(engine: Engine, settings: Settings, key: str) -> str:
    """HTML of a form to put into any page. Raises UnknownTopic, TopicRefused where it has none."""
    with engine.connect() as connection:
        topic = find_topic(connection, default_team_id(connection), key)
    if not topic.settings.has_form:
        raise TopicRefused(
            f"The topic '{key}' has no form; give it one with: carillon topic create … --form"
        )
    return (
        f'<form method="post" action="{public_url(settings)}/join/{key}">\n'
        '  <input type="email" name="email" required maxlength="254" autocomplete="email">\n'
        '  <input type="text" name="website" tabindex="-1" autocomplete="off" hidden>\n'
        f"  <button>Join {escape(topic.settings.name)}</button>\n"
        "</form>"
    )

"""Which error of the layers below is which problem. A new resource adds its lines here.

Handlers raise nothing themselves for what a use case refuses. An unknown thing in a path is 404, an
unknown thing that a body names is 422.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy.exc import DataError, DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from domain.identifier import BadIdentifier
from domain.person import InvalidValue
from domain.plan import PlanRefused
from domain.template_errors import TemplateError
from models.account import UnknownAccount
from models.api_key import KeyEnded, UnknownKey
from models.campaign import UnknownCampaign, WrongState
from models.contact import UnknownContact
from models.database import DatabaseUnreachable
from models.hold import UnknownHold
from models.idempotent_answer import OtherRequest, StillRunning
from models.import_job import NoRejects, UnknownJob
from models.merge import MergeRefused
from models.recipient_identity import UnknownRecipient as NotThisRecipient
from models.request import KeyReused, TooLate, UnknownSend
from models.resolve import NotResolvable
from models.suppression_list import SuppressionStays, UnknownSuppression
from models.template import UnknownTemplate
from models.topic import UnknownTopic
from models.topic_event import EventKeyReused, UnknownEvent
from models.webhook_endpoint import UnknownWebhook
from settings import SettingsError
from starter.api_keys import KeyRefused
from starter.campaigns import CampaignRefused
from starter.credential_keys import CredentialUnreadable
from starter.csv_file import ImportRefused
from starter.events import EventRefused
from starter.holds import HoldRefused, NotTheirs, UnknownScope
from starter.memberships import (
    MemberNotFound,
    RuleNotFound,
    TopicNotFound,
    UnknownJoined,
    UnknownJoiner,
)
from starter.people import ChangeRefused
from starter.person_changes import UnknownOther
from starter.person_roster import AmbiguousAddress
from starter.person_upsert import ImportUnderWay
from starter.request_recipients import UnknownRecipient
from starter.request_template import MissingVariables
from starter.requests import OfLiveKey
from starter.stored_accounts import AccountInTheWay, AccountNotStored
from starter.template_publishing import NotNewest, TemplateNotFound, UnconditionalPublish
from starter.topics import TopicRefused
from starter.webhooks import WebhookNotTold, WebhookRefused
from starter.wish import RequestRefused
from web.api.problem import FieldError, Problem

log = logging.getLogger("web.api")

RETRY_SECONDS = "5"


@dataclass(frozen=True, slots=True)
class Refusal:
    """How an error is said."""

    status: int
    kind: str
    pointer: str = ""
    """The part of the body that it is about, where it is always the same."""


REFUSALS: Mapping[type[Exception], Refusal] = {
    BadIdentifier: Refusal(404, "not-found"),
    UnknownSend: Refusal(404, "not-found"),
    UnknownKey: Refusal(404, "not-found"),
    UnknownEvent: Refusal(404, "not-found"),
    TopicNotFound: Refusal(404, "not-found"),
    MemberNotFound: Refusal(404, "not-found"),
    RuleNotFound: Refusal(404, "not-found"),
    NotThisRecipient: Refusal(404, "not-found"),
    ChangeRefused: Refusal(409, "refused"),
    UnknownCampaign: Refusal(404, "not-found"),
    UnknownHold: Refusal(404, "not-found"),
    UnknownSuppression: Refusal(404, "not-found"),
    UnknownWebhook: Refusal(404, "not-found"),
    WebhookNotTold: Refusal(409, "wrong-state"),
    WebhookRefused: Refusal(422, "refused", "/url"),
    NotTheirs: Refusal(403, "not-an-operator"),
    OfLiveKey: Refusal(403, "test-key"),
    WrongState: Refusal(409, "wrong-state"),
    NotResolvable: Refusal(409, "wrong-state"),
    SuppressionStays: Refusal(409, "suppression-stays"),
    KeyEnded: Refusal(409, "ended"),
    AccountInTheWay: Refusal(409, "wrong-state"),
    CredentialUnreadable: Refusal(409, "no-credential-key"),
    SettingsError: Refusal(409, "misconfigured"),
    TooLate: Refusal(409, "too-late"),
    StillRunning: Refusal(409, "still-running"),
    KeyReused: Refusal(422, "idempotency-key-reused"),
    OtherRequest: Refusal(422, "idempotency-key-reused"),
    EventKeyReused: Refusal(422, "idempotency-key-reused"),
    UnknownTemplate: Refusal(422, "unknown-template", "/template"),
    UnknownTopic: Refusal(422, "unknown-topic", "/topic"),
    UnknownJoined: Refusal(422, "unknown-topic", "/joins"),
    UnknownJoiner: Refusal(422, "unknown-recipient", "/recipient"),
    UnknownAccount: Refusal(422, "unknown-account", "/account"),
    UnknownScope: Refusal(422, "unknown-scope", "/key"),
    UnknownRecipient: Refusal(422, "unknown-recipient", "/to"),
    UnknownContact: Refusal(404, "not-found"),
    UnknownJob: Refusal(404, "not-found"),
    NoRejects: Refusal(409, "no-rejects"),
    TemplateNotFound: Refusal(404, "not-found"),
    MergeRefused: Refusal(409, "refused"),
    ImportUnderWay: Refusal(409, "still-running"),
    ImportRefused: Refusal(422, "import-refused"),
    UnknownOther: Refusal(422, "unknown-recipient", "/into"),
    AmbiguousAddress: Refusal(422, "ambiguous-address", "/email"),
    NotNewest: Refusal(412, "not-newest"),
    UnconditionalPublish: Refusal(428, "if-match-missing"),
    TemplateError: Refusal(422, "template-refused"),
    MissingVariables: Refusal(422, "missing-variables", "/variables"),
    PlanRefused: Refusal(422, "refused", "/plan"),
    InvalidValue: Refusal(422, "invalid-value"),
    RequestRefused: Refusal(422, "refused"),
    EventRefused: Refusal(422, "refused"),
    TopicRefused: Refusal(422, "refused"),
    CampaignRefused: Refusal(422, "refused"),
    HoldRefused: Refusal(422, "refused"),
    KeyRefused: Refusal(422, "refused"),
    AccountNotStored: Refusal(422, "refused"),
}
_AWAY = (OperationalError, InterfaceError, PoolTimeout, DatabaseUnreachable)


def problem_of(error: Exception) -> Problem | None:
    """The problem that says the error; None: it is none that was foreseen."""
    for kind in type(error).__mro__:
        refusal = REFUSALS.get(kind)
        if refusal is not None:
            return _refused(refusal, str(error), getattr(error, "pointer", refusal.pointer))
    if isinstance(error, _AWAY) or (isinstance(error, DBAPIError) and error.connection_invalidated):
        # One line: further ones, and SQLAlchemy's own text, hold values.
        why = str(getattr(error, "orig", error)).strip().splitlines()[0]
        log.error("api.database_failed", extra={"why": why})
        return Problem(
            503,
            "database-away",
            "The database does not answer now; nothing is known to be done. Try again soon.",
            headers={"Retry-After": RETRY_SECONDS},
        )
    if isinstance(error, DataError):
        log.warning("api.value_refused_by_database", extra={"error": type(error.orig).__name__})
        return Problem(422, "invalid-value", "A value of the request cannot be stored.")
    return None


def _refused(refusal: Refusal, sentence: str, pointer: str) -> Problem:
    """`pointer`: the error's own where it has one."""
    errors = [FieldError(pointer=pointer, detail=sentence)] if pointer else []
    headers = {"Retry-After": "1"} if refusal.kind == "still-running" else None
    return Problem(refusal.status, refusal.kind, sentence, errors=errors, headers=headers)

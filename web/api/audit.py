"""/v1/audit: whether every message is accounted for, and what operators and keys changed."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import BaseModel, Field
from sqlalchemy import Connection

from domain.api_key import Scope
from domain.identifier import SEND_PREFIX, key_of, public_id
from models.audit import imbalances
from models.audit_entry import Audited, audit_entries
from models.campaign import list_campaigns
from models.cap_audit import cap_imbalances
from models.request_audit import request_imbalances
from starter.audits import send_imbalances
from web.api.access import Caller, needs
from web.api.desk import AtDesk
from web.api.paging import Page, Paged
from web.api.route import ApiRoute

router = APIRouter(prefix="/v1/audit", tags=["audit"], route_class=ApiRoute)

Reader = Annotated[Caller, needs(Scope.AUDIT_READ)]


class SendAuditResponse(BaseModel):
    """Whether the counts, rows and attempts of a send say the same."""

    id: str
    balanced: bool
    problems: list[str]


class MessagesAuditResponse(BaseModel):
    """The same of all single messages."""

    balanced: bool
    sends: list[SendAuditResponse] = Field(description="Those that do not balance.")


class CapsAuditResponse(BaseModel):
    """Whether frequency caps count the messages that went."""

    balanced: bool
    problems: list[str]


class AuditEntryResponse(BaseModel):
    """One change, by whom, to what."""

    at: datetime
    actor: str
    action: str
    subject: str
    details: dict[str, Any]


@router.get("/campaigns")
def campaigns(caller: Reader, desk: AtDesk, paging: Paged) -> Page[SendAuditResponse]:
    """The team's campaigns, newest first, each recounted from its rows: a second per million."""
    before = paging.after[0] if paging.after else None

    def read(connection: Connection) -> Page[SendAuditResponse]:
        rows = list_campaigns(connection, caller.team_id, paging.fetch, before=before)
        return paging.page(
            rows, lambda row: _shown(row.id, imbalances(connection, row.id)), lambda row: [row.id]
        )

    return desk.read_at_once(read)


@router.get("/messages")
def messages(caller: Reader, desk: AtDesk) -> MessagesAuditResponse:
    """All sends of single messages: every message is final, or somebody will look at it."""
    found = desk.read_at_once(lambda c: request_imbalances(c, caller.team_id))
    return MessagesAuditResponse(
        balanced=not found,
        sends=[_shown(send_id, problems) for send_id, problems in sorted(found.items())],
    )


@router.get("/caps")
def caps(caller: Reader, desk: AtDesk) -> CapsAuditResponse:
    """What frequency caps count against the messages that they count."""
    found = desk.read_at_once(lambda c: cap_imbalances(c, caller.team_id))
    return CapsAuditResponse(balanced=not found, problems=found)


@router.get("/sends/{id}")
def send(id: str, caller: Reader, desk: AtDesk) -> SendAuditResponse:
    """One send, snd_…, of whatever kind."""
    send_id = key_of(SEND_PREFIX, id)
    found = desk.read_at_once(lambda c: send_imbalances(c, caller.team_id, send_id))
    return _shown(send_id, found)


@router.get("/entries")
def entries(caller: Reader, desk: AtDesk, paging: Paged) -> Page[AuditEntryResponse]:
    """What operators and keys changed, newest first. Entries are never altered."""
    before = paging.after[0] if paging.after else None
    rows = desk.read(lambda c: audit_entries(c, caller.team_id, paging.fetch, before=before))
    return paging.page(rows, _entry, lambda row: [row.id])


def _entry(found: Audited) -> AuditEntryResponse:
    return AuditEntryResponse(
        at=found.at,
        actor=found.actor,
        action=found.action,
        subject=found.subject,
        details=dict(found.details),
    )


def _shown(send_id: int, problems: list[str]) -> SendAuditResponse:
    return SendAuditResponse(
        id=public_id(SEND_PREFIX, send_id), balanced=not problems, problems=problems
    )

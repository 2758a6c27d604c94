"""/v1/accounts: the provider accounts of a team, their shares, their health, and what they wait for."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import Connection

from domain.api_key import Scope
from domain.health import MOST_WEIGHT
from domain.send import AccountState
from models.account import Account, list_accounts
from models.account_health import Waiting, set_weight, waiting_on_channel
from models.audit_entry import record_audit
from starter.accounts import Resumed, resume_account_of_team
from web.api.access import Caller, needs
from web.api.desk import AtDesk
from web.api.paging import Page, Paged
from web.api.problem import Problem
from web.api.route import ApiRoute

router = APIRouter(prefix="/v1/accounts", tags=["accounts"], route_class=ApiRoute)

Reader = Annotated[Caller, needs(Scope.ACCOUNTS_READ)]
Writer = Annotated[Caller, needs(Scope.ACCOUNTS_WRITE)]


class WeightRequest(BaseModel):
    """An account's share of its channel."""

    model_config = ConfigDict(extra="forbid")

    weight: int = Field(ge=0, le=MOST_WEIGHT, description="0: only when no other account is up.")


class HealthResponse(BaseModel):
    """What the provider answered within the last minute."""

    answers: int
    errors: int
    slow: int


class WaitingResponse(BaseModel):
    """Single messages that an account of the channel could take, up to 10,000."""

    owed: int
    parked: int = Field(description="Kept back until a time, such as that of a probe.")
    until: datetime | None = Field(description="When the last of the parked ones is due.")


class AccountResponse(BaseModel):
    """A provider account, without its credentials."""

    key: str
    provider: str
    channel: str
    real: bool = Field(description="It reaches people; else it is the simulator's.")
    rate: float = Field(description="Messages a second; 0: no limit of ours.")
    weight: int = Field(description="Its share now: trouble takes from it, quiet gives it back.")
    weight_configured: int
    weight_reason: str
    state: AccountState
    state_reason: str
    held: list[str] = Field(description="Reasons of the holds on it, with their authors.")
    breaker_until: datetime | None = Field(
        description="When the open breaker lets a probe through."
    )
    credential_set_at: datetime | None = Field(
        description="When its credentials were stored; null: the settings hold them."
    )
    credential_key_id: str | None = Field(description="Of the key that they are encrypted with.")
    health: HealthResponse
    waiting: WaitingResponse


@router.get("")
def list_(caller: Reader, desk: AtDesk, paging: Paged) -> Page[AccountResponse]:
    """The team's accounts: share, health, what stops them, and what waits on their channel."""
    after = paging.after[0] if paging.after else 0

    def read(connection: Connection) -> Page[AccountResponse]:
        accounts = sorted(list_accounts(connection, caller.team_id), key=lambda each: each.id)
        rest = [account for account in accounts if account.id > after][: paging.fetch]
        waiting = _waiting(connection, caller, rest)
        return paging.page(
            rest, lambda each: _shown(each, waiting[each.channel]), lambda each: [each.id]
        )

    return desk.read(read)


@router.get("/{key}")
def get(key: str, caller: Reader, desk: AtDesk) -> AccountResponse:
    """One account, by its key."""
    return desk.read(lambda c: read_account(c, caller, key))


@router.put("/{key}/weight")
def weight(key: str, body: WeightRequest, caller: Writer, desk: AtDesk) -> AccountResponse:
    """Give the account a share of its channel; those beside it return to their own."""

    def work(connection: Connection) -> AccountResponse:
        weigh(connection, caller, key, body.weight)
        return read_account(connection, caller, key)

    return desk.write(work)


@router.post("/{key}/resume")
def resume(key: str, caller: Writer, desk: AtDesk) -> AccountResponse:
    """Use the account again: its holds and a refusal by the provider end. Again is harmless."""

    def work(connection: Connection) -> tuple[Resumed, AccountResponse]:
        account = find_own(connection, caller, key)
        if account.state is AccountState.REMOVED:
            raise Problem(409, "wrong-state", "The account was removed.")
        resumed = resume_account_of_team(connection, caller.team_id, key)
        record_audit(
            connection,
            caller.team_id,
            actor=caller.name,
            action="account.resumed",
            subject=key,
        )
        return resumed, read_account(connection, caller, key)

    waited, shown = desk.write(work)
    desk.hints.wake(waited.sends, waited.groups)
    return shown


def weigh(connection: Connection, caller: Caller, key: str, weight: int) -> None:
    """Give the account its share, and write down who did. Raises Problem where there is none."""
    set_weight(connection, find_own(connection, caller, key).id, weight)
    record_audit(
        connection,
        caller.team_id,
        actor=caller.name,
        action="account.weighted",
        subject=key,
        weight=weight,
    )


def find_own(connection: Connection, caller: Caller, key: str) -> Account:
    """The account of the caller's team. Raises Problem where there is none."""
    for account in list_accounts(connection, caller.team_id):
        if account.key == key:
            return account
    raise Problem(404, "not-found", "There is no account with this key.")


def read_account(connection: Connection, caller: Caller, key: str) -> AccountResponse:
    """What is answered of the account. Raises Problem where there is none."""
    account = find_own(connection, caller, key)
    return _shown(account, _waiting(connection, caller, [account])[account.channel])


def _waiting(
    connection: Connection, caller: Caller, accounts: Sequence[Account]
) -> dict[str, Waiting]:
    channels = sorted({account.channel for account in accounts})
    return {each: waiting_on_channel(connection, caller.team_id, each) for each in channels}


def _shown(account: Account, waiting: Waiting) -> AccountResponse:
    return AccountResponse(
        key=account.key,
        provider=account.provider,
        channel=account.channel,
        real=account.is_real,
        rate=account.rate,
        weight=account.weight,
        weight_configured=account.weight_configured,
        weight_reason=account.weight_reason,
        state=account.state,
        state_reason=account.state_reason,
        held=account.hold_reasons,
        breaker_until=account.breaker_until,
        credential_set_at=account.credential_set_at,
        credential_key_id=account.credential_key_id,
        health=HealthResponse(answers=account.answers, errors=account.errors, slow=account.slow),
        waiting=WaitingResponse(owed=waiting.owed, parked=waiting.parked, until=waiting.until),
    )

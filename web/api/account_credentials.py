"""/v1/accounts: accounts are added with their credentials, given new ones, removed; none is read back."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from sqlalchemy import Connection

from domain.health import MOST_WEIGHT
from domain.send import Channel
from starter.accounts import Resumed
from starter.stored_accounts import NewAccount, add_account, remove_account, replace_credentials
from web.api.access import Caller
from web.api.accounts import AccountResponse, Writer, find_own, read_account, weigh
from web.api.desk import AtDesk
from web.api.idempotency import IdempotencyKey, once
from web.api.route import ApiRoute

router = APIRouter(prefix="/v1/accounts", tags=["accounts"], route_class=ApiRoute)

Word = Annotated[str, StringConstraints(min_length=1, max_length=100)]
Credentials = Annotated[
    dict[Word, Annotated[str, StringConstraints(max_length=4_000)]],
    Field(
        max_length=20,
        repr=False,
        description="By name, as `carillon accounts add` takes them: sendgrid_api_key and"
        " sendgrid_region; smtp_url; twilio_account_sid, twilio_auth_token and twilio_from;"
        " webhook_secret. Kept encrypted, and never answered.",
    ),
]


class AddAccountRequest(BaseModel):
    """An account with its credentials."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "key": "sendgrid-two",
                    "provider": "sendgrid",
                    "rate": 500,
                    "credentials": {"sendgrid_api_key": "SG.…", "sendgrid_region": "eu"},
                }
            ]
        },
    )

    key: Word = Field(description="A name of your own: lower-case letters, digits, - and _.")
    provider: Word = Field(description="sendgrid, smtp, twilio or webhook.")
    channel: Channel | None = Field(None, description="Null: the provider's.")
    credentials: Credentials
    rate: float = Field(0, ge=0, le=1e6, description="Units a second; 0: no limit of ours.")
    weight: int | None = Field(
        None,
        ge=0,
        le=MOST_WEIGHT,
        description="Its share of the channel; null: all of it, or beside others a fallback.",
    )

    def new(self) -> NewAccount:
        """What the layers below call it."""
        return NewAccount(
            key=self.key,
            provider=self.provider,
            channel=self.channel,
            credentials=self.credentials,
            rate=self.rate,
        )


class ReplaceCredentialsRequest(BaseModel):
    """All credentials that the account is to have."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"credentials": {"sendgrid_api_key": "SG.…"}}]},
    )

    credentials: Credentials


@router.post("", status_code=201, response_model=AccountResponse)
def add(
    body: AddAccountRequest, caller: Writer, desk: AtDesk, key: IdempotencyKey, request: Request
) -> Response:
    """Store an account; running workers use it at once. One that was removed may be added again."""
    waited: list[Resumed] = []

    def effect(connection: Connection) -> AccountResponse:
        new = body.new()
        added = add_account(connection, desk.settings, caller.team_id, new, actor=caller.name)
        waited.append(added)
        if body.weight is not None:
            weigh(connection, caller, body.key, body.weight)
        return read_account(connection, caller, body.key)

    answer = once(desk, caller, key, request, body, 201, effect)
    for each in waited:
        desk.hints.wake(each.sends, each.groups)
    return answer


@router.put("/{key}/credentials")
def replace(
    key: str, body: ReplaceCredentialsRequest, caller: Writer, desk: AtDesk
) -> AccountResponse:
    """Give the account new credentials of its provider; a refusal of the old ones ends."""

    def work(connection: Connection) -> tuple[Resumed, AccountResponse]:
        find_own(connection, caller, key)
        waited = replace_credentials(
            connection,
            desk.settings,
            caller.team_id,
            key,
            body.credentials,
            actor=caller.name,
        )
        return waited, read_account(connection, caller, key)

    waited, shown = desk.write(work)
    desk.hints.wake(waited.sends, waited.groups)
    return shown


@router.delete("/{key}", status_code=204)
def remove(key: str, caller: Writer, desk: AtDesk) -> None:
    """Delete the account's credentials: nothing more is sent on it. Its row stays, as removed."""
    desk.write(lambda c: _remove(c, caller, desk, key))


def _remove(connection: Connection, caller: Caller, desk: AtDesk, key: str) -> None:
    find_own(connection, caller, key)
    remove_account(connection, desk.settings, caller.team_id, key, actor=caller.name)

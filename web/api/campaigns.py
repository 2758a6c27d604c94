"""/v1/campaigns: drafts are made, looked at, started, steered and reported."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Request, Response
from sqlalchemy import Connection

from domain.api_key import Scope
from domain.identifier import SEND_PREFIX, key_of
from domain.send import Channel, SendState
from models.audit_entry import record_audit
from models.campaign import (
    Campaign,
    WrongState,
    campaign_of_team,
    change_state,
    list_campaigns,
    set_rate,
)
from models.preflight import preflight as count_people
from models.progress import progress
from models.resolve import resolve as settle
from providers.account import AccountConfig
from starter.campaigns import UPDATES, CampaignRefused, commit_start, create_of_team
from starter.reports import report_of, summary
from starter.trial import send_to, trial_account
from web.api.access import Caller, needs, of_live_keys
from web.api.campaign_bodies import (
    CampaignReportResponse,
    CampaignResponse,
    CreateCampaignRequest,
    PreflightResponse,
    RateRequest,
    ResolveCampaignRequest,
    ResolvedCampaignResponse,
    StartCampaignRequest,
    TestCampaignRequest,
    TestedCampaignResponse,
    TestSentItem,
    fields_of,
)
from web.api.desk import AtDesk, Desk
from web.api.idempotency import IdempotencyKey, once, once_outside
from web.api.paging import Page, Paged
from web.api.route import ApiRoute

router = APIRouter(prefix="/v1/campaigns", tags=["campaigns"], route_class=ApiRoute)

Reader = Annotated[Caller, needs(Scope.CAMPAIGNS_READ)]
Writer = Annotated[Caller, needs(Scope.CAMPAIGNS_WRITE)]


@router.post("", status_code=201, response_model=CampaignResponse)
def create(
    body: CreateCampaignRequest, caller: Writer, desk: AtDesk, key: IdempotencyKey, request: Request
) -> Response:
    """Make a draft, snd_… Everything that can be wrong is refused now, before anybody is told."""
    wish = body.wish(is_test=caller.is_test)

    def effect(connection: Connection) -> CampaignResponse:
        made = create_of_team(connection, desk.settings, caller.team_id, wish)
        return _shown(connection, made)

    return once(desk, caller, key, request, body, 201, effect)


@router.get("")
def list_(
    caller: Reader, desk: AtDesk, paging: Paged, state: SendState | None = None
) -> Page[CampaignResponse]:
    """The team's campaigns, newest first, each with its counts."""
    before = paging.after[0] if paging.after else None

    def read(connection: Connection) -> Page[CampaignResponse]:
        rows = list_campaigns(connection, caller.team_id, paging.fetch, before=before, state=state)
        return paging.page(rows, lambda row: _shown(connection, row), lambda row: [row.id])

    return desk.read(read)


@router.get("/{id}")
def get(id: str, caller: Reader, desk: AtDesk) -> CampaignResponse:
    """One campaign, with counts that cost nothing to read."""
    return desk.read(lambda c: _shown(c, _find(c, caller, id)))


@router.get("/{id}/preflight")
def preflight(id: str, caller: Reader, desk: AtDesk) -> PreflightResponse:
    """Before it starts: how many people are in, and how many are out for which reason."""

    def read(connection: Connection) -> PreflightResponse:
        campaign = _find(connection, caller, id)
        if campaign.frozen_at is not None:
            raise WrongState(f"Its audience is frozen: it is {campaign.state}. See its report.")
        return PreflightResponse.of(campaign, count_people(connection, campaign))

    return desk.read(read)


@router.get("/{id}/report")
def report(id: str, caller: Reader, desk: AtDesk) -> CampaignReportResponse:
    """What came of it. All its rows are read, to see that the numbers balance."""

    def read(connection: Connection) -> CampaignReportResponse:
        campaign = _find(connection, caller, id)
        fields = fields_of(campaign, report_of(connection, campaign))
        return CampaignReportResponse(**fields)

    return desk.read_at_once(read)


@router.post("/{id}/start", status_code=202, response_model=CampaignResponse)
def start(
    id: str,
    body: StartCampaignRequest,
    caller: Writer,
    desk: AtDesk,
    key: IdempotencyKey,
    request: Request,
) -> Response:
    """Start it, now or later. The answer comes when that is committed; Temporal may be away."""
    begun: list[Campaign] = []

    def effect(connection: Connection) -> CampaignResponse:
        campaign = _to_change(connection, caller, id)
        started = commit_start(connection, desk.settings, campaign.id, body.moment())
        _record(connection, caller, started, "start")
        begun[:] = [started] if started.state is SendState.ACCEPTED else []
        return _shown(connection, started)

    answer = once(desk, caller, key, request, body, 202, effect)
    for campaign in begun:
        desk.hints.start(campaign)
    return answer


@router.post("/{id}/pause", status_code=202)
def pause(id: str, caller: Writer, desk: AtDesk) -> CampaignResponse:
    """Stop at once; whoever was not told stays owed. Again is harmless."""
    return _change(id, caller, desk, SendState.PAUSED)


@router.post("/{id}/resume", status_code=202)
def resume(id: str, caller: Writer, desk: AtDesk) -> CampaignResponse:
    """Go on after a pause. Again is harmless."""
    return _change(id, caller, desk, SendState.RUNNING)


@router.post("/{id}/cancel", status_code=202)
def cancel(id: str, caller: Writer, desk: AtDesk) -> CampaignResponse:
    """End it: whoever was not tried gets nothing, and the accounts still balance. Again is harmless."""
    return _change(id, caller, desk, SendState.CANCELLED)


@router.put("/{id}/rate", status_code=202)
def change_rate(id: str, body: RateRequest, caller: Writer, desk: AtDesk) -> CampaignResponse:
    """Change the rate, also while it runs; the next flight obeys."""

    def work(connection: Connection) -> CampaignResponse:
        campaign = _to_change(connection, caller, id)
        set_rate(connection, campaign.id, body.rate)
        _record(connection, caller, campaign, "set_rate", rate=body.rate)
        return _shown(connection, _find(connection, caller, id))

    shown = desk.write(work)
    desk.hints.tell(key_of(SEND_PREFIX, id), "set_rate", body.rate)
    return shown


@router.post("/{id}/resolve", status_code=202, response_model=ResolvedCampaignResponse)
def resolve(
    id: str,
    body: ResolveCampaignRequest,
    caller: Writer,
    desk: AtDesk,
    key: IdempotencyKey,
    request: Request,
) -> Response:
    """Settle by hand what nobody knows the outcome of. Who is sent to again may get it twice."""
    changed: list[Campaign] = []

    def effect(connection: Connection) -> ResolvedCampaignResponse:
        campaign = _to_change(connection, caller, id)
        count = settle(connection, campaign.id, body.on_unknown)
        _record(connection, caller, campaign, "resolve", on_unknown=body.on_unknown, changed=count)
        after = _find(connection, caller, id)
        changed[:] = [after] if count else []
        return ResolvedCampaignResponse(**_fields(connection, after), changed=count)

    answer = once(desk, caller, key, request, body, 202, effect)
    for campaign in changed:
        desk.hints.start(campaign)
        desk.hints.wake([campaign.id])
    return answer


@router.post("/{id}/test", response_model=TestedCampaignResponse)
def test(
    id: str,
    body: TestCampaignRequest,
    caller: Writer,
    desk: AtDesk,
    key: IdempotencyKey,
    request: Request,
) -> Response:
    """Send its message to a few addresses now; nothing is counted and nobody else gets it.

    With the data of the recipient who has the address, if there is one.
    """

    def prepare(connection: Connection) -> tuple[Campaign, AccountConfig, list[str]]:
        campaign = _to_change(connection, caller, id)
        addresses = body.addresses(Channel(campaign.channel))
        account = trial_account(connection, desk.settings, campaign)
        _record(connection, caller, campaign, "test", addresses=len(addresses))
        return campaign, account, addresses

    def act(prepared: tuple[Campaign, AccountConfig, list[str]]) -> TestedCampaignResponse:
        campaign, account, addresses = prepared
        items = [_tested(desk, campaign, account, to) for to in addresses]
        return TestedCampaignResponse(id=campaign.public_id, items=items)

    return once_outside(desk, caller, key, request, body, prepare, act)


def _tested(desk: Desk, campaign: Campaign, account: AccountConfig, to: str) -> TestSentItem:
    try:
        said = send_to(desk.engine, desk.settings, campaign, account, to)
    except CampaignRefused as error:
        return TestSentItem(to=to, accepted=False, detail=str(error))
    return TestSentItem(to=to, accepted=True, detail=said)


def _change(id: str, caller: Caller, desk: Desk, wanted: SendState) -> CampaignResponse:
    def work(connection: Connection) -> CampaignResponse:
        campaign = _to_change(connection, caller, id)
        if change_state(connection, campaign.id, wanted):
            _record(connection, caller, campaign, UPDATES[wanted])
        return _shown(connection, _find(connection, caller, id))

    shown = desk.write(work)
    desk.hints.tell(key_of(SEND_PREFIX, id), UPDATES[wanted])
    return shown


def _find(connection: Connection, caller: Caller, id: str) -> Campaign:
    return campaign_of_team(connection, caller.team_id, key_of(SEND_PREFIX, id))


def _to_change(connection: Connection, caller: Caller, id: str) -> Campaign:
    """The campaign, which the caller may change: a test key reaches nobody, so not by a live one's."""
    campaign = _find(connection, caller, id)
    if caller.is_test and not campaign.is_test:
        raise of_live_keys("A test key changes campaigns of test keys only.")
    return campaign


def _record(
    connection: Connection,
    caller: Caller,
    campaign: Campaign,
    what: str,
    **details: float | str | None,
) -> None:
    record_audit(
        connection,
        caller.team_id,
        actor=caller.name,
        action=f"campaign.{what}",
        subject=campaign.public_id,
        **details,
    )


def _shown(connection: Connection, campaign: Campaign) -> CampaignResponse:
    return CampaignResponse(**_fields(connection, campaign))


def _fields(connection: Connection, campaign: Campaign) -> dict[str, Any]:
    return fields_of(campaign, summary(campaign, progress(connection, campaign.id)))

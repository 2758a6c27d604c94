"""The simulator's JSON: what was received, and the control of its faults."""

from __future__ import annotations

import itertools
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, HTTPException, Query
from pydantic import BaseModel, ConfigDict, Field

from simulator.faults import Fault, FaultBoard
from simulator.mailbox import KEPT_MESSAGES, Mailbox
from simulator.smtp_options import SmtpOptions


class StatsResponse(BaseModel):
    """Counts since the start or the last reset."""

    received: int
    """Messages accepted."""
    requests: int
    """mail/send requests and SMTP messages that began to arrive."""
    refused: int
    """Requests among them that were refused."""
    per_second: float
    by_provider: dict[str, int]
    kept: int
    """Messages that the inbox still shows."""


class StandingFaultResponse(BaseModel):
    """A rule and what it has seen."""

    rule: Fault
    requests: int
    fired: int


class SmtpOptionsRequest(BaseModel):
    """What may change while the server runs; what is left out stays."""

    model_config = ConfigDict(extra="forbid")

    offers_8bitmime: bool | None = None
    is_auth_required: bool | None = None
    size_bytes: int | None = Field(None, ge=1024)


def api_routes(mailbox: Mailbox) -> APIRouter:
    """`/api/…`: reads only."""
    router = APIRouter(prefix="/api")

    @router.get("/stats")
    async def stats() -> StatsResponse:
        return stats_of(mailbox)

    @router.get("/messages")
    async def messages(
        limit: Annotated[int, Query(ge=1, le=KEPT_MESSAGES)] = 50, to: str = ""
    ) -> dict[str, list[dict[str, Any]]]:
        """The newest first, as the journal has them, each with its number here."""
        newest = itertools.islice(mailbox.newest(to), limit)
        return {"messages": [{"number": kept.number, **kept.line} for kept in newest]}

    @router.get("/messages/{number}")
    async def message(number: int) -> dict[str, Any]:
        """One message with headers, text and HTML, substitutions applied."""
        kept = mailbox.find(number)
        if kept is None:
            raise HTTPException(404, "not kept any more")
        rendered = kept.rendered()
        return {
            "number": kept.number,
            **kept.line,
            "headers": rendered.headers,
            "text": rendered.text,
            "html": rendered.html,
            "attachments": rendered.attachments,
        }

    return router


def control_routes(mailbox: Mailbox, board: FaultBoard, options: SmtpOptions) -> APIRouter:
    """`/control/…`: faults, reset, and what the SMTP server offers."""
    router = APIRouter(prefix="/control", dependencies=[Depends(_not_from_another_site)])

    @router.get("/faults")
    async def faults() -> list[StandingFaultResponse]:
        return standing_on(board)

    @router.post("/faults")
    async def set_faults(rules: list[Fault]) -> list[StandingFaultResponse]:
        """Put these rules in place of all that stood; their counts begin at 0."""
        board.replace(rules)
        return standing_on(board)

    @router.delete("/faults")
    async def delete_faults() -> list[StandingFaultResponse]:
        board.replace(())
        return standing_on(board)

    @router.post("/reset")
    async def reset() -> StatsResponse:
        """Empty the journal and forget messages and counts; the faults stand."""
        mailbox.clear()
        return stats_of(mailbox)

    @router.post("/smtp")
    async def set_smtp(changes: SmtpOptionsRequest) -> SmtpOptionsRequest:
        for name, value in changes.model_dump(exclude_none=True).items():
            setattr(options, name, value)
        return SmtpOptionsRequest(
            offers_8bitmime=options.offers_8bitmime,
            is_auth_required=options.is_auth_required,
            size_bytes=options.size_bytes,
        )

    return router


async def _not_from_another_site(sec_fetch_site: Annotated[str, Header()] = "none") -> None:
    """A page elsewhere must not empty the journal by a form; browsers say where a request is from."""
    if sec_fetch_site not in {"none", "same-origin"}:
        raise HTTPException(403, "not from another site")


def stats_of(mailbox: Mailbox) -> StatsResponse:
    """The counts of this moment."""
    counts = mailbox.counts
    return StatsResponse(
        received=counts.received,
        requests=counts.requests,
        refused=counts.refused,
        per_second=mailbox.per_second(),
        by_provider=dict(counts.by_provider),
        kept=min(counts.received, KEPT_MESSAGES),
    )


def standing_on(board: FaultBoard) -> list[StandingFaultResponse]:
    """The rules that stand, in their order, with their counts."""
    return [
        StandingFaultResponse(rule=fault.rule, requests=fault.requests, fired=fault.fired)
        for fault in board.standing
    ]

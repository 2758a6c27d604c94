"""The inbox: a page of what was received, for people."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import jinja2
from fastapi import APIRouter, FastAPI, HTTPException, Query
from fastapi.responses import FileResponse, HTMLResponse

from simulator.control import api_routes, control_routes, standing_on, stats_of
from simulator.faults import FaultBoard
from simulator.mailbox import KEPT_MESSAGES, Kept, Mailbox
from simulator.smtp_options import SmtpOptions

PAGES = Path(__file__).parent / "pages"
PAGE_SIZE = 50
PAGE_POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
# A srcdoc frame inherits this policy, so it allows what a mail's HTML needs and no script at all.
MESSAGE_POLICY = (
    "default-src 'none'; style-src 'self' 'unsafe-inline'; img-src https: data:; "
    "form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
)
CONTENT_POLICY = (
    "sandbox; default-src 'none'; img-src https: data:; style-src 'unsafe-inline'; "
    "base-uri 'none'; form-action 'none'"
)


def inbox_app(mailbox: Mailbox, board: FaultBoard, options: SmtpOptions) -> FastAPI:
    """The application of the simulator's own port."""
    app = FastAPI(title="Carillon simulator", docs_url=None, redoc_url=None)
    app.include_router(_Pages(mailbox, board).routes())
    app.include_router(api_routes(mailbox))
    app.include_router(control_routes(mailbox, board, options))
    return app


class _Pages:
    """The HTML pages; every value is escaped by the templates."""

    def __init__(self, mailbox: Mailbox, board: FaultBoard) -> None:
        self._mailbox = mailbox
        self._board = board
        self._templates = jinja2.Environment(
            loader=jinja2.FileSystemLoader(PAGES),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )

    def routes(self) -> APIRouter:
        router = APIRouter(default_response_class=HTMLResponse)
        router.add_api_route("/", self.inbox)
        router.add_api_route("/messages/{number}", self.message)
        router.add_api_route("/messages/{number}/html", self.content)
        router.add_api_route("/inbox.css", self.style)
        router.add_api_route("/inbox.js", self.script)
        return router

    async def inbox(
        self, to: str = "", number: Annotated[int, Query(alias="page", ge=1)] = 1
    ) -> HTMLResponse:
        """One page of the newest messages; `to` is a part of an address."""
        shown = list(self._mailbox.newest(to))
        start = (number - 1) * PAGE_SIZE
        return self._page(
            "inbox.html",
            PAGE_POLICY,
            messages=shown[start : start + PAGE_SIZE],
            matches=len(shown),
            page_number=number,
            pages=max(1, -(-len(shown) // PAGE_SIZE)),
            to=to,
            stats=stats_of(self._mailbox),
            most_kept=KEPT_MESSAGES,
            journal=self._mailbox.journal_name,
            faults=standing_on(self._board),
        )

    async def message(self, number: int) -> HTMLResponse:
        """One message as its reader would see it."""
        kept = self._kept(number)
        return self._page("message.html", MESSAGE_POLICY, kept=kept, rendered=kept.rendered())

    async def content(self, number: int) -> HTMLResponse:
        """The HTML alone, as it was sent; the policy makes it inert."""
        return HTMLResponse(self._kept(number).rendered().html, headers=_headers(CONTENT_POLICY))

    async def style(self) -> FileResponse:
        return FileResponse(PAGES / "inbox.css", media_type="text/css")

    async def script(self) -> FileResponse:
        return FileResponse(PAGES / "inbox.js", media_type="text/javascript")

    def _kept(self, number: int) -> Kept:
        kept = self._mailbox.find(number)
        if kept is None:
            raise HTTPException(404, "This message is not kept any more; the journal has its line.")
        return kept

    def _page(self, template: str, policy: str, **values: Any) -> HTMLResponse:
        html = self._templates.get_template(template).render(values)
        return HTMLResponse(html, headers=_headers(policy))


def _headers(policy: str) -> dict[str, str]:
    return {
        "Content-Security-Policy": policy,
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-store",
    }

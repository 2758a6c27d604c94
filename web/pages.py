"""The public pages' HTML and the headers they go out with."""

from __future__ import annotations

import base64
import hashlib
import logging
from pathlib import Path

from fastapi import Request, Response
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined

import templates

log = logging.getLogger("web")

_FOLDER = Path(templates.__file__).parent / "public"


class Pages:
    """Renders `templates/public`."""

    def __init__(self) -> None:
        """Reads the style sheet, which goes into every page: one request shows it, even offline."""
        self._environment = Environment(
            loader=FileSystemLoader(_FOLDER), autoescape=True, undefined=StrictUndefined
        )
        self._style = (_FOLDER / "style.css").read_text(encoding="utf-8")
        self.headers = {
            "Content-Security-Policy": _policy(self._style),
            "Referrer-Policy": "no-referrer",
            "X-Content-Type-Options": "nosniff",
            "X-Frame-Options": "DENY",
            "X-Robots-Tag": "noindex, nofollow",
            "Cache-Control": "no-store",
        }

    def question(self, topic: str) -> Response:
        """Asks whether the reader wants to leave the topic."""
        return self._page("unsubscribe.html", topic=topic)

    def done(self, topic: str) -> Response:
        """Says that the reader has left the topic."""
        return self._page("unsubscribed.html", topic=topic)

    def invalid(self) -> Response:
        """Says that the link leads nowhere; 200 like all others."""
        return self._page("invalid_link.html")

    def show(self, name: str, **shown: str) -> Response:
        """The page of this name; 200 like all others."""
        return self._page(name, 200, **shown)

    async def trouble(self, request: Request, error: Exception) -> Response:
        """The database is away: say so, and that trying again helps."""
        log.error("web.database_failed", exc_info=error)
        page = self._page("trouble.html", status=503)
        page.headers["Retry-After"] = "60"
        return page

    def _page(self, name: str, status: int = 200, **shown: str) -> Response:
        page = self._environment.get_template(name)
        return HTMLResponse(page.render(style=self._style, **shown), status)


def _policy(style: str) -> str:
    """Nothing but our own inline style, and forms to ourselves."""
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return (
        f"default-src 'none'; style-src 'sha256-{digest}'; form-action 'self';"
        " base-uri 'none'; frame-ancestors 'none'"
    )

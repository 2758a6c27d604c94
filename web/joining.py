"""The public pages by which people join a topic: a signed link, and a form to ask for one by mail.

Opening a page changes nothing, its button does. The form answers everybody alike, and a hidden field
that people leave empty keeps simple machines out.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from urllib.parse import parse_qs

from fastapi import FastAPI, Request, Response
from starlette.concurrency import run_in_threadpool

from domain.digest import Cadence
from starter.joining import JoinDesk
from web.pages import Pages

MAX_BODY_BYTES = 4096
TRAP = "website"
"""The field that people do not see."""


def add_joining(app: FastAPI, desk: JoinDesk, link_secrets: Sequence[bytes], pages: Pages) -> None:
    """Serve the pages. `/j/TOKEN` joins or confirms; `/join/TOPIC` is the form."""
    joining = _Joining(desk, link_secrets, pages)
    app.add_api_route("/j/{token}", joining.ask, methods=["GET", "HEAD"])
    app.add_api_route("/j/{token}", joining.accept, methods=["POST"])
    app.add_api_route("/join/{topic}", joining.form, methods=["GET", "HEAD"])
    app.add_api_route("/join/{topic}", joining.submit, methods=["POST"])


class _Joining:
    def __init__(self, desk: JoinDesk, link_secrets: Sequence[bytes], pages: Pages) -> None:
        self._desk = desk
        self._secrets = tuple(link_secrets)
        self._pages = pages

    def ask(self, token: str) -> Response:
        """The page with the button."""
        invited = self._desk.invited(self._secrets, token)
        if invited is None:
            return self._pages.show("join_invalid.html")
        return self._pages.show("join.html", topic=invited.topic_name)

    def accept(self, token: str) -> Response:
        """Join. The body is not read: a POST to a signed address is the wish itself."""
        invited = self._desk.invited(self._secrets, token)
        if invited is None:
            return self._pages.show("join_invalid.html")
        self._desk.accept(invited)
        return self._pages.show("joined.html", topic=invited.topic_name)

    def form(self, topic: str) -> Response:
        """The form, where the topic has one."""
        found = self._desk.form_of(topic)
        if found is None:
            return self._pages.show("join_invalid.html")
        return self._pages.show("join_form.html", topic=found.settings.name, trap=TRAP)

    async def submit(self, topic: str, request: Request) -> Response:
        """The same page for every address, member or not, and whether there is such a topic or not."""
        fields = await _fields(request)
        # Machines fill in all fields; they are answered like everybody.
        if fields.get("email") and not fields.get(TRAP):
            cadence = None
            with suppress(ValueError):
                cadence = Cadence(fields.get("cadence", ""))
            caller = request.client.host if request.client else ""
            await run_in_threadpool(self._desk.ask, topic, fields["email"], cadence, caller)
        return self._pages.show("join_asked.html")


async def _fields(request: Request) -> dict[str, str]:
    """The fields of a plain form; nothing of one that is too large or not text."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            return {}
    try:
        given = parse_qs(body.decode("utf-8"), max_num_fields=20)
    except ValueError:
        return {}
    return {name: values[0] for name, values in given.items()}

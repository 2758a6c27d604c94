"""The public pages. For now one: where a recipient leaves a topic (RFC 8058)."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from domain.unsubscribe_token import read_token
from models.database import DatabaseUnreachable, reach
from models.schema import SchemaNotAtHead, require_head
from models.topic import leave_topic
from models.unsubscribe import LinkedSubscription, find_linked
from observability.web import Observed
from starter.joining import JoinDesk
from web.joining import add_joining
from web.pages import Pages

log = logging.getLogger("web")

SOURCE = "unsubscribe link"


def create_app(
    engine: Engine, link_secrets: Sequence[bytes], joining: JoinDesk | None = None
) -> FastAPI:
    """The application. The first secret signs links; older ones behind it are still good.

    `joining`: serves the pages by which people join, too.
    """
    # No schema, no docs, no redirects: nobody explores this.
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False)
    pages = Pages()
    unsubscribing = _Unsubscribing(engine, link_secrets, pages)
    health = _Health(engine)
    app.add_api_route("/u/{token}", unsubscribing.ask, methods=["GET", "HEAD"])
    app.add_api_route("/u/{token}", unsubscribing.leave, methods=["POST"])
    if joining is not None:
        add_joining(app, joining, link_secrets, pages)
    app.add_api_route("/livez", health.alive, methods=["GET", "HEAD"])
    app.add_api_route("/readyz", health.ready, methods=["GET", "HEAD"])
    app.add_exception_handler(SQLAlchemyError, pages.trouble)

    @app.middleware("http")
    async def guarded(
        request: Request, call_next: Callable[[Request], Awaitable[Response]]
    ) -> Response:
        response = await call_next(request)
        response.headers.update(pages.headers)
        return response

    app.add_middleware(Observed)
    return app


class _Unsubscribing:
    """The page of an unsubscribe link.

    A link scanner opens links, so GET and HEAD never change anything. Every answer is 200: an
    unknown token, somebody who left long ago and an erased one tell nobody anything.
    """

    def __init__(self, engine: Engine, link_secrets: Sequence[bytes], pages: Pages) -> None:
        self._engine = engine
        self._secrets = tuple(link_secrets)
        self._pages = pages

    def ask(self, token: str) -> Response:
        """The page with the button."""
        linked = self._linked(token)
        if linked is None:
            return self._pages.invalid()
        return self._pages.question(linked.topic_name)

    def leave(self, token: str) -> Response:
        """End the subscription. The body is not read: a POST to a signed address is the wish itself.

        Mail providers send `List-Unsubscribe=One-Click` as form or multipart, browsers the form.
        """
        linked = self._linked(token)
        if linked is None:
            return self._pages.invalid()
        with self._engine.begin() as connection:
            leave_topic(
                connection,
                topic=linked.topic_id,
                recipient_id=linked.recipient_id,
                channel=linked.channel,
                source=SOURCE,
            )
        log.info("topic.left", extra={"topic_id": linked.topic_id, "channel": linked.channel})
        return self._pages.done(linked.topic_name)

    def _linked(self, token: str) -> LinkedSubscription | None:
        reference = read_token(self._secrets, token)
        if reference is None:
            return None
        with self._engine.connect() as connection:
            return find_linked(connection, reference)


class _Health:
    """For supervisors and load balancers: alive is the process, ready is its database too."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def alive(self) -> Response:
        """Always 200."""
        return JSONResponse({"status": "alive"})

    def ready(self) -> Response:
        """200 when the database answers with the schema of this version; else 503. Details are logged."""
        try:
            reach(self._engine)
            require_head(self._engine)
        except (DatabaseUnreachable, SchemaNotAtHead) as error:
            log.warning("web.not_ready", extra={"reason": str(error)})
            return JSONResponse({"status": "not ready", "why": type(error).__name__}, 503)
        return JSONResponse({"status": "ready"})

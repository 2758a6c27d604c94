"""What one web process serves: the API below /v1 and /api, the public pages everywhere else."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager

from fastapi import FastAPI
from sqlalchemy import Engine
from starlette.types import ASGIApp, Receive, Scope, Send

from observability.web import metrics_route
from settings import Settings
from starter.joining import JoinDesk
from web.api.app import PREFIXES, create_api
from web.api.desk import Desk
from web.app import create_app


class Site:
    """Chooses by path; each part keeps its own headers and its own words for errors."""

    def __init__(self, pages: ASGIApp, api: ASGIApp) -> None:
        """Both on one database."""
        self._pages = pages
        self._api = api

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand the request on; start and stop are the API's."""
        is_api = scope["type"] == "lifespan" or any(
            scope["path"] == prefix or scope["path"].startswith(prefix + "/") for prefix in PREFIXES
        )
        await (self._api if is_api else self._pages)(scope, receive, send)


def create_site(
    engine: Engine, settings: Settings, beside: Sequence[AbstractContextManager[object]] = ()
) -> Site:
    """The site on a database; nothing is asked of it before a request comes.

    `beside`: contexts that are open as long as it serves.
    """
    pages: FastAPI = create_app(
        engine,
        [settings.link_secret.get_secret_value().encode()],
        JoinDesk(engine, settings),
    )
    pages.router.routes.append(metrics_route(settings.metrics_token.get_secret_value()))
    return Site(pages, create_api(Desk(engine, settings), beside))

"""What the tests of the API share: an application on a real database, and clients with keys."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from httpx import Response
from sqlalchemy import Engine, text

from domain.api_key import Scope
from models.team import default_team_id
from settings import Settings, load
from starter.api_keys import KeyWish, MadeKey, create_key
from tests.requests import a_shop
from tests.web_process import WebProcess
from web.site import create_site

_numbers = itertools.count(1)
EVERYTHING = (Scope.ADMIN.value,)


@dataclass(frozen=True, kw_only=True)
class Api:
    """The site, as a caller with one key meets it."""

    http: TestClient
    engine: Engine
    settings: Settings
    team: int
    key: MadeKey
    headers: dict[str, str] = field(default_factory=dict)

    def get(self, path: str, **given: Any) -> Response:
        answer: Response = self.http.get(path, headers=self.headers, **given)
        return answer

    def post(self, path: str, body: Any = None, *, key: str | None = "", **given: Any) -> Response:
        """`key`: the idempotency key; "" makes a new one, None sends none."""
        headers = dict(self.headers)
        if key is not None:
            headers["Idempotency-Key"] = key or f"test-{next(_numbers)}"
        answer: Response = self.http.post(path, json=body, headers=headers, **given)
        return answer

    def put(self, path: str, body: Any = None, **given: Any) -> Response:
        answer: Response = self.http.put(path, json=body, headers=self.headers, **given)
        return answer

    def patch(self, path: str, body: Any = None, **given: Any) -> Response:
        answer: Response = self.http.patch(path, json=body, headers=self.headers, **given)
        return answer

    def delete(self, path: str, **given: Any) -> Response:
        answer: Response = self.http.delete(path, headers=self.headers, **given)
        return answer


MakeApi = Callable[..., Api]


def site_client(engine: Engine, settings: Settings) -> TestClient:
    """HTTP without a socket; an error that nobody foresaw is a 500, as for real callers."""
    return TestClient(create_site(engine, settings), raise_server_exceptions=False)


@pytest.fixture
def api_settings() -> Settings:
    return load(_env_file=None)


@pytest.fixture
def make_api(engine: Engine, api_settings: Settings) -> Iterator[MakeApi]:
    """Makes callers: each with a key of its own, of the team `default` or another one."""
    with site_client(engine, api_settings) as http:

        def make(
            scopes: Sequence[str] = EVERYTHING, *, team: str = "default", is_test: bool = False
        ) -> Api:
            secret = api_settings.api_secret.get_secret_value().encode()
            with engine.begin() as connection:
                team_id = a_team(connection, team)
                wish = KeyWish(name="tests", scopes=list(scopes), is_test=is_test)
                made = create_key(connection, secret, team_id, wish)
            return Api(
                http=http,
                engine=engine,
                settings=api_settings,
                team=team_id,
                key=made,
                headers={"Authorization": f"Bearer {made.text}"},
            )

        yield make


def a_team(connection: Any, key: str) -> int:
    """Id of the team, made where there is none."""
    if key == "default":
        return default_team_id(connection)
    made: int = connection.execute(
        text(
            "INSERT INTO team (key, name) VALUES (:key, :key)"
            " ON CONFLICT (key) DO UPDATE SET name = excluded.name RETURNING id"
        ),
        {"key": key},
    ).scalar_one()
    return made


@pytest.fixture
def api(make_api: MakeApi) -> Api:
    """A caller of the team `default` who may do everything."""
    return make_api()


@pytest.fixture
def shop(api: Api) -> Api:
    """The same, with ten customers and the template `order-shipped`."""
    a_shop(api.engine)
    return api


ORDER = {"template": "order-shipped", "to": "person-1", "variables": {"order": "A-17"}}


@pytest.fixture
def web(engine: Engine, tmp_path: Path) -> Iterator[WebProcess]:
    """The process on the test's database, not started yet."""
    url = engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
    with WebProcess(url, tmp_path) as made:
        yield made

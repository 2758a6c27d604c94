"""TLS to PostgreSQL and Temporal, as the settings ask for it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import make_url, text
from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest

import settings as settings_module
from models.database import DatabaseUnreachable, connect, reach
from settings import Settings, SettingsError
from stack.development import DevelopmentStack
from stack.doctor import examine
from starter.client import TemporalUnreachable, tls_of
from starter.client import connect as connect_temporal
from tests.tls_front import Certificates, TlsFront, certificates, running


@pytest.fixture
def files(tmp_path: Path) -> Certificates:
    return certificates(tmp_path / "right")


@pytest.fixture
def postgres(files: Certificates, postgres_url: str) -> Iterator[TlsFront]:
    """PostgreSQL behind TLS: the real server's socket, and a front that asks for TLS."""
    url = make_url(postgres_url)
    socket = f"{url.query['host']}/.s.PGSQL.{url.query['port']}"
    with running(TlsFront(files, socket, asks_first=True)) as front:
        yield front


def load(**given: object) -> Settings:
    return settings_module.load(_env_file=None, **given)


def database(front: TlsFront, postgres_url: str, query: str = "", **tls: object) -> Settings:
    name = make_url(postgres_url).database
    url = f"postgresql://carillon@127.0.0.1:{front.port}/{name}{query}"
    return load(database_url=url, **tls)


def test_postgresql_is_reached_over_tls_with_its_certificate_checked(
    postgres: TlsFront, postgres_url: str, files: Certificates
) -> None:
    settings = database(
        postgres,
        postgres_url,
        database_sslmode="verify-full",
        database_root_cert=str(files.authority),
    )
    engine = connect(settings.database_url, address_key="k")
    with engine.connect() as connection:
        answer = connection.execute(text("SELECT count(*) FROM team")).scalar_one()
        driver = connection.connection.driver_connection
        is_encrypted = driver.info.ssl_in_use  # type: ignore[union-attr]
    engine.dispose()

    assert (answer, is_encrypted, postgres.encrypted) == (1, True, 1)


def test_postgresql_with_a_certificate_of_anothers_authority_is_not_believed(
    postgres: TlsFront, postgres_url: str, tmp_path: Path
) -> None:
    other = certificates(tmp_path / "other").authority
    settings = database(
        postgres, postgres_url, database_sslmode="verify-full", database_root_cert=str(other)
    )

    with pytest.raises(DatabaseUnreachable, match="certificate verify failed"):
        reach(connect(settings.database_url))


def test_without_tls_a_server_that_wants_it_is_not_reached(
    postgres: TlsFront, postgres_url: str
) -> None:
    settings = database(postgres, postgres_url, database_sslmode="disable")

    with pytest.raises(DatabaseUnreachable):
        reach(connect(settings.database_url))
    assert postgres.encrypted == 0


@pytest.mark.parametrize(
    ("url", "given", "query"),
    [
        ("postgresql://h/d", {}, {}),
        ("postgresql://h/d", {"database_sslmode": "require"}, {"sslmode": "require"}),
        (
            "postgresql://h/d?sslmode=verify-full&application_name=x",
            {"database_sslmode": "require", "database_root_cert": "/ca of us.pem"},
            {"sslmode": "verify-full", "application_name": "x", "sslrootcert": "/ca of us.pem"},
        ),
        (
            "postgresql://h/d",
            {"database_client_cert": "/c", "database_client_key": "/k"},
            {"sslcert": "/c", "sslkey": "/k"},
        ),
    ],
)
def test_what_the_url_says_goes_before_the_settings(
    url: str, given: dict[str, object], query: dict[str, str]
) -> None:
    first = load(database_url=url, **given)
    again = load(database_url=first.database_url, **given)

    assert dict(make_url(first.database_url).query) == query
    assert again.database_url == first.database_url


def test_the_embedded_server_stays_the_embedded_server() -> None:
    assert load(database_sslmode="require").database_url == ""


def namespace_of(settings: Settings) -> str:
    """The name of our namespace, as Temporal says it: a call that is answered."""

    async def ask() -> str:
        client = await connect_temporal(settings)
        answer = await client.workflow_service.describe_namespace(
            DescribeNamespaceRequest(namespace=settings.temporal_namespace)
        )
        return answer.namespace_info.name

    return asyncio.run(ask())


def test_temporal_is_reached_over_tls_with_its_certificate_checked(
    stack: DevelopmentStack, files: Certificates, tmp_path: Path
) -> None:
    address = stack.settings().temporal_address
    with running(TlsFront(files, address, asks_first=False)) as front:
        here = f"127.0.0.1:{front.port}"
        known = namespace_of(load(temporal_address=here, temporal_ca=str(files.authority)))
        with pytest.raises(TemporalUnreachable, match="does not answer over TLS"):
            other = certificates(tmp_path / "other").authority
            namespace_of(load(temporal_address=here, temporal_ca=str(other)))
        with pytest.raises(TemporalUnreachable, match="does not answer"):
            namespace_of(load(temporal_address=here))

    assert known == "default"


def test_temporal_that_wants_to_know_us_gets_our_certificate(
    stack: DevelopmentStack, files: Certificates
) -> None:
    address = stack.settings().temporal_address
    with running(TlsFront(files, address, asks_first=False, wants_client=True)) as front:
        here = {"temporal_address": f"127.0.0.1:{front.port}", "temporal_ca": str(files.authority)}
        ours = {
            "temporal_client_cert": str(files.certificate),
            "temporal_client_key": str(files.key),
        }
        known = namespace_of(load(**here, **ours))
        with pytest.raises(TemporalUnreachable):
            namespace_of(load(**here))

    assert known == "default"


@pytest.mark.parametrize(
    ("given", "is_on"),
    [
        ({}, False),
        ({"temporal_tls": True}, True),
        ({"temporal_api_key": "a key"}, True),
        ({"temporal_server_name": "temporal.example"}, True),
    ],
)
def test_an_api_key_never_travels_in_clear_text(given: dict[str, object], is_on: bool) -> None:
    assert bool(tls_of(load(**given))) is is_on


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"temporal_ca": "/nowhere.pem"}, "CARILLON_TEMPORAL_CA: cannot read /nowhere.pem"),
        ({"temporal_client_cert": "/c.pem"}, "set both or neither"),
        ({"temporal_client_key": "/k.pem"}, "set both or neither"),
    ],
)
def test_files_that_are_not_there_are_said(given: dict[str, object], says: str) -> None:
    with pytest.raises(SettingsError, match=says):
        tls_of(load(**given))


def test_the_doctor_shows_how_connections_are_made_and_which_file_is_missing(
    tmp_path: Path, files: Certificates
) -> None:
    found = {
        finding.name: finding
        for finding in examine(
            load(
                data_dir=tmp_path,
                database_url="postgresql://db.example/x?sslmode=verify-full",
                database_root_cert=str(files.authority),
                temporal_address="temporal.example:7233",
                temporal_api_key="never-to-be-seen",
                temporal_ca=str(tmp_path / "missing.pem"),
            )
        )
    }

    assert found["PostgreSQL"].found.endswith("sslmode verify-full with authorities of yours")
    assert found["Temporal"].found.endswith("TLS, authorities of yours, API key")
    assert not found["TLS files"].is_ok
    assert "CARILLON_TEMPORAL_CA: cannot read" in found["TLS files"].found
    assert "never-to-be-seen" not in str(found)

"""The adapters that call nobody."""

from __future__ import annotations

import pytest

from providers import in_app, log
from providers.in_app import InAppSettings
from providers.log import LogSettings
from providers.protocol import Request, Session
from tests.providers.contract import LocalContract, LocalWorld, changed_request
from tests.providers.provider_builders import answer_to


class InAppWorld:
    """The row is the ledger's business."""

    def session(self) -> Session:
        return in_app.open_session(InAppSettings())

    def request(self, number: int, **changes: object) -> Request:
        return changed_request(number, {"address": str(number), **changes})


class LogWorld:
    """One line a message."""

    def session(self) -> Session:
        return log.open_session(LogSettings())

    def request(self, number: int, **changes: object) -> Request:
        return changed_request(number, changes)


class TestInApp(LocalContract):
    """Accepts."""

    @pytest.fixture
    def world(self) -> LocalWorld:
        return InAppWorld()


class TestLog(LocalContract):
    """Logs and accepts."""

    @pytest.fixture
    def world(self) -> LocalWorld:
        return LogWorld()


def test_the_line_has_the_reference_and_neither_address_nor_content(
    caplog: pytest.LogCaptureFixture,
) -> None:
    world = LogWorld()

    answer_to(world.session(), world.request(7))

    (record,) = [record for record in caplog.records if record.name == "providers.log"]
    assert (record.getMessage(), vars(record)["reference"]) == ("message.logged", "ref-7")
    assert not [word for word in ("ann7", "Ann", "Hello", "News") if word in str(vars(record))]

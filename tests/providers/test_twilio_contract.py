"""The contract over Twilio's Messages API."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import pytest

from domain.answer import AnswerClass
from tests.providers.contract import Contract, World
from tests.providers.twilio_world import ANSWERS, TwilioWorld


class TestTwilio(Contract):
    """One message a request."""

    CODES: ClassVar[list[tuple[object, AnswerClass]]] = [
        (name, kind) for name, (_, kind) in ANSWERS.items()
    ]

    @pytest.fixture
    def world(self) -> Iterator[World]:
        world = TwilioWorld()
        yield world
        world.close()

"""A worker's desk: single messages asked for and driven by hand, without Temporal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine, text
from temporalio.testing import ActivityEnvironment

from activities.contract import GroupInput, GroupResult
from activities.groups import GroupActivities
from activities.look_up import LookUp
from models.database import in_transaction
from models.outbox import gather
from models.team import default_team_id
from settings import Settings
from starter.messages import Carillon
from tests.requests import final_outcomes

ORDER = {"order": "A-17"}


@dataclass
class Desk:
    """A shop with a client, and a worker's activity to drive its groups by hand."""

    engine: Engine
    client: Carillon
    settings: Settings
    activities: GroupActivities
    look_up: LookUp

    def send(self, to: str | list[str] = "person-1", **wishes: Any) -> int:
        given: dict[str, Any] = {"variables": ORDER, **wishes}
        return self.client.send_blocking("order-shipped", to=to, **given).send_id

    def drive(self) -> list[GroupResult]:
        """The results of one pass over each group that can be gathered now."""
        results = []
        while (group := in_transaction(self.engine, lambda c: gather(c, 200))) is not None:
            results.append(self.again(group.id))
        return results

    def again(self, group_id: int) -> GroupResult:
        result = ActivityEnvironment().run(
            self.activities.drive_group, GroupInput(group_id=group_id)
        )
        assert isinstance(result, GroupResult)
        return result

    def execute(self, sql: str, **values: Any) -> None:
        with self.engine.begin() as connection:
            connection.execute(text(sql), values)

    def outcomes(self, send_id: int) -> dict[tuple[int, int], str]:
        return final_outcomes(self.engine, send_id)

    @property
    def team(self) -> int:
        with self.engine.connect() as connection:
            return default_team_id(connection)


def a_phone(desk: Desk, number: str = "+436601234567") -> None:
    """Person 1 has a telephone."""
    desk.execute(
        "INSERT INTO contact_point (team_id, recipient_id, channel, address)"
        " SELECT team_id, id, 'sms', :number FROM recipient WHERE external_id = 'person-1'",
        number=number,
    )

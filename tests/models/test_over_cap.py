"""Over a frequency cap a message waits or is skipped, as its topic says."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine

from domain.cap import Over
from models.cap import NewCap, add_cap, caps_on
from models.facts import send_facts
from models.team import default_team_id
from models.topic import set_over_cap
from tests.builders import Draft, a_running_campaign, scalar


@pytest.mark.parametrize(
    ("cap", "topic", "holds"),
    [
        (Over.DEFER, None, Over.DEFER),
        (Over.SKIP, None, Over.SKIP),
        (Over.DEFER, Over.SKIP, Over.SKIP),
        (Over.SKIP, Over.DEFER, Over.DEFER),
    ],
)
def test_the_topics_choice_goes_before_the_caps(
    engine: Engine, cap: Over, topic: Over | None, holds: Over
) -> None:
    send_id = a_running_campaign(engine, Draft(people=1))
    news = scalar(engine, "SELECT id FROM topic")
    with engine.begin() as connection:
        team = default_team_id(connection)
        add_cap(
            connection,
            NewCap(
                team_id=team,
                topic_id=None,
                message_class=None,
                channel=None,
                most=1,
                hours=None,
                over=cap,
            ),
        )
        set_over_cap(connection, news, topic)

        def holding(topic_id: int | None) -> Over:
            (found,) = caps_on(
                connection,
                team_id=team,
                topic_id=topic_id,
                message_class="marketing",
                channel="email",
            )
            return found.over

        of_the_campaign = send_facts(connection, send_id).time_rules.caps[0].over

        assert (holding(news), of_the_campaign) == (holds, holds)
        assert holding(None) is cap, "a message of no topic, as the cap says"

"""A crowd as rows: its people, suppressions, team and cap, and what happens to them."""

from __future__ import annotations

import orjson
from sqlalchemy import Connection, Engine, text

from domain.cap import Over
from domain.local_time import Window
from domain.send import Channel
from models.cap import NewCap, add_cap
from models.erasure import erase
from models.suppression import suppress
from models.team import TeamClock, default_team_id, set_team_clock
from models.topic import add_topic, leave_topic, topic_id
from tests.builders import TOPIC
from tests.crowd import OPT_IN, Changes
from tests.model_of_sending import World


def write_world(engine: Engine, world: World) -> None:
    """The world as rows."""
    start, until = world["quiet"] or (None, None)
    with engine.begin() as connection:
        team = default_team_id(connection)
        clock = TeamClock(time_zone=world["zone"], quiet=Window.of(start, until))
        set_team_clock(connection, team, clock)
        for key, opt_in in OPT_IN.items():
            add_topic(connection, team, key, key.title(), opt_in)
        write_people(connection, team, world)
        for (channel, address), reason in world["suppressed"].items():
            suppress(connection, team, {address: reason}, channel=Channel(channel), source="test")
        message_class, channel = world["one_a_day"]
        cap = NewCap(
            team_id=team,
            topic_id=None,
            message_class=message_class,
            channel=channel,
            most=1,
            hours=None,
            over=Over.SKIP,
        )
        add_cap(connection, cap)


def write_people(connection: Connection, team: int, world: World) -> None:
    """In the order of the world, which is then that of their ids."""
    people = [
        {
            "name": person["name"],
            "zone": person["zone"],
            "start": person["quiet"] and person["quiet"][0].isoformat(),
            "until": person["quiet"] and person["quiet"][1].isoformat(),
            "addresses": person["addresses"],
            "consents": [[*of, state] for of, state in person["consents"].items()],
        }
        for person in world["people"].values()
    ]
    given = {"team": team, "people": orjson.dumps(people).decode()}
    for statement in WRITE_PEOPLE:
        connection.execute(text(statement), given)


_GIVEN = "jsonb_array_elements(CAST(:people AS jsonb)) WITH ORDINALITY AS g(p, place)"
WRITE_PEOPLE = (
    "INSERT INTO recipient (team_id, external_id, first_name, last_name, time_zone, quiet_from,"
    " quiet_until) SELECT :team, p ->> 'name', 'First', 'Last', p ->> 'zone',"
    f" CAST(p ->> 'start' AS time), CAST(p ->> 'until' AS time) FROM {_GIVEN} ORDER BY place",
    "INSERT INTO contact_point (team_id, recipient_id, channel, address)"
    f" SELECT :team, r.id, a.key, a.value FROM {_GIVEN}"
    " JOIN recipient r ON r.team_id = :team AND r.external_id = p ->> 'name'"
    " CROSS JOIN LATERAL jsonb_each_text(p -> 'addresses') AS a",
    "INSERT INTO subscription (topic_id, channel, recipient_id, state, source)"
    f" SELECT t.id, c ->> 1, r.id, c ->> 2, 'test' FROM {_GIVEN}"
    " JOIN recipient r ON r.team_id = :team AND r.external_id = p ->> 'name'"
    " CROSS JOIN LATERAL jsonb_array_elements(p -> 'consents') AS c"
    " JOIN topic t ON t.team_id = :team AND t.key = c ->> 0",
)


def change_people(engine: Engine, changes: Changes) -> None:
    """Let them leave and erase them, as operators do."""
    with engine.begin() as connection:
        team = default_team_id(connection)
        topic = topic_id(connection, team, TOPIC)
        rows = connection.execute(text("SELECT external_id, id FROM recipient"))
        ids = {row.external_id: row.id for row in rows}
        for name in changes.leaving:
            leave_topic(
                connection,
                topic=topic,
                recipient_id=ids[name],
                channel=Channel.EMAIL,
                source="test",
            )
        for name in changes.erased:
            erase(connection, team, ids[name])

"""The same people for every round: names with quotes and non-ASCII, three plans, five mail domains."""

from __future__ import annotations

from sqlalchemy import Engine, text

from models.team import add_attribute_names, default_team_id
from models.topic import add_topic

TOPIC = "bench"


def make_people(engine: Engine, count: int) -> None:
    """So many recipients, all subscribed to the topic `bench`; tables analysed as autovacuum would."""
    with engine.begin() as connection:
        team = default_team_id(connection)
        topic = add_topic(connection, team, TOPIC, "Benchmark", "explicit")
        add_attribute_names(connection, team, ["plan", "city", "points"])
        connection.execute(
            text(
                "WITH made AS (INSERT INTO recipient (team_id, external_id, first_name, last_name,"
                " locale, time_zone, attributes) SELECT :team, 'b' || n,"
                " (ARRAY['Anna', 'Søren', 'O''Neil', 'Zoë', 'Łukasz <b>'])[1 + n % 5], 'Muster' || n,"
                " 'en', 'Europe/Berlin', jsonb_build_object("
                "  'plan', (ARRAY['free', 'plus', 'pro'])[1 + n % 3],"
                "  'city', (ARRAY['Bern', 'Graz', ''])[1 + n % 3], 'points', (n % 900)::text)"
                " FROM generate_series(1, :count) AS n RETURNING id, external_id),"
                " points AS (INSERT INTO contact_point (team_id, recipient_id, channel, address)"
                " SELECT :team, id, 'email', external_id || '@mail' || id % 5 || '.example.com' FROM made)"
                " INSERT INTO subscription (topic_id, channel, recipient_id, state, source)"
                " SELECT :topic, 'email', id, 'subscribed', 'bench' FROM made"
            ),
            {"team": team, "count": count, "topic": topic},
        )
    with engine.connect() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT").execute(text("ANALYZE"))

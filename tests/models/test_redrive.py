"""Redriving a campaign: its counts move with its rows, and only what failed is owed again."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import Engine

from models.database import in_transaction
from models.progress import close, progress
from models.redrive import dead_letters, redrive
from models.team import default_team_id
from tests.builders import outcomes, scalar
from tests.models.test_events import Sender


def test_a_finished_campaign_owes_what_failed_and_nothing_else(engine: Engine) -> None:
    sender = Sender(engine)
    sender.attempt("ara")
    in_transaction(engine, lambda c: close(c, sender.send_id))
    with engine.connect() as connection:
        team = default_team_id(connection)
        (letters,) = dead_letters(connection, team, timedelta(days=1))

    done = in_transaction(engine, lambda c: redrive(c, team, sender.send_id, "typo"))

    assert (letters.messages, letters.outcome.word) == (1, "rejected")
    assert (done.messages, done.is_campaign) == (1, True)
    assert outcomes(engine, sender.send_id) == {1: "accepted", 2: "owed", 3: "accepted"}
    with engine.connect() as connection:
        assert progress(connection, sender.send_id).owed == 1
    assert scalar(engine, "SELECT state || ' ' || round FROM send") == "running 1"
    assert scalar(engine, "SELECT closed_at IS NULL FROM send")
    sender.check()


def test_where_nothing_failed_a_redrive_changes_nothing(engine: Engine) -> None:
    sender = Sender(engine)
    sender.attempt("aaa")
    in_transaction(engine, lambda c: close(c, sender.send_id))
    with engine.connect() as connection:
        team = default_team_id(connection)

    done = in_transaction(engine, lambda c: redrive(c, team, sender.send_id, "again"))

    assert done.messages == 0
    assert scalar(engine, "SELECT state || ' ' || round FROM send") == "finished 0"

"""A campaign in several languages: each gets one letter, in theirs, also where a request carries many."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sqlalchemy import text

from tests.builders import Draft
from tests.requests import a_template
from tests.scenario import Scenario

MakeScenario = Callable[..., Scenario]

# By what recipients have as their locale: what they are told.
WORDS = {"de_AT": "Servus", "de": "Hallo", "fr": "Hello"}


@pytest.mark.parametrize("per_request", [50, 1])
def test_each_gets_the_letter_in_their_language(
    make_scenario: MakeScenario, per_request: int
) -> None:
    made = make_scenario(messages_per_request=per_request)
    made.draft(Draft(people=60))
    html = "<p>{{ first_name }}</p>"
    content = {
        locale: {"subject": word + " {{ first_name }}", "html": html, "text": ""}
        for locale, word in (("", "Hello"), ("de", "Hallo"), ("de_AT", "Servus"))
    }
    with made.engine.begin() as connection:
        a_template(connection, "letter", content={"email": content})
        connection.execute(
            text("UPDATE send SET template_version_id = (SELECT max(id) FROM template_version)")
        )
        connection.execute(
            text("UPDATE recipient SET locale = (CAST(:locales AS text[]))[id % 3 + 1]"),
            {"locales": list(WORDS)},
        )
        rows = connection.execute(
            text(
                "SELECT c.address, r.locale FROM recipient r"
                " JOIN contact_point c ON c.recipient_id = r.id"
            )
        )
        locales: dict[str, str] = {row.address: row.locale for row in rows}
    made.start_workers()
    made.begin()
    report = made.wait_closed()

    received = made.simulator.received(made.send_id)
    assert (report["accepted"], report["balanced"]) == (60, True), report["problems"]
    assert set(made.copies().values()) == {1}
    assert {entry["subject"].split()[0] == WORDS[locales[entry["to"]]] for entry in received} == {
        True
    }
    assert len({entry["request_id"] for entry in received}) >= (60 if per_request == 1 else 3)

"""The eligibility table and its SQL give the same verdict on generated people."""

from __future__ import annotations

import itertools

import pytest
from sqlalchemy import Engine, text

from domain.eligibility import Defer, Facts, Send, Skip, decide
from domain.outcome import Reason
from domain.send import MessageClass, SubscriptionState
from models.facts import read_people, send_facts
from tests.builders import Draft, a_running_campaign

# All combinations of the facts that rules ask about: 2 × 2 × 2 × 4 people, for each class.
CASES = list(
    itertools.product((False, True), (False, True), (False, True), (*SubscriptionState, None))
)


def arrange(engine: Engine) -> None:
    """Person n of the campaign gets case n."""
    with engine.begin() as connection:
        for number, (is_erased, has_point, is_suppressed, state) in enumerate(CASES, 1):
            who = {
                "id": f"person-{number}",
                "address": f"person-{number}@example.com",
                "state": state,
            }
            recipient = "(SELECT id FROM recipient WHERE external_id = :id)"
            if is_erased:
                connection.execute(
                    text("UPDATE recipient SET erased_at = now() WHERE external_id = :id"), who
                )
            if is_suppressed:
                connection.execute(
                    text(
                        "INSERT INTO suppression (team_id, channel, address, reason, source)"
                        " SELECT id, 'email', :address, 'manual', 'test' FROM team"
                    ),
                    who,
                )
            if not has_point:
                connection.execute(
                    text(f"DELETE FROM contact_point WHERE recipient_id = {recipient}"), who
                )
            change = (
                "UPDATE subscription SET state = :state" if state else "DELETE FROM subscription"
            )
            connection.execute(text(f"{change} WHERE recipient_id = {recipient}"), who)


@pytest.mark.parametrize("message_class", list(MessageClass))
def test_the_table_and_its_sql_agree_on_every_combination_of_facts(
    engine: Engine, message_class: MessageClass
) -> None:
    send_id = a_running_campaign(engine, Draft(people=len(CASES), message_class=message_class))
    arrange(engine)

    with engine.begin() as connection:
        people = read_people(connection, send_facts(connection, send_id), range(1, len(CASES) + 1))

    for person, case in zip(people, CASES, strict=True):
        assert person.verdict == verdict(message_class, case), case


def verdict(
    message_class: MessageClass, case: tuple[bool, bool, bool, SubscriptionState | None]
) -> int:
    is_erased, has_point, is_suppressed, state = case
    decided = decide(
        Facts(
            message_class=message_class,
            is_erased=is_erased,
            has_contact_point=has_point,
            is_suppressed=is_suppressed and has_point,
            subscription=state,
        )
    )
    match decided:
        case Skip(reason) | Defer(_, reason):
            return int(reason)
        case Send():
            return int(Reason.NONE)

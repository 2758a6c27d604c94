"""What test keys send goes through everything, and ends at accounts that only log."""

from __future__ import annotations

from models.account import keep_test_accounts, list_accounts
from models.database import in_transaction
from tests.activities.desk import Desk, a_phone
from tests.builders import scalar, scalars


def test_threat_19_a_test_send_is_accepted_on_every_channel_and_reaches_nobody(desk: Desk) -> None:
    in_transaction(desk.engine, lambda c: keep_test_accounts(c, desk.team))
    a_phone(desk)

    sends = [desk.send(plan=plan, is_test=True) for plan in ("email", "sms", "in_app")]
    desk.drive()

    for send_id in sends:
        assert desk.outcomes(send_id) == {(1, 1): "accepted"}
    used = scalars(
        desk.engine,
        "SELECT DISTINCT p.key FROM attempt a JOIN provider_account p ON p.id = a.account_id"
        " ORDER BY 1",
    )
    assert used == ["test-email", "test-in_app", "test-sms"]
    assert scalar(desk.engine, "SELECT count(*) FROM in_app_item") == 0


def test_test_accounts_are_no_accounts_of_operators(desk: Desk) -> None:
    with desk.engine.begin() as connection:
        before = list_accounts(connection, desk.team)
        keep_test_accounts(connection, desk.team)
        keep_test_accounts(connection, desk.team)
        assert list_accounts(connection, desk.team) == before

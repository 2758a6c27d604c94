"""What people do by hand about a campaign: settle unknown outcomes, send a test."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, text

from domain.identifier import SEND_PREFIX, key_of, public_id
from domain.outcome import Reason
from models.claim import AttemptIds, Claim, Claimed, commit_claim
from models.idempotent_answer import KeptAnswer
from models.lease import Lease, take
from models.settle import Letter, MemberAnswer, Settlement, settle
from settings import Settings
from stack.ports import free_ports
from tests.builders import Draft, a_running_campaign, outcomes, scalar, scalars
from tests.web.api.conftest import Api, MakeApi, site_client
from tests.web.api.test_campaigns import WISH, a_draft, a_newsroom

NO_WAIT = timedelta(0)


@pytest.fixture
def newsroom(api: Api) -> Api:
    a_newsroom(api.engine)
    return api


def leave_unknown(engine: Engine, send_id: int, ordinals: list[int]) -> None:
    """A driver claims these messages, and the provider's answer is lost."""
    lease = timedelta(seconds=30)
    with engine.begin() as connection:
        taken = take(connection, send_id, 1, owner="test", duration=lease, unknown_wait=NO_WAIT)
    assert isinstance(taken, Lease)
    attempt_id = AttemptIds(7).next()
    claim = Claim(
        attempt_id=attempt_id,
        send_id=send_id,
        batch_lo=1,
        epoch=taken.epoch,
        account_id=scalar(engine, "SELECT min(id) FROM provider_account"),
        worker="test",
        fresh=ordinals,
        again=[],
        call_within=timedelta(seconds=2),
        answer_within=NO_WAIT,
    )
    assert isinstance(commit_claim(engine, claim), Claimed)
    lost = MemberAnswer(Letter.UNKNOWN, Reason.NONE, None)
    settle(
        engine,
        Settlement(
            send_id=send_id,
            batch_lo=1,
            epoch=taken.epoch,
            unknown_wait=NO_WAIT,
            attempt_id=attempt_id,
            answers=dict.fromkeys(ordinals, lost),
            had_row=frozenset(),
            unattempted=[],
        ),
        may_go_on=lambda: False,
    )


@pytest.fixture
def unsure(api: Api) -> str:
    """Id of a campaign of which nobody knows what became of two of its six messages."""
    send_id = a_running_campaign(api.engine, Draft(people=6))
    leave_unknown(api.engine, send_id, [2, 5])
    return public_id(SEND_PREFIX, send_id)


def audited(caller: Api) -> list[tuple[str, Any]]:
    rows = caller.get("/v1/audit/entries").json()["data"]
    return [(row["action"], row["details"]) for row in rows]


@pytest.mark.parametrize(("choice", "outcome"), [("resend", "owed"), ("leave", "unconfirmed")])
def test_unknown_outcomes_are_settled_by_hand_once_for_a_key(
    api: Api, unsure: str, choice: str, outcome: str
) -> None:
    path = f"/v1/campaigns/{unsure}/resolve"

    first = api.post(path, {"on_unknown": choice}, key="k")
    again = api.post(path, {"on_unknown": choice}, key="k")
    other = api.post(path, {"on_unknown": choice})

    assert (first.status_code, first.json()["changed"], first.json()["unknown"]) == (202, 2, 0)
    assert again.json() == first.json()
    assert other.json()["changed"] == 0
    after = outcomes(api.engine, key_of(SEND_PREFIX, unsure))
    assert after == {2: outcome, 5: outcome}
    assert audited(api) == [
        ("campaign.resolve", {"on_unknown": choice, "changed": changed}) for changed in (0, 2)
    ]
    assert api.get(f"/v1/campaigns/{unsure}/report").json()["balanced"] is True


def test_nothing_of_a_cancelled_campaign_is_resolved(api: Api, unsure: str) -> None:
    api.post(f"/v1/campaigns/{unsure}/cancel", key=None)

    answer = api.post(f"/v1/campaigns/{unsure}/resolve", {"on_unknown": "resend"})

    assert (answer.status_code, answer.json()["type"]) == (409, "urn:carillon:problem:wrong-state")
    assert set(outcomes(api.engine, key_of(SEND_PREFIX, unsure)).values()) == {"unknown"}


@pytest.mark.parametrize("body", [{}, {"on_unknown": "forget"}, {"resend": True}])
def test_a_choice_must_be_made(api: Api, unsure: str, body: dict[str, Any]) -> None:
    assert api.post(f"/v1/campaigns/{unsure}/resolve", body).status_code == 422
    assert api.post(f"/v1/campaigns/{unsure}/resolve", {}, key=None).status_code == 400


def test_who_may_not_change_a_campaign_neither_settles_nor_tests_it(
    api: Api, unsure: str, make_api: MakeApi
) -> None:
    reader, tester = make_api(["campaigns:read"]), make_api(is_test=True)
    stranger = make_api(team="other")

    for caller, status in ((reader, 403), (tester, 403), (stranger, 404)):
        for verb, body in (("resolve", {"on_unknown": "leave"}), ("test", {"to": ["a@b.org"]})):
            answer = caller.post(f"/v1/campaigns/{unsure}/{verb}", body)
            assert answer.status_code == status, answer.text


def test_a_draft_is_tested_with_the_data_of_who_has_the_address(
    newsroom: Api, make_api: MakeApi
) -> None:
    """A test key's, which goes to its end in a log."""
    tester = make_api(is_test=True)
    path = f"/v1/campaigns/{a_draft(tester)}/test"
    body = {"to": ["Person-1@Example.com", "stranger@example.org", "person-1@example.com"]}

    first = tester.post(path, body, key="k")
    again = tester.post(path, body, key="k")

    assert first.status_code == 200, first.text
    assert [(one["to"], one["accepted"]) for one in first.json()["items"]] == [
        ("person-1@example.com", True),
        ("stranger@example.org", True),
    ]
    assert again.json() == first.json()
    assert again.headers["idempotency-replayed"] == "true"
    assert audited(newsroom) == [("campaign.test", {"addresses": 2})]
    assert scalars(newsroom.engine, "SELECT state FROM send") == ["draft"]
    assert scalar(newsroom.engine, "SELECT count(*) FROM attempt") == 0


def test_a_provider_that_takes_no_test_is_an_answer_and_no_error(
    newsroom: Api, api_settings: Settings
) -> None:
    (nobody_listens,) = free_ports(1)
    settings = api_settings.model_copy(update={"smtp_url": f"smtp://127.0.0.1:{nobody_listens}"})
    with newsroom.engine.begin() as connection:
        connection.execute(text("UPDATE provider_account SET key = 'smtp', provider = 'smtp'"))
    campaign = a_draft(newsroom)

    with site_client(newsroom.engine, settings) as http:
        answer = http.post(
            f"/v1/campaigns/{campaign}/test",
            json={"to": ["ada@example.org"]},
            headers=newsroom.headers | {"Idempotency-Key": "k"},
        )

    (item,) = answer.json()["items"]
    assert (answer.status_code, item["accepted"]) == (200, False)
    assert "did not accept it" in item["detail"]


def test_without_credentials_or_with_a_wrong_address_nothing_begins(newsroom: Api) -> None:
    path = f"/v1/campaigns/{a_draft(newsroom)}/test"

    no_account = newsroom.post(path, {"to": ["ada@example.org"]})
    wrong = newsroom.post(path, {"to": ["ada@example.org", "nobody"]})
    too_many = newsroom.post(path, {"to": ["ada@example.org"] * 6})

    assert no_account.status_code == 422
    assert "no credentials for 'simulator'" in no_account.json()["detail"]
    assert wrong.json()["errors"][0]["pointer"] == "/to/1"
    assert too_many.status_code == 422
    assert audited(newsroom) == []


def test_a_test_that_began_and_never_ended_is_not_sent_again_under_its_key(
    newsroom: Api, make_api: MakeApi
) -> None:
    tester = make_api(is_test=True)
    path = f"/v1/campaigns/{a_draft(tester)}/test"
    body = {"to": ["ada@example.org"]}
    assert tester.post(path, body, key="k").status_code == 200
    with newsroom.engine.begin() as connection:  # as a kill between its two commits leaves it
        begun = KeptAnswer(status=0, body="")
        connection.execute(
            text("UPDATE idempotent_answer SET status = :status, body = :body WHERE key = 'k'"),
            {"status": begun.status, "body": begun.body},
        )

    assert tester.post(path, body, key="k").status_code == 409
    assert tester.post(path, body, key="another").status_code == 200


def test_twelve_at_once_under_one_key_send_one_test(newsroom: Api, make_api: MakeApi) -> None:
    tester = make_api(is_test=True)
    campaign = tester.post("/v1/campaigns", WISH).json()["id"]

    def ask(_: int) -> int:
        answer = tester.post(f"/v1/campaigns/{campaign}/test", {"to": ["ada@example.org"]}, key="k")
        return answer.status_code

    with ThreadPoolExecutor(12) as pool:
        statuses = list(pool.map(ask, range(12)))

    assert set(statuses) <= {200, 409}
    assert audited(newsroom) == [("campaign.test", {"addresses": 1})]

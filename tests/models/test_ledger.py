"""The ledger protocol of DESIGN §5 on real PostgreSQL, transaction by transaction."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import Engine, text

from domain.outcome import Outcome, Reason
from domain.send import HoldScope, OnUnknown, SendState
from models.account import find_account, raise_account, refuse_account
from models.audit import imbalances
from models.campaign import change_state
from models.claim import AttemptIds, Claim, Claimed, Refusal, commit_claim
from models.decide import decide_unknown, fill
from models.delivery_rows import NewDelivery
from models.facts import read_owed
from models.hold import place_hold, release_holds
from models.lease import Busy, Lease, free, renew, take
from models.progress import close, progress
from models.resolve import NotResolvable, resolve
from models.settle import Letter, MemberAnswer, Settlement, settle
from models.team import default_team_id
from tests.builders import Draft, a_running_campaign, outcomes, scalar, scalars

IDS = AttemptIds(7)
LEASE = timedelta(seconds=30)
NO_WAIT = timedelta(0)
ACCEPTED = MemberAnswer(Letter.ACCEPTED, Reason.NONE, None)
REJECTED = MemberAnswer(Letter.REJECTED, Reason.RECIPIENT_REFUSED, None)
UNKNOWN = MemberAnswer(Letter.UNKNOWN, Reason.NONE, None)
RELEASED = MemberAnswer(Letter.RELEASED, Reason.NONE, None)


class Batch:
    """One driver's view of the first batch of a campaign."""

    def __init__(self, engine: Engine, send_id: int, *, lease: timedelta = LEASE) -> None:
        self.engine, self.send_id = engine, send_id
        with engine.begin() as connection:
            taken = take(connection, send_id, 1, owner="test", duration=lease, unknown_wait=NO_WAIT)
        assert isinstance(taken, Lease)
        self.lease = taken

    def claim(self, fresh: list[int], again: list[int] | None = None) -> tuple[int, Claimed]:
        attempt_id, said = self.try_claim(fresh, again)
        assert isinstance(said, Claimed)
        return attempt_id, said

    def try_claim(
        self, fresh: list[int], again: list[int] | None = None
    ) -> tuple[int, Claimed | Refusal]:
        attempt_id = IDS.next()
        return attempt_id, commit_claim(
            self.engine,
            Claim(
                attempt_id=attempt_id,
                send_id=self.send_id,
                batch_lo=1,
                epoch=self.lease.epoch,
                account_id=scalar(self.engine, "SELECT min(id) FROM provider_account"),
                worker="test",
                fresh=fresh,
                again=again or [],
                call_within=timedelta(seconds=2),
                answer_within=NO_WAIT,
            ),
        )

    def settle(
        self,
        attempt_id: int | None,
        answers: dict[int, MemberAnswer],
        *,
        had_row: set[int] | None = None,
        unattempted: list[NewDelivery] | None = None,
    ) -> None:
        settle(
            self.engine,
            Settlement(
                send_id=self.send_id,
                batch_lo=1,
                epoch=self.lease.epoch,
                unknown_wait=NO_WAIT,
                attempt_id=attempt_id,
                answers=answers,
                had_row=frozenset(had_row or ()),
                unattempted=unattempted or [],
            ),
            may_go_on=lambda: False,
        )

    def owed(self, policy: OnUnknown) -> tuple[list[int], list[int]]:
        with self.engine.connect() as connection:
            found = read_owed(connection, self.lease, policy=policy, max_tries=3)
        return found.fresh, found.again

    def decide(self, policy: OnUnknown, *, max_tries: int = 3, is_ended: bool = False) -> None:
        with self.engine.begin() as connection:
            decide_unknown(
                connection, self.lease, policy=policy, max_tries=max_tries, is_ended=is_ended
            )

    def run_out(self) -> None:
        with self.engine.begin() as connection:
            connection.execute(text("UPDATE batch SET lease_until = clock_timestamp()"))


@pytest.fixture
def campaign(engine: Engine) -> int:
    return a_running_campaign(engine, Draft(people=6))


def balance(engine: Engine, send_id: int) -> list[str]:
    with engine.connect() as connection:
        return imbalances(connection, send_id)


def counts(engine: Engine, send_id: int) -> dict[str, int]:
    with engine.connect() as connection:
        return {key: n for key, n in progress(connection, send_id).counts.items() if n}


def events(engine: Engine, kind: str) -> list[int]:
    return list(
        scalars(
            engine, "SELECT ordinal FROM delivery_event WHERE kind = :k ORDER BY id", {"k": kind}
        )
    )


def test_answers_become_outcomes_and_counts_in_one_commit(engine: Engine, campaign: int) -> None:
    batch = Batch(engine, campaign)
    attempt, _ = batch.claim([1, 2, 3, 4])

    batch.settle(attempt, {1: ACCEPTED, 2: REJECTED, 3: UNKNOWN, 4: RELEASED})

    assert outcomes(engine, campaign) == {1: "accepted", 2: "rejected", 3: "unknown"}
    assert counts(engine, campaign) == {
        "accepted": 1,
        "rejected:recipient_refused": 1,
        "unknown": 1,
    }
    assert scalar(engine, "SELECT members || ' ' || state FROM attempt") == "arux settled"
    assert batch.owed(OnUnknown.LEAVE) == ([4, 5, 6], [])
    assert balance(engine, campaign) == []


def test_answers_that_come_in_parts_leave_the_attempt_open_until_the_last(
    engine: Engine, campaign: int
) -> None:
    batch = Batch(engine, campaign)
    attempt, _ = batch.claim([1, 3])

    batch.settle(attempt, {3: ACCEPTED})

    assert scalar(engine, "SELECT members || ' ' || state FROM attempt") == "?-a claimed"
    batch.settle(attempt, {1: ACCEPTED})
    assert scalar(engine, "SELECT members || ' ' || state FROM attempt") == "a-a settled"


def test_a_settle_that_may_have_committed_is_repeated_without_effect(
    engine: Engine, campaign: int
) -> None:
    batch = Batch(engine, campaign)
    attempt, _ = batch.claim([1, 2])

    for _ in range(2):
        batch.settle(attempt, {1: ACCEPTED, 2: UNKNOWN})

    assert counts(engine, campaign) == {"accepted": 1, "unknown": 1}
    assert events(engine, "confirmed_duplicate") == []
    assert balance(engine, campaign) == []


def test_who_takes_a_batch_abandons_what_was_open_and_its_members_are_unknown(
    engine: Engine, campaign: int
) -> None:
    first = Batch(engine, campaign)
    first.claim([1, 2])
    first.run_out()

    Batch(engine, campaign)

    assert outcomes(engine, campaign) == {1: "unknown", 2: "unknown"}
    assert scalars(engine, "SELECT state FROM attempt") == ["abandoned"]
    assert scalars(engine, "SELECT tries FROM delivery") == [1, 1]
    assert balance(engine, campaign) == []


def test_a_lease_that_runs_keeps_others_out_and_tells_until_when(
    engine: Engine, campaign: int
) -> None:
    Batch(engine, campaign)

    with engine.begin() as connection:
        said = take(connection, campaign, 1, owner="x", duration=LEASE, unknown_wait=NO_WAIT)

    assert isinstance(said, Busy)
    assert said.until == scalar(engine, "SELECT lease_until FROM batch")


def test_a_lease_that_was_freed_can_be_taken_at_once(engine: Engine, campaign: int) -> None:
    batch = Batch(engine, campaign)

    with engine.begin() as connection:
        free(connection, batch.lease, None)

    assert Batch(engine, campaign).lease.epoch == 2


def test_a_zombie_may_neither_renew_nor_claim_nor_skip(engine: Engine, campaign: int) -> None:
    zombie = Batch(engine, campaign)
    zombie.run_out()
    Batch(engine, campaign)

    with engine.begin() as connection:
        assert not renew(connection, zombie.lease, LEASE)
    assert zombie.try_claim([1])[1] is Refusal.TAKEN
    zombie.settle(None, {}, unattempted=[NewDelivery(1, Outcome.SKIPPED, Reason.LEFT)])
    assert outcomes(engine, campaign) == {}


def test_a_late_acceptance_is_still_written_and_a_late_refusal_is_not(
    engine: Engine, campaign: int
) -> None:
    zombie = Batch(engine, campaign)
    attempt, _ = zombie.claim([1, 2])
    zombie.run_out()
    Batch(engine, campaign)

    zombie.settle(attempt, {1: ACCEPTED, 2: REJECTED})

    assert outcomes(engine, campaign) == {1: "accepted", 2: "unknown"}
    assert counts(engine, campaign) == {"accepted": 1, "unknown": 1}
    assert events(engine, "superseded") == [1]
    assert balance(engine, campaign) == []


def test_two_acceptances_of_one_message_are_one_recorded_duplicate(
    engine: Engine, campaign: int
) -> None:
    zombie = Batch(engine, campaign)
    lost, _ = zombie.claim([1])
    zombie.run_out()
    second = Batch(engine, campaign)
    repeated, said = second.claim([], [1])
    second.settle(repeated, {1: ACCEPTED}, had_row={1})

    zombie.settle(lost, {1: ACCEPTED})

    assert said.again == [1]
    assert outcomes(engine, campaign) == {1: "accepted"}
    assert events(engine, "confirmed_duplicate") == [1]
    assert scalar(engine, "SELECT attempt_id FROM delivery") == repeated
    assert balance(engine, campaign) == []


def test_accepted_wins_over_a_repeat_that_was_refused_or_lost(
    engine: Engine, campaign: int
) -> None:
    zombie = Batch(engine, campaign)
    lost, _ = zombie.claim([1, 2])
    zombie.run_out()
    second = Batch(engine, campaign)
    repeated, _ = second.claim([], [1, 2])
    zombie.settle(lost, {1: ACCEPTED, 2: ACCEPTED})

    second.settle(repeated, {1: REJECTED, 2: UNKNOWN}, had_row={1, 2})

    assert outcomes(engine, campaign) == {1: "accepted", 2: "accepted"}
    assert balance(engine, campaign) == []


def test_a_member_whose_row_has_moved_on_is_not_claimed_again(
    engine: Engine, campaign: int
) -> None:
    zombie = Batch(engine, campaign)
    lost, _ = zombie.claim([1, 2])
    zombie.run_out()
    second = Batch(engine, campaign)
    _, again = second.owed(OnUnknown.RESEND)
    zombie.settle(lost, {1: ACCEPTED})

    _, said = second.claim([], again)

    assert (again, said.again) == ([1, 2], [2])


def test_a_claim_whose_commit_was_told_to_nobody_is_found_by_its_id(
    engine: Engine, campaign: int
) -> None:
    from models.claim import _look_up

    batch = Batch(engine, campaign)
    attempt, _ = batch.claim([1, 2])
    claim = Claim(
        attempt_id=attempt,
        send_id=campaign,
        batch_lo=1,
        epoch=batch.lease.epoch,
        account_id=1,
        worker="test",
        fresh=[1, 2],
        again=[],
        call_within=LEASE,
        answer_within=LEASE,
    )

    with engine.begin() as connection:
        found = _look_up(connection, claim)

    assert found == Claimed(fresh=[1, 2], again=[])
    assert scalar(engine, "SELECT count(*) FROM attempt") == 1


@pytest.mark.parametrize("state", [SendState.PAUSED, SendState.CANCELLED])
def test_a_claim_is_refused_by_the_send_itself(
    engine: Engine, campaign: int, state: SendState
) -> None:
    batch = Batch(engine, campaign)
    with engine.begin() as connection:
        change_state(connection, campaign, state)

    assert batch.try_claim([1])[1] == Refusal(state.value)
    assert scalar(engine, "SELECT count(*) FROM attempt") == 0


def test_a_claim_is_refused_after_the_send_has_expired(engine: Engine, campaign: int) -> None:
    batch = Batch(engine, campaign)
    with engine.begin() as connection:
        connection.execute(text("UPDATE send SET expires_at = clock_timestamp()"))

    assert batch.try_claim([1])[1] is Refusal.EXPIRED


def test_a_refused_account_stops_claims_and_burns_nobody(engine: Engine, campaign: int) -> None:
    batch = Batch(engine, campaign)
    with engine.begin() as connection:
        account = find_account(connection, default_team_id(connection), "simulator")
        refuse_account(connection, account.id, "bad key")
    refused = batch.try_claim([1])[1]
    with engine.begin() as connection:
        raise_account(connection, account.id)

    assert refused is Refusal.ACCOUNT
    assert isinstance(batch.try_claim([1])[1], Claimed)


@pytest.mark.parametrize(
    ("scope", "column"),
    [
        (HoldScope.SEND, "SELECT id FROM send"),
        (HoldScope.TOPIC, "SELECT topic_id FROM send"),
        (HoldScope.TEMPLATE, "SELECT id FROM template"),
        (HoldScope.ACCOUNT, "SELECT account_id FROM send"),
        (HoldScope.TEAM, "SELECT team_id FROM send"),
        (HoldScope.EVERYTHING, "SELECT 0"),
    ],
)
def test_a_hold_on_any_scope_stops_claims_until_it_is_released(
    engine: Engine, campaign: int, scope: HoldScope, column: str
) -> None:
    batch, scope_id = Batch(engine, campaign), scalar(engine, column)
    with engine.begin() as connection:
        team = default_team_id(connection)
        place_hold(connection, team, scope=scope, scope_id=scope_id, reason="r", author="a")
    held = batch.try_claim([1])[1]
    with engine.begin() as connection:
        release_holds(connection, scope=scope, scope_id=scope_id)

    assert held is Refusal.HELD
    assert isinstance(batch.try_claim([1])[1], Claimed)


def test_unknown_is_left_unconfirmed_or_owed_again_by_policy(engine: Engine, campaign: int) -> None:
    batch = Batch(engine, campaign)
    attempt, _ = batch.claim([1, 2])
    batch.settle(attempt, {1: UNKNOWN, 2: UNKNOWN})

    batch.decide(OnUnknown.RESEND)
    repeated = batch.owed(OnUnknown.RESEND)[1]
    batch.decide(OnUnknown.LEAVE)

    assert repeated == [1, 2]
    assert outcomes(engine, campaign) == {1: "unconfirmed", 2: "unconfirmed"}
    assert balance(engine, campaign) == []


def test_after_the_last_try_unknown_becomes_unconfirmed_whatever_the_policy(
    engine: Engine, campaign: int
) -> None:
    batch = Batch(engine, campaign)
    attempt, _ = batch.claim([1])
    batch.settle(attempt, {1: UNKNOWN})

    batch.decide(OnUnknown.RESEND, max_tries=1)

    assert outcomes(engine, campaign) == {1: "unconfirmed"}


def test_cancelling_ends_the_untried_at_once_and_the_unknown_in_their_time(
    engine: Engine, campaign: int
) -> None:
    batch = Batch(engine, campaign)
    attempt, _ = batch.claim([1, 2])
    batch.settle(attempt, {1: ACCEPTED, 2: UNKNOWN})
    with engine.begin() as connection:
        change_state(connection, campaign, SendState.CANCELLED)
        fill(connection, batch.lease, Outcome.CANCELLED)
    before = outcomes(engine, campaign)

    batch.decide(OnUnknown.RESEND, is_ended=True)

    assert before == {1: "accepted", 2: "unknown"} | dict.fromkeys((3, 4, 5, 6), "cancelled")
    assert outcomes(engine, campaign)[2] == "unconfirmed"
    assert balance(engine, campaign) == []


def test_a_send_closes_only_when_all_is_final_and_nothing_is_claimed(
    engine: Engine, campaign: int
) -> None:
    batch = Batch(engine, campaign)
    attempt, _ = batch.claim([1, 2, 3, 4, 5])
    with engine.begin() as connection:
        early = close(connection, campaign)
    batch.settle(attempt, dict.fromkeys((1, 2, 3, 4, 5), ACCEPTED))
    batch.settle(None, {}, unattempted=[NewDelivery(6, Outcome.SKIPPED, Reason.SUPPRESSED)])

    with engine.begin() as connection:
        closing = close(connection, campaign)

    assert (early.is_closed, early.open_shards) == (False, [0])
    assert closing.is_closed
    assert scalar(engine, "SELECT state FROM send") == "finished"
    assert balance(engine, campaign) == []


def test_an_operators_resend_makes_owed_reopens_the_send_and_counts_a_round(
    engine: Engine, campaign: int
) -> None:
    batch = Batch(engine, campaign)
    attempt, _ = batch.claim([1, 2, 3, 4, 5, 6])
    batch.settle(attempt, {**dict.fromkeys((1, 2, 3, 4, 5), ACCEPTED), 6: UNKNOWN})
    batch.decide(OnUnknown.LEAVE)
    with engine.begin() as connection:
        close(connection, campaign)
        changed = resolve(connection, campaign, OnUnknown.RESEND)

    assert changed == 1
    assert batch.owed(OnUnknown.LEAVE) == ([], [6])
    assert (
        scalar(engine, "SELECT state || round || (closed_at IS NULL) FROM send") == "running1true"
    )
    assert balance(engine, campaign) == []


def test_nothing_of_a_cancelled_send_is_resolved(engine: Engine, campaign: int) -> None:
    batch = Batch(engine, campaign)
    attempt, _ = batch.claim([1])
    batch.settle(attempt, {1: UNKNOWN})
    with engine.begin() as connection:
        change_state(connection, campaign, SendState.CANCELLED)

    with pytest.raises(NotResolvable, match="cancelled"), engine.begin() as connection:
        resolve(connection, campaign, OnUnknown.RESEND)
    assert outcomes(engine, campaign) == {1: "unknown"}

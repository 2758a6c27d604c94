"""Events on real PostgreSQL: what they move, what they prove, and that nothing depends on their order."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, text

from domain.event import SUPPRESSES, EventKind, ProviderEvent, moved
from domain.outcome import Outcome, Progress, Reason
from models.audit import imbalances
from models.claim import AttemptIds, Claim, Claimed, commit_claim
from models.events import fold_due
from models.lease import Lease, free, take
from models.settle import Letter, MemberAnswer, Settlement, settle
from tests.builders import Draft, a_running_campaign, outcomes, scalar, scalars
from tests.events import an_event, history, tell

IDS = AttemptIds(9)
LEASE = timedelta(seconds=30)


class Sender:
    """Sends a campaign's first batch by hand."""

    def __init__(self, engine: Engine, people: int = 3) -> None:
        self.engine = engine
        self.send_id = a_running_campaign(engine, Draft(people=people))

    def take(self) -> Lease:
        with self.engine.begin() as connection:
            lease = take(
                connection,
                self.send_id,
                1,
                owner="test",
                duration=LEASE,
                unknown_wait=timedelta(minutes=5),
            )
        assert isinstance(lease, Lease)
        return lease

    def attempt(self, letters: str, *, again: bool = False, provider_id: str = "") -> None:
        """One attempt on the members, answered with these letters; "?": the driver disappears."""
        lease = self.take()
        members = list(range(1, len(letters) + 1))
        claimed = commit_claim(
            self.engine,
            Claim(
                attempt_id=(attempt_id := IDS.next()),
                send_id=self.send_id,
                batch_lo=1,
                epoch=lease.epoch,
                account_id=scalar(self.engine, "SELECT account_id FROM send"),
                worker="test",
                fresh=[] if again else members,
                again=members if again else [],
                call_within=LEASE,
                answer_within=timedelta(0),
            ),
        )
        assert isinstance(claimed, Claimed)
        settle(
            self.engine,
            Settlement(
                send_id=self.send_id,
                batch_lo=1,
                epoch=lease.epoch,
                unknown_wait=timedelta(minutes=5),
                attempt_id=attempt_id,
                answers={
                    n: MemberAnswer(Letter(letter), Reason.NONE, self.contact(n))
                    for n, letter in zip(members, letters, strict=True)
                    if letter != "?"
                },
                had_row=frozenset(members if again else []),
                provider_message_id=provider_id,
            ),
            may_go_on=lambda: False,
        )
        with self.engine.begin() as connection:
            free(connection, lease, None)

    def contact(self, ordinal: int) -> int:
        found: int = scalar(
            self.engine,
            "SELECT c.id FROM message m JOIN contact_point c USING (recipient_id)"
            " WHERE m.send_id = :send AND m.ordinal = :ordinal",
            {"send": self.send_id, "ordinal": ordinal},
        )
        return found

    def execute(self, sql: str) -> None:
        with self.engine.begin() as connection:
            connection.execute(text(sql))

    def progress(self) -> list[Progress]:
        found = scalars(self.engine, "SELECT progress FROM delivery ORDER BY ordinal")
        return [Progress(one) for one in found]

    def suppressed(self) -> dict[str, str]:
        with self.engine.connect() as connection:
            rows = connection.execute(text("SELECT address, reason FROM suppression"))
            return {row.address: row.reason for row in rows}

    def check(self) -> None:
        with self.engine.connect() as connection:
            assert imbalances(connection, self.send_id) == []


@pytest.fixture
def sender(engine: Engine) -> Sender:
    return Sender(engine)


def test_an_event_told_five_times_is_kept_once(sender: Sender) -> None:
    sender.attempt("aaa")
    event = an_event(sender.send_id, EventKind.DELIVERED)

    told = [tell(sender.engine, event, event).new for _ in range(5)]

    assert told == [1, 0, 0, 0, 0]
    assert history(sender.engine, sender.send_id) == ["delivered"]
    assert sender.progress() == [Progress.DELIVERED, Progress.NONE, Progress.NONE]


def test_an_event_before_its_row_waits_and_is_folded_then(sender: Sender) -> None:
    early = tell(sender.engine, an_event(sender.send_id, EventKind.OPENED))
    waiting = fold_due(sender.engine)

    sender.attempt("aaa")
    sender.execute("UPDATE event_inbox SET due_at = now()")
    folded = fold_due(sender.engine)

    assert (early.folded.early, waiting.events, folded.events) == (1, 0, 1)
    assert sender.progress()[0] is Progress.OPENED
    assert fold_due(sender.engine).events == 0


def test_an_event_about_nothing_is_set_aside_after_days(sender: Sender) -> None:
    tell(sender.engine, an_event(sender.send_id, EventKind.OPENED, ordinal=77))

    sender.execute("UPDATE event_inbox SET due_at = now(), received_at = now() - interval '4 days'")
    fold_due(sender.engine)

    assert scalar(sender.engine, "SELECT folded_at IS NOT NULL FROM event_inbox")
    assert history(sender.engine, sender.send_id, 77) == []


@pytest.mark.parametrize("days", [-400, -40, -1, 1, 400])
def test_a_vendors_clock_may_be_wrong(sender: Sender, days: int) -> None:
    sender.attempt("aaa")
    sample = an_event(sender.send_id, EventKind.DELIVERED)
    event = an_event(sender.send_id, EventKind.DELIVERED, at=sample.at + timedelta(days=days))

    tell(sender.engine, event)

    assert sender.progress()[0] is Progress.DELIVERED


@pytest.mark.parametrize("ordinal", [1 << 31, (1 << 32) - 1])
def test_a_reference_that_no_message_can_have_is_left_out(sender: Sender, ordinal: int) -> None:
    assert tell(sender.engine, an_event(sender.send_id, EventKind.READ, ordinal=ordinal)).new == 0


def test_an_unknown_message_is_accepted_by_an_event_and_the_counts_follow(sender: Sender) -> None:
    sender.attempt("auu")

    told = tell(sender.engine, an_event(sender.send_id, EventKind.DELIVERED, ordinal=2))

    assert outcomes(sender.engine, sender.send_id) == {1: "accepted", 2: "accepted", 3: "unknown"}
    assert told.folded.campaigns == {sender.send_id}
    assert history(sender.engine, sender.send_id, 2) == ["delivered", "superseded"]
    sender.check()


@pytest.mark.parametrize("outcome", [Outcome.UNCONFIRMED, Outcome.OWED])
def test_what_was_tried_is_proven_whatever_was_decided_meanwhile(
    sender: Sender, outcome: Outcome
) -> None:
    sender.attempt("aau")
    counts = {"accepted": 2} | ({} if outcome is Outcome.OWED else {outcome.word: 1})
    sender.execute(
        f"UPDATE delivery SET outcome = {int(outcome)} WHERE ordinal = 3;"
        f"UPDATE batch SET counts = '{str(counts).replace(chr(39), chr(34))}'"
    )

    tell(sender.engine, an_event(sender.send_id, EventKind.SENT, ordinal=3))

    assert outcomes(sender.engine, sender.send_id)[3] == "accepted"
    sender.check()


def test_proof_that_names_the_message_alone_is_no_duplicate(sender: Sender) -> None:
    sender.attempt("uuu")
    sender.attempt("aaa", again=True, provider_id="B")

    tell(sender.engine, an_event(sender.send_id, EventKind.DELIVERED))

    assert history(sender.engine, sender.send_id) == ["superseded", "delivered"]
    sender.check()


def test_a_late_proof_after_a_retry_is_a_confirmed_duplicate_once(sender: Sender) -> None:
    sender.attempt("uuu")
    sender.attempt("aaa", again=True, provider_id="B")

    tell(sender.engine, an_event(sender.send_id, EventKind.SENT, provider_message_id="A"))
    tell(sender.engine, an_event(sender.send_id, EventKind.DELIVERED, provider_message_id="A"))
    tell(sender.engine, an_event(sender.send_id, EventKind.DELIVERED, provider_message_id="B"))

    assert history(sender.engine, sender.send_id).count("confirmed_duplicate") == 1
    sender.check()


def test_an_answer_after_the_proof_makes_the_row_its_own(sender: Sender) -> None:
    sender.attempt("uuu")
    tell(sender.engine, an_event(sender.send_id, EventKind.SENT, provider_message_id="A"))

    sender.attempt("uaa", again=True, provider_id="B")

    assert set(outcomes(sender.engine, sender.send_id).values()) == {"accepted"}
    sender.check()


def test_a_hard_bounce_and_a_complaint_suppress_the_address(sender: Sender) -> None:
    sender.attempt("aaa")

    tell(
        sender.engine,
        an_event(sender.send_id, EventKind.HARD_BOUNCED, ordinal=1),
        an_event(sender.send_id, EventKind.COMPLAINED, ordinal=2),
        an_event(sender.send_id, EventKind.SOFT_BOUNCED, ordinal=3),
    )

    assert sender.suppressed() == {
        "person-1@example.com": "hard_bounce",
        "person-2@example.com": "complaint",
    }
    assert scalars(sender.engine, "SELECT state FROM contact_point ORDER BY id") == [
        "bounced",
        "unverified",
        "unverified",
    ]


def test_a_hard_bounce_outlives_a_complaint(sender: Sender) -> None:
    sender.attempt("aaa")

    tell(sender.engine, an_event(sender.send_id, EventKind.COMPLAINED))
    tell(sender.engine, an_event(sender.send_id, EventKind.HARD_BOUNCED))
    tell(sender.engine, an_event(sender.send_id, EventKind.COMPLAINED))

    assert sender.suppressed() == {"person-1@example.com": "hard_bounce"}


def test_the_lost_message_that_bounced_suppresses_the_address_it_went_to(sender: Sender) -> None:
    sender.attempt("???")
    sender.take()

    tell(sender.engine, an_event(sender.send_id, EventKind.HARD_BOUNCED))

    assert sender.suppressed() == {"person-1@example.com": "hard_bounce"}


SAID = st.lists(
    st.tuples(st.sampled_from(EventKind), st.integers(1, 3), st.sampled_from(["", "A", "B"])),
    max_size=12,
)


@given(said=SAID, letters=st.text("au", min_size=3, max_size=3), seed=st.integers(0, 999))
@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_whatever_comes_in_whatever_order_ends_as_the_model_says(
    module_engine: Engine, said: list[Any], letters: str, seed: int
) -> None:
    with module_engine.begin() as connection:
        connection.execute(
            text(
                "TRUNCATE send, message, delivery, batch, attempt, delivery_event, event_inbox,"
                " suppression, recipient, topic, template CASCADE"
            )
        )
    sender = Sender(module_engine)
    events = [
        an_event(sender.send_id, kind, ordinal=n, provider_message_id=provider_id)
        for kind, n, provider_id in said
    ]

    _bring(sender, events, letters, random.Random(seed))

    for n, letter in enumerate(letters, 1):
        kinds = [event.kind for event in events if event.reference.ordinal == n]
        is_accepted = letter == "a" or kinds
        assert outcomes(sender.engine, sender.send_id)[n] == (
            "accepted" if is_accepted else "unknown"
        )
        assert sender.progress()[n - 1] is moved(Progress.NONE, kinds)
        kept = [
            kind for kind in history(sender.engine, sender.send_id, n) if kind in list(EventKind)
        ]
        assert sorted(kept) == sorted(kinds)
        reasons = [SUPPRESSES[kind] for kind in SUPPRESSES if kind in kinds]
        assert sender.suppressed().get(f"person-{n}@example.com") == next(iter(reasons), None)
    sender.check()


def _bring(
    sender: Sender, events: Sequence[ProviderEvent], letters: str, chance: random.Random
) -> None:
    """Every event once to three times, shuffled, in pieces; some of them before the answers."""
    brought = [event for event in events for _ in range(chance.randint(1, 3))]
    chance.shuffle(brought)
    early = chance.randint(0, len(brought))
    tell(sender.engine, *brought[:early])
    sender.attempt(letters)
    for at in range(early, len(brought), 3):
        tell(sender.engine, *brought[at : at + 3])
    sender.execute("UPDATE event_inbox SET due_at = now() WHERE folded_at IS NULL")
    fold_due(sender.engine)

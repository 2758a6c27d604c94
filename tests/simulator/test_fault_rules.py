"""Which requests a rule meets: decided by counting, the same in every run."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from simulator.faults import FAULT_LIST, Fault, FaultBoard, FaultKind, Provider, Stage, first_effect

CLOSE = {"provider": "sendgrid", "kind": "accept_then_close"}


def board_of(*rules: dict[str, Any]) -> FaultBoard:
    return FaultBoard(FAULT_LIST.validate_python(list(rules)))


def hits(board: FaultBoard, requests: int, provider: Provider = Provider.SENDGRID) -> list[int]:
    """The numbers of the requests that met a rule which took effect."""
    return [
        number
        for number in range(1, requests + 1)
        if first_effect(board.arrived(provider), FaultKind.ACCEPT_THEN_CLOSE)
    ]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, [1, 2, 3, 4, 5, 6]),
        ({"at_request": [2, 5]}, [2, 5]),
        ({"at_request": 3}, [3]),
        ({"at_request": [2], "for_requests": 3}, [2, 3, 4]),
        ({"for_requests": 2}, [1, 2]),
        ({"times": 4}, [1, 2, 3, 4]),
        ({"at_request": [1, 3, 5], "times": 2}, [1, 3]),
        ({"probability": 0}, []),
        ({"probability": 1}, [1, 2, 3, 4, 5, 6]),
    ],
)
def test_a_rule_meets_these_of_six_requests(changes: dict[str, Any], expected: list[int]) -> None:
    assert hits(board_of({**CLOSE, **changes}), 6) == expected


def test_probability_gives_the_same_requests_for_the_same_seed() -> None:
    rule = {**CLOSE, "probability": 0.3, "seed": 7}

    assert hits(board_of(rule), 200) == hits(board_of(rule), 200)
    assert hits(board_of(rule), 200) != hits(board_of({**rule, "seed": 8}), 200)
    assert 30 < len(hits(board_of(rule), 200)) < 90


def test_a_rule_counts_its_own_provider_alone() -> None:
    board = board_of({**CLOSE, "at_request": [2]})

    assert hits(board, 3, Provider.SMTP) == []
    assert hits(board, 3) == [2]


def test_setting_the_rules_again_starts_the_counts_anew() -> None:
    board = board_of({**CLOSE, "at_request": [2]})
    hits(board, 1)

    board.replace([Fault.model_validate({**CLOSE, "at_request": [2]})])

    assert hits(board, 2) == [2]


def test_at_message_meets_the_request_that_holds_it_and_those_after_as_told() -> None:
    board = board_of({**CLOSE, "at_message": 150, "for_requests": 2})
    met = []
    for number in range(1, 5):
        faults = board.arrived(Provider.SENDGRID) + board.delivered(Provider.SENDGRID, 100)
        if first_effect(faults, FaultKind.ACCEPT_THEN_CLOSE):
            met.append(number)

    assert met == [2, 3]


def test_a_revoked_key_stays_revoked_from_its_request_on() -> None:
    board = board_of({"provider": "sendgrid", "kind": "revoke_key", "at_request": [2]})
    states = []
    for _ in range(3):
        board.arrived(Provider.SENDGRID)
        states.append(board.is_revoked(Provider.SENDGRID))

    assert states == [False, True, True]
    assert not board.is_revoked(Provider.SMTP)


def test_smtp_rules_count_at_their_stage() -> None:
    board = board_of({"provider": "smtp", "kind": "status", "status": 450, "stage": "rcpt"})

    assert board.arrived(Provider.SMTP, Stage.DATA) == ()
    assert len(board.arrived(Provider.SMTP, Stage.RCPT)) == 1


@pytest.mark.parametrize(
    "rule",
    [
        {"provider": "post", "kind": "reset"},
        {"provider": "smtp", "kind": "explode"},
        {"provider": "smtp", "kind": "status"},
        {"provider": "smtp", "kind": "status", "status": 200},
        {"provider": "smtp", "kind": "latency"},
        {"provider": "smtp", "kind": "refuse_address"},
        {"provider": "smtp", "kind": "rate_limit"},
        {"provider": "smtp", "kind": "reset", "unknown": 1},
        {"provider": "smtp", "kind": "reset", "at_request": [1], "at_message": 1},
        {"provider": "sendgrid", "kind": "status", "status": 503, "stage": "rcpt"},
        {"provider": "smtp", "kind": "accept_then_hang", "stage": "mail"},
        {"provider": "smtp", "kind": "status", "status": 450, "text": "a\r\n250 b"},
    ],
)
def test_an_incomplete_or_unknown_rule_is_refused(rule: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        FAULT_LIST.validate_python([rule])

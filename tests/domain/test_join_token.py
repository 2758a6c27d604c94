"""Tokens of links to join: only our own are read, and they are no unsubscribe links."""

from __future__ import annotations

import pytest

from domain.join_token import Invitation, make_join_token, read_join_token
from domain.send import Channel
from domain.unsubscribe_token import read_token

SECRET = b"a secret"
INVITED = Invitation(topic_id=7, recipient_id=4711, channel=Channel.EMAIL)


@pytest.mark.parametrize("channel", list(Channel))
def test_a_token_says_who_joins_what_by_which_channel(channel: Channel) -> None:
    invited = Invitation(topic_id=7, recipient_id=2**62, channel=channel)

    assert read_join_token([SECRET], make_join_token(SECRET, invited)) == invited


def test_a_token_of_an_older_secret_is_still_good() -> None:
    assert read_join_token([b"new", SECRET], make_join_token(SECRET, INVITED)) == INVITED


def test_a_token_with_any_other_letter_is_not_one() -> None:
    token = make_join_token(SECRET, INVITED)

    for at, letter in enumerate(token[:-1]):
        changed = token[:at] + ("A" if letter != "A" else "B") + token[at + 1 :]
        assert read_join_token([SECRET], changed) is None


@pytest.mark.parametrize("given", ["", "x", "é" * 47, "=" * 47, "A" * 47])
def test_what_is_no_token_is_none(given: str) -> None:
    assert read_join_token([SECRET], given) is None


def test_a_token_of_another_secret_or_purpose_is_none() -> None:
    token = make_join_token(SECRET, INVITED)

    assert read_join_token([b"another"], token) is None
    assert read_token([SECRET], token) is None

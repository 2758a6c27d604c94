"""Ids outside: opaque, sortable, and refused when they are not ours."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.identifier import (
    BadIdentifier,
    Reference,
    decode_reference,
    encode_reference,
    key_of,
    public_id,
)

KEYS = st.integers(0, 2**63 - 1)


@given(KEYS, KEYS)
def test_a_public_id_gives_its_key_back_and_sorts_like_it(one: int, other: int) -> None:
    assert key_of("snd_", public_id("snd_", one)) == one
    assert (public_id("snd_", one) < public_id("snd_", other)) == (one < other)


@pytest.mark.parametrize(
    "given_id", ["", "snd_", "snd_123", "tpl_0000000000000", "snd_zzzzzzzzzzzzz", "1"]
)
def test_what_is_not_an_id_of_ours_is_refused(given_id: str) -> None:
    with pytest.raises(BadIdentifier):
        key_of("snd_", given_id)


@given(KEYS, st.integers(0, 2**32 - 1), st.integers(0, 255), st.integers(0, 255))
def test_a_reference_names_its_delivery(send: int, ordinal: int, step: int, part: int) -> None:
    made = encode_reference(send, ordinal, step, part)

    assert decode_reference(made) == Reference(send, ordinal, step, part)
    assert len(made) == 19


@pytest.mark.parametrize("given_reference", ["", "x", "not a reference", "äöü", "AAAA"])
def test_what_is_not_a_reference_is_refused(given_reference: str) -> None:
    with pytest.raises(BadIdentifier):
        decode_reference(given_reference)
